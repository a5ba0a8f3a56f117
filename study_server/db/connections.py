"""PostgreSQL's limit of connections, counted before a server starts that would exceed it."""

from __future__ import annotations

from qsched.errors import InputError
from study_server.db.database import POOL, Database

#: Of a command that the server runs in a process of its own.
PER_COMMAND = 2
#: The most that one process has open at once: two writers, two readers, one for owners' pages, one that counts votes,
#: the pool of the engine, one for the clock; and those of the export, the look and the running estimate beside it, one
#: of each at a time.
PER_PROCESS = 2 + 2 + 1 + 1 + POOL + 1 + 3 * PER_COMMAND
COUNTS = """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
           (SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())
"""


def count_connections(database: Database, *, workers: int) -> str:
    """A line on what the server needs and what PostgreSQL has left; InputError if that is less. Empty for SQLite."""
    if database.dialect == "sqlite":
        return ""
    connection = database.connect()
    try:
        limit, used = connection.execute(COUNTS).fetchone()
    finally:
        connection.close()
    needed, left = workers * PER_PROCESS, int(limit) - int(used)
    words = f"at most {needed} connections to PostgreSQL for {workers} processes; it has {left} of {limit} left"
    if needed > left:
        raise InputError(
            f"the server needs {words}. Take fewer --workers, raise max_connections, or end what holds the others"
        )
    return words

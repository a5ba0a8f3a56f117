"""PostgreSQL's limit of connections, counted before a server starts that would exceed it."""

from __future__ import annotations

from qsched.errors import InputError
from study_server.db.database import POOL, Database

#: The most that one process has open at once: two writers, two readers, one for owners' pages, one that counts votes,
#: the engine's pool, one for the clock; and two each of the export, the look and the running estimate beside it, of
#: each of which there is one at a time.
PER_PROCESS = 2 + 2 + 1 + 1 + POOL + 1 + 3 * 2
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

"""PostgreSQL's limit of connections, counted before a server starts that would exceed it."""

from __future__ import annotations

from qsched.errors import InputError
from study_server.db.database import Database

#: What one process keeps open under load: two writers, two readers, one for owners' pages, two of the pool, one for the
#: clock. Not counted, because they come and go: one for each export or look while it runs, and the pool's overflow.
PER_PROCESS = 8
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
    words = f"{needed} connections to PostgreSQL for {workers} processes; it has {left} of {limit} left"
    if needed > left:
        raise InputError(
            f"the server needs {words}. Take fewer --workers, raise max_connections, or end what holds the others"
        )
    return f"{words}; each export and each look takes one more while it runs"

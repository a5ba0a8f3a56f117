"""One process at a time migrates a database or imports a study into it; the others wait, and say so."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from study_server.db.database import Database

log = logging.getLogger(__name__)
# Any number that no other program takes an advisory lock on.
_KEY = 0x0905_CED0_57D1


@contextmanager
def exclusive_setup(database: Database) -> Iterator[None]:
    """Hold the database's setup lock. It ends with the process that holds it, also with kill -9."""
    if database.dialect == "postgresql":
        with _advisory_lock(database):
            yield
    else:
        path = f"{database.url.database}.setup.lock"
        lock = FileLock(path, mode=0o600)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _say_waiting(path)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


@contextmanager
def _advisory_lock(database: Database) -> Iterator[None]:
    connection = database.connect()
    try:
        connection.execute("SET statement_timeout = 0")
        connection.execute("SET lock_timeout = 0")
        (free,) = connection.execute(f"SELECT pg_try_advisory_lock({_KEY})").fetchone()
        if not free:
            _say_waiting(database.url.render_as_string(hide_password=True))
            connection.execute(f"SELECT pg_advisory_lock({_KEY})")
        yield
    finally:
        connection.close()  # PostgreSQL frees the lock with its connection


def _say_waiting(what: str) -> None:
    log.warning("another process is migrating this database or importing a study; waiting for %s", what)

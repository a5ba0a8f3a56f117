"""Runs jobs in transactions; a job is settled after the commit that holds it.

The jobs that wait go into one transaction (group commit): one fsync serves all of them, and each is acknowledged after
it. A savepoint around each job keeps a failing one from harming its companions. If the commit itself fails, every job
of the group is tried again alone.

A job is a function of an open transaction; it may run more than once, so it keeps its effects in the database.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from study_server.db import Database, Tx
from study_server.db.database import DRIVER_ERRORS
from study_server.db.pipeline import Pipeline
from study_server.db.statements import RawConnection
from study_server.errors import NotSaved, StudyError

log = logging.getLogger(__name__)
T = TypeVar("T")
ATTEMPTS = 4
SQLITE_BATCH = 128
# Measured with benchmarks/server.py: 4 gives about as many votes a second, 16 fewer; more also hold more pairs locked.
POSTGRESQL_BATCH = 8
# Two groups may each hold a row that the other waits for; alone the same jobs pass.
GROUP_PATIENCE = "SET LOCAL lock_timeout = '200ms'"


@dataclass(slots=True)
class WriteJob:
    """What to do, whose it is (`ticket`), and what came of it."""

    function: Callable[[Tx], Any]
    ticket: Any
    result: Any = None
    error: BaseException | None = None
    settled: bool = False

    def settle(self, result: Any = None, error: BaseException | None = None) -> None:
        """Say what came of it; it is durable, or has left no trace."""
        self.result, self.error, self.settled = result, error, True


class Committer:
    """One connection at a time, replaced when the database fails on it. Belongs to one thread.

    `at_once`: how many jobs may share a transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: RawConnection | None = None
        self.at_once = SQLITE_BATCH if database.dialect == "sqlite" else POSTGRESQL_BATCH

    def settle(self, jobs: Sequence[WriteJob]) -> None:
        """Run them, together where they are several; every one is settled afterwards."""
        if len(jobs) > 1:
            self._connection = self._together(self._connection, jobs)
        attempts = ATTEMPTS
        for job in jobs:
            if not job.settled:
                self._connection = self._alone(self._connection, job, attempts)
            if isinstance(job.error, NotSaved):
                # The patience with a database that does not answer is spent once; a page tries again by itself.
                attempts = 1

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _together(self, connection: RawConnection | None, batch: Sequence[WriteJob]) -> RawConnection | None:
        """One transaction for all; a job that is not settled afterwards has left no trace."""
        done: list[tuple[WriteJob, Any, BaseException | None]] = []
        try:
            connection = connection or self._database.connect_writer()
            tx = Tx(connection, self._database.dialect)
            tx.command(self._database.begin_sql)
            if self._database.dialect == "postgresql":
                tx.command(GROUP_PATIENCE)
            for job in batch:
                tx.command("SAVEPOINT job")
                try:
                    done.append((job, job.function(tx), None))
                except DRIVER_ERRORS:
                    # In a pipeline a failure shows late: whose it was cannot be told, so the whole group is given up.
                    if isinstance(connection, Pipeline):
                        raise
                    connection.execute("ROLLBACK TO SAVEPOINT job")
                except Exception as error:
                    _settle(connection)  # raises where an earlier job has failed: its savepoint is not this one
                    tx.command("ROLLBACK TO SAVEPOINT job")
                    done.append((job, None, error))
                tx.command("RELEASE SAVEPOINT job")
            _commit(connection)
        except DRIVER_ERRORS as error:
            log.warning("a group of %d jobs failed together, trying each alone: %s", len(batch), error)
            _discard(connection)
            return None
        for job, result, failure in done:
            job.settle(result, failure)
        return connection

    def _alone(self, connection: RawConnection | None, job: WriteJob, attempts: int) -> RawConnection | None:
        for attempt in range(1, attempts + 1):
            try:
                connection = connection or self._database.connect_writer()
                result = self._in_transaction(connection, job.function)
            except DRIVER_ERRORS as error:
                _discard(connection)
                connection = None
                if attempt == attempts or not _may_pass(error):
                    log.error("a job was not saved: %s: %s", type(error).__name__, error)
                    job.settle(error=NotSaved())
                    return connection
                time.sleep(random.uniform(0.005, 0.02) * 2**attempt)
            except Exception as error:
                connection = _roll_back(connection)
                if not isinstance(error, StudyError):
                    log.exception("a job failed")
                job.settle(error=error)
                return connection
            else:
                job.settle(result)
                return connection
        return connection

    def _in_transaction(self, connection: RawConnection, function: Callable[[Tx], T]) -> T:
        tx = Tx(connection, self._database.dialect)
        tx.command(self._database.begin_sql)
        result = function(tx)
        _commit(connection)
        return result


def _may_pass(error: Exception) -> bool:
    """Whether the same job may succeed a moment later: a lost connection, a deadlock, a lost race."""
    if isinstance(error, sqlite3.OperationalError):
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return isinstance(
        error, (sqlite3.IntegrityError, psycopg.OperationalError, psycopg.IntegrityError, psycopg.InterfaceError)
    )


def _settle(connection: RawConnection) -> None:
    if isinstance(connection, Pipeline):
        connection.settle()


def _commit(connection: RawConnection) -> None:
    if isinstance(connection, Pipeline):
        connection.commit()
    else:
        connection.execute("COMMIT")


def _roll_back(connection: RawConnection | None) -> RawConnection | None:
    """End the transaction of a job that raised; a connection that cannot do that is replaced by the next job."""
    if connection is None:
        return None
    try:
        if isinstance(connection, Pipeline):
            connection.recover()
        connection.execute("ROLLBACK")
        _settle(connection)
    except DRIVER_ERRORS:
        _discard(connection)
        return None
    return connection


def _discard(connection: RawConnection | None) -> None:
    """Close a connection after the database failed on it: closing rolls back, and the next one starts clean."""
    if connection is None:
        return
    try:
        connection.close()
    except DRIVER_ERRORS as error:
        log.warning("closing a broken connection: %s", error)

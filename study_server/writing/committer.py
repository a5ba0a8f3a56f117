"""Runs jobs in transactions; a job is finished after the commit that holds it.

The jobs that wait go into one transaction (group commit): one fsync serves all of them, and each is acknowledged after
it. A job that refuses (an annotator's mistake) has written nothing yet and harms nobody. If a job fails after it has
written, or the commit itself fails, every job of the group is tried again alone.

A job is a function of an open transaction; it may run more than once, so it keeps its effects in the database.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from study_server.db import Database, Tx
from study_server.db.database import DRIVER_ERRORS
from study_server.db.statements import RawConnection
from study_server.errors import NotSaved, StudyError

log = logging.getLogger(__name__)
ATTEMPTS = 4
SQLITE_BATCH = 128
# Measured with 64 annotators who never pause: 8 gave 1,171 votes per second at best, 16 gave 1,198, 32 a longer p99.
POSTGRESQL_BATCH = 16
# Two groups may each hold a row that the other waits for; alone the same jobs pass.
GROUP_BEGIN = "BEGIN; SET LOCAL lock_timeout = '200ms'"


@dataclass(slots=True)
class WriteJob:
    """A function of a transaction, the future of its caller, and the result or error."""

    function: Callable[[Tx], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None
    finished: bool = False

    def finish(self, result: Any = None, error: BaseException | None = None) -> None:
        """Keep the result or the error; the effects are durable, or there are none."""
        self.result, self.error, self.finished = result, error, True


class Committer:
    """Owns one connection, replaced when the database fails on it. Belongs to one thread.

    `at_once`: how many jobs may share a transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: RawConnection | None = None
        self.at_once = SQLITE_BATCH if database.dialect == "sqlite" else POSTGRESQL_BATCH

    def finish(self, jobs: Sequence[WriteJob]) -> None:
        """Run the jobs, several of them together; afterwards every one is finished."""
        if len(jobs) > 1:
            self._together(jobs)
        attempts = ATTEMPTS
        for job in jobs:
            if not job.finished:
                self._alone(job, attempts)
            if isinstance(job.error, NotSaved):
                # Retry an unresponsive database only once per group: a page tries again by itself.
                attempts = 1

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _together(self, batch: Sequence[WriteJob]) -> None:
        """One transaction for all; a job that is not finished afterwards has left no trace."""
        done: list[tuple[WriteJob, Any, BaseException | None]] = []
        try:
            connection = self._open()
            tx = Tx(connection, self._database.dialect)
            tx.command(GROUP_BEGIN if self._database.dialect == "postgresql" else self._database.begin_sql)
            for job in batch:
                tx.changed = False
                try:
                    result = job.function(tx)
                    tx.flush()
                except Exception as error:  # noqa: BLE001 - whatever a job raises goes to its caller
                    if tx.changed or isinstance(error, DRIVER_ERRORS):
                        log.warning("a job failed in a group of %d, trying each alone: %s", len(batch), describe(error))
                        self._roll_back()
                        return
                    done.append((job, None, error))
                else:
                    done.append((job, result, None))
            self._commit(tx)
        except DRIVER_ERRORS as error:
            log.warning("a group of %d jobs failed together, trying each alone: %s", len(batch), describe(error))
            self._discard()
            return
        for job, result, failure in done:
            _log_unexpected(failure)
            job.finish(result, failure)

    def _alone(self, job: WriteJob, attempts: int) -> None:
        for attempt in range(1, attempts + 1):
            try:
                connection = self._open()
                tx = Tx(connection, self._database.dialect)
                tx.command(self._database.begin_sql)
                result = job.function(tx)
                tx.flush()
                self._commit(tx)
            except DRIVER_ERRORS as error:
                self._discard()
                if attempt == attempts or not _may_pass(error):
                    log.error("a job was not saved: %s", describe(error))
                    job.finish(error=NotSaved())
                    return
                time.sleep(random.uniform(0.005, 0.02) * 2**attempt)
            except Exception as error:  # noqa: BLE001 - whatever a job raises goes to its caller
                self._roll_back()
                _log_unexpected(error)
                job.finish(error=error)
                return
            else:
                job.finish(result)
                return

    def _commit(self, tx: Tx) -> None:
        committed = tx.command("COMMIT")
        # PostgreSQL answers COMMIT with ROLLBACK, and without an error, if the transaction had failed.
        if isinstance(committed, psycopg.Cursor) and committed.statusmessage != "COMMIT":
            raise psycopg.OperationalError("the database rolled the transaction back instead of committing it")
        # SQLite commits into an open file wherever it was moved to; such a vote must not be acknowledged.
        self._database.check_in_place()

    def _open(self) -> RawConnection:
        self._database.check_in_place()
        if self._connection is None:
            self._connection = self._database.connect()
        return self._connection

    def _roll_back(self) -> None:
        """End the transaction of a job that raised; a connection that cannot do that is replaced by the next job."""
        if self._connection is not None:
            try:
                self._connection.execute("ROLLBACK")
            except DRIVER_ERRORS:
                self._discard()

    def _discard(self) -> None:
        """Close a connection after the database failed on it: closing rolls back, and the next one starts clean."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except DRIVER_ERRORS as error:
                log.warning("closing a broken connection: %s", describe(error))


def describe(error: Exception) -> str:
    """A database error for the log. PostgreSQL's messages quote the row, and a row may hold a person's platform id."""
    if isinstance(error, psycopg.Error):
        place = error.diag.constraint_name or error.diag.table_name
        return f"{type(error).__name__} (SQLSTATE {error.sqlstate}" + (f", {place})" if place else ")")
    return f"{type(error).__name__}: {error}"


def _log_unexpected(error: BaseException | None) -> None:
    if error is not None and not isinstance(error, StudyError):
        log.error("a job failed", exc_info=error)


def _may_pass(error: Exception) -> bool:
    """Whether the same job may succeed a moment later: a lost connection, a deadlock, a lost race."""
    if isinstance(error, sqlite3.OperationalError):
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return isinstance(
        error, (sqlite3.IntegrityError, psycopg.OperationalError, psycopg.IntegrityError, psycopg.InterfaceError)
    )

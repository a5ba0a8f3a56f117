"""The durable writer: jobs go in, their results come out after the commit that holds them.

On SQLite one thread a process takes every waiting job into one transaction (group commit): one fsync serves
all of them, and each is acknowledged after it. A savepoint around each job keeps a failing one from harming
its companions. If the commit itself fails, every job of the group is tried again alone. On PostgreSQL several
threads take one job each: one transaction a vote.

A job is a function of an open transaction; it may run more than once, so it keeps its effects in the database.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from study_server.db.database import DRIVER_ERRORS, Database
from study_server.db.pipeline import Pipeline
from study_server.db.statements import RawConnection, Tx
from study_server.errors import NotSaved, StudyError

log = logging.getLogger(__name__)
T = TypeVar("T")
ATTEMPTS = 4


@dataclass(slots=True)
class _Job:
    function: Callable[[Tx], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None
    settled: bool = False

    def settle(self, result: Any = None, error: BaseException | None = None) -> None:
        self.result, self.error, self.settled = result, error, True


class Writer:
    """Runs jobs in threads of its own; `start` inside a running event loop, `stop` before it ends."""

    def __init__(self, database: Database, *, threads: int, max_batch: int) -> None:
        self._database = database
        self._max_batch = max_batch
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"writer-{number}", daemon=True) for number in range(threads)
        ]
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start the threads; results are delivered on the running loop."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    async def stop(self) -> None:
        """Finish what was handed in, then end."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    async def run(self, function: Callable[[Tx], T]) -> T:
        """The job's result, once it is durable; raises its StudyError, or NotSaved when the database fails."""
        if self._loop is None:
            raise RuntimeError("Writer.start() was not called")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Job(function, future))
        return await future

    def _work(self) -> None:
        connection: RawConnection | None = None
        stopping = False
        while not stopping:
            job = self._queue.get()
            if job is None:
                break
            batch = [job]
            while len(batch) < self._max_batch:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    stopping = True
                    break
                batch.append(more)
            if len(batch) > 1:
                connection = self._together(connection, batch)
            for item in batch:
                if not item.settled:
                    connection = self._alone(connection, item)
            self._deliver(batch)
        if connection is not None:
            connection.close()

    def _together(self, connection: RawConnection | None, batch: list[_Job]) -> RawConnection | None:
        """One transaction for all; a job that is not settled afterwards has left no trace."""
        done: list[tuple[_Job, Any, BaseException | None]] = []
        try:
            connection = connection or self._database.connect_writer()
            tx = Tx(connection, self._database.dialect)
            tx.command(self._database.begin_sql)
            for job in batch:
                tx.command("SAVEPOINT job")
                try:
                    result = job.function(tx)
                    _settle(connection)
                    done.append((job, result, None))
                except DRIVER_ERRORS:
                    _undo(connection, to_savepoint=True)
                except Exception as error:
                    _undo(connection, to_savepoint=True)
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

    def _alone(self, connection: RawConnection | None, job: _Job) -> RawConnection | None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                connection = connection or self._database.connect_writer()
                result = self._in_transaction(connection, job.function)
            except DRIVER_ERRORS as error:
                _discard(connection)
                connection = None
                if attempt == ATTEMPTS or not _may_pass(error):
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

    def _deliver(self, batch: list[_Job]) -> None:
        if self._loop is None or self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(_resolve, batch)


def _resolve(batch: list[_Job]) -> None:
    for job in batch:
        if job.future.done():  # the client went away
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)


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


def _undo(connection: RawConnection, *, to_savepoint: bool = False) -> None:
    if isinstance(connection, Pipeline):
        connection.recover()
    connection.execute("ROLLBACK TO SAVEPOINT job" if to_savepoint else "ROLLBACK")
    _settle(connection)


def _roll_back(connection: RawConnection | None) -> RawConnection | None:
    """End the transaction of a job that raised; a connection that cannot do that is replaced by the next job."""
    if connection is None:
        return None
    try:
        _undo(connection)
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

"""Reads outside any transaction, on two threads with connections of their own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from study_server.db.database import DRIVER_ERRORS, Database
from study_server.db.statements import RawConnection, Tx
from study_server.errors import NotSaved

T = TypeVar("T")


class Reader:
    """Runs a function of a read-only Tx; a broken connection is replaced once before the read fails."""

    def __init__(self, database: Database, *, threads: int = 2) -> None:
        self._database = database
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reader")
        self._local = threading.local()
        self._open: list[RawConnection] = []
        self._lock = threading.Lock()
        self._running = 0
        self._closing = False

    async def run(self, function: Callable[[Tx], T]) -> T:
        """The function's result; NotSaved (503) where the database does not answer."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, function)

    def submit(self, function: Callable[[Tx], T]) -> Future[T]:
        """As `run`, for whoever is on no event loop: started now, asked for later."""
        return self._pool.submit(self._read, function)

    def _read(self, function: Callable[[Tx], T]) -> T:
        with self._lock:
            self._running += 1
        try:
            return self._try(function)
        finally:
            with self._lock:
                self._running -= 1

    def _try(self, function: Callable[[Tx], T]) -> T:
        for attempt in (1, 2):
            try:
                self._database.check_in_place()
                return function(Tx(self._connection(), self._database.dialect))
            except DRIVER_ERRORS as error:
                self._discard()
                if attempt == 2 or self._closing:
                    raise NotSaved("the database does not answer, trying again") from error
        raise AssertionError("unreachable")

    def _discard(self) -> None:
        """Close this thread's connection: an abandoned one would hold a place in the database until it is collected."""
        connection: RawConnection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            self._open.remove(connection)
            with suppress(*DRIVER_ERRORS):
                connection.close()

    def _connection(self) -> RawConnection:
        connection: RawConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._database.connect()
            self._local.connection = connection
            self._open.append(connection)
        return connection

    def close(self) -> None:
        """End the threads and close their connections. A running read is interrupted: nobody waits for it any more."""
        self._closing = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        while self._running:  # again and again: a read may be between two statements
            for connection in list(self._open):
                with suppress(*DRIVER_ERRORS):
                    self._database.interrupt(connection)
            time.sleep(0.05)
        self._pool.shutdown(wait=True)
        for connection in self._open:
            connection.close()

"""Reads outside any transaction, on two threads with connections of their own."""

from __future__ import annotations

import asyncio
import threading
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

    async def run(self, function: Callable[[Tx], T]) -> T:
        """The function's result; NotSaved (503) where the database does not answer."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, function)

    def submit(self, function: Callable[[Tx], T]) -> Future[T]:
        """As `run`, for whoever is on no event loop: started now, asked for later."""
        return self._pool.submit(self._read, function)

    def _read(self, function: Callable[[Tx], T]) -> T:
        for attempt in (1, 2):
            try:
                self._database.check_in_place()
                return function(Tx(self._connection(), self._database.dialect))
            except DRIVER_ERRORS as error:
                self._discard()
                if attempt == 2:
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
        """End the threads and close their connections."""
        self._pool.shutdown(wait=True)
        for connection in self._open:
            connection.close()

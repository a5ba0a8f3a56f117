"""The writer on threads of this process: one for SQLite, several for PostgreSQL."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from study_server.db import Database
from study_server.studies.study import Study
from study_server.writing.committer import Committer, WriteJob
from study_server.writing.contexts import AssignmentContexts

T = TypeVar("T")


class ThreadWriter:
    """A `Writer`; each thread takes as many waiting jobs at once as may share a transaction, or `max_batch`."""

    def __init__(
        self, database: Database, desks: AssignmentContexts, *, threads: int, max_batch: int | None = None
    ) -> None:
        self._database = database
        self._desks = desks
        self._max_batch = max_batch
        self._queue: queue.SimpleQueue[WriteJob | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"writer-{number}", daemon=True) for number in range(threads)
        ]
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
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

    async def run(self, function: Callable[..., T], study: Study | None, /, **values: Any) -> T:
        """See `Writer`."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put(WriteJob(self._desks.bind(function, study, values), future))
        return await future

    def _work(self) -> None:
        committer = Committer(self._database)
        at_once = self._max_batch or committer.at_once
        stopping = False
        while not stopping:
            job = self._queue.get()
            if job is None:
                break
            batch = [job]
            while len(batch) < at_once:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    stopping = True
                    break
                batch.append(more)
            committer.settle(batch)
            self._deliver(batch)
        committer.close()

    def _deliver(self, batch: list[WriteJob]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_resolve, batch)


def _resolve(batch: list[WriteJob]) -> None:
    for job in batch:
        if job.ticket.done():  # the client went away
            continue
        if job.error is not None:
            job.ticket.set_exception(job.error)
        else:
            job.ticket.set_result(job.result)

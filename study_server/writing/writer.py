"""The writer's threads: one for SQLite, several for PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from study_server.db import Database, Tx
from study_server.errors import NotSaved
from study_server.studies.study import Study
from study_server.writing.committer import Committer, WriteJob
from study_server.writing.contexts import AssignmentContexts

log = logging.getLogger(__name__)
T = TypeVar("T")


class Writer:
    """Runs jobs in transactions; each thread takes the waiting jobs, up to `max_batch`, into one transaction.

    `start` inside a running event loop, `stop` before it ends.
    """

    def __init__(
        self, database: Database, contexts: AssignmentContexts, *, threads: int, max_batch: int | None = None
    ) -> None:
        self._database = database
        self._contexts = contexts
        self._max_batch = max_batch
        self._queue: queue.SimpleQueue[WriteJob | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"writer-{number}", daemon=True) for number in range(threads)
        ]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._of_this_turn: list[WriteJob] = []

    @property
    def waiting(self) -> int:
        """How many jobs no thread has taken yet."""
        return self._queue.qsize() + len(self._of_this_turn)

    async def start(self) -> None:
        """Start the threads; results are delivered on the running loop."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    async def stop(self) -> None:
        """Finish the jobs that wait, then end the threads."""
        self._hand_over()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    async def run(self, function: Callable[..., T], study: Study | None, /, **values: Any) -> T:
        """The result of function(tx, context of the study, **values), or of function(tx, **values) without a study.

        The result is durable. Raises the function's StudyError, or NotSaved if the database fails.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if not self._of_this_turn:
            loop.call_soon(self._hand_over)
        self._of_this_turn.append(WriteJob(self._bind(function, study, values), future))
        return await future

    def _hand_over(self) -> None:
        """Give the jobs of one turn of the event loop to the threads. A thread that began with the first of them would
        compete with the loop for the interpreter, and commit in smaller groups."""
        jobs, self._of_this_turn = self._of_this_turn, []
        for job in jobs:
            self._queue.put(job)

    def _bind(
        self, function: Callable[..., Any], study: Study | None, values: Mapping[str, Any]
    ) -> Callable[[Tx], Any]:
        if study is None:
            return lambda tx: function(tx, **values)
        return lambda tx: function(tx, self._contexts.make(study), **values)

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
            try:
                committer.finish(batch)
            except Exception as error:
                log.critical("the writer failed on a group of %d jobs", len(batch), exc_info=error)
                for job in batch:
                    if not job.finished:
                        job.finish(error=NotSaved())
            self._deliver(batch)
        committer.close()

    def _deliver(self, batch: list[WriteJob]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_resolve, batch)


def _resolve(batch: list[WriteJob]) -> None:
    for job in batch:
        if job.future.done():  # the client went away
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)

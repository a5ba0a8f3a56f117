"""The writer in processes of its own: one for SQLite, several for PostgreSQL.

Checking a request and running its transaction each take about half a millisecond of the interpreter; in one process
they exclude one another, in two they do not. A process that dies is replaced, and what it had not answered is told as
not saved: the page sends it again with the same key.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from study_server.errors import NotSaved
from study_server.settings import ServerSettings
from study_server.studies.study import Study
from study_server.writing.frames import LENGTH_BYTES, body_length, pack, unpack

log = logging.getLogger(__name__)
T = TypeVar("T")
#: A process that ends at once is not started again in a busy loop.
PAUSE_SECONDS = 1.0
GRACE_SECONDS = 20.0


@dataclass(eq=False)
class _Clerk:
    """One process, the server's end of its socket, and what it owes."""

    process: subprocess.Popen[bytes]
    stream: asyncio.StreamWriter
    owed: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    outbox: list[Any] = field(default_factory=list)
    known_studies: set[int] = field(default_factory=set)


class ProcessWriter:
    """A `Writer` whose jobs run in `processes` other processes; each job goes to the one that owes least."""

    def __init__(self, settings: ServerSettings, *, processes: int) -> None:
        self._settings = settings
        self._processes = processes
        self._clerks: list[_Clerk] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._next = 0
        self._stopping = False

    async def start(self) -> None:
        """Start the processes; jobs may be handed in at once."""
        started = asyncio.get_running_loop().create_future()
        self._tasks = [asyncio.create_task(self._keep(started)) for _ in range(self._processes)]
        await started

    async def stop(self) -> None:
        """Finish what was handed in, then end."""
        self._stopping = True
        for clerk in self._clerks:
            self._send(clerk)
            if clerk.stream.can_write_eof():
                clerk.stream.write_eof()
        _, late = await asyncio.wait(self._tasks, timeout=GRACE_SECONDS)
        for clerk in list(self._clerks) if late else ():
            log.warning("writing process %s did not end in %.0f s and is killed", clerk.process.pid, GRACE_SECONDS)
            clerk.process.kill()
        await asyncio.gather(*self._tasks)

    async def run(self, function: Callable[..., T], study: Study | None, /, **values: Any) -> T:
        """See `Writer`."""
        if not self._clerks:
            raise NotSaved
        clerk = min(self._clerks, key=_debt)
        self._next += 1
        ticket = self._next
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        clerk.owed[ticket] = future
        if not clerk.outbox:
            # What other requests of this turn of the loop hand in goes with it.
            asyncio.get_running_loop().call_soon(self._send, clerk)
        number = None if study is None else study.id
        if study is not None and number not in clerk.known_studies:
            clerk.known_studies.add(study.id)
            clerk.outbox.append(study)
        clerk.outbox.append((ticket, function, number, values))
        return await future

    def _send(self, clerk: _Clerk) -> None:
        if clerk.outbox:
            records, clerk.outbox = clerk.outbox, []
            clerk.stream.write(pack(records))

    async def _keep(self, started: asyncio.Future[None]) -> None:
        """One process, and another when it dies."""
        while not self._stopping:
            began = time.monotonic()
            try:
                await self._serve_one(started)
            except OSError as error:
                log.error("a writing process could not be started: %s", error)
            if not self._stopping:
                await asyncio.sleep(max(0.0, PAUSE_SECONDS - (time.monotonic() - began)))

    async def _serve_one(self, started: asyncio.Future[None]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "study_server.writing.child", str(theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        reader, stream = await asyncio.open_connection(sock=ours)
        clerk = _Clerk(process, stream)
        stream.write(pack([self._settings]))
        self._clerks.append(clerk)
        if not started.done():
            started.set_result(None)
        try:
            while True:
                head = await reader.readexactly(LENGTH_BYTES)
                for answer in unpack(await reader.readexactly(body_length(head))):
                    _resolve(clerk, *answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._clerks.remove(clerk)
            stream.close()
            code = await asyncio.to_thread(process.wait)
            if not self._stopping:
                log.error("writing process %s ended with %s and is replaced", process.pid, code)
            for future in clerk.owed.values():
                if not future.done():
                    future.set_exception(NotSaved())


def _debt(clerk: _Clerk) -> int:
    return len(clerk.owed)


def _resolve(clerk: _Clerk, ticket: int, result: Any, error: BaseException | None) -> None:
    future = clerk.owed.pop(ticket)
    if future.done():  # the client went away
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)

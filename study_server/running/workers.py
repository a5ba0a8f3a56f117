"""Several server processes on one listening socket: started, replaced when they die, ended together.

Instead of uvicorn's supervisor: that one asks each worker for a sign of life and ends those that are slow to answer,
which on a busy machine is every worker that is still starting, for ever; and it waits for the answer of one that was
killed. Here a worker is replaced when its process has ended, and only then.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

log = logging.getLogger("uvicorn.error")
# A worker that ends at once (no database) is not started again in a busy loop.
PAUSE = 1.0
GRACE = 20.0
Serve = Callable[[str, socket.socket], None]


def run_workers(serve: Serve, settings_json: str, sock: socket.socket, *, workers: int) -> None:
    """Run `serve(settings_json, sock)` in `workers` processes until SIGTERM or SIGINT.

    `serve` is a function of a module.
    """
    stopping = threading.Event()
    awake, waker = socket.socketpair()
    awake.setblocking(False)
    waker.setblocking(False)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()
        # Ends the wait below at once.
        waker.send(b".")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    running = [_start(serve, settings_json, sock) for _ in range(workers)]
    while not stopping.is_set():
        wait([awake, *(process.sentinel for process in running)])
        if stopping.is_set():
            break
        for place, process in enumerate(running):
            if process.exitcode is not None:
                log.warning("worker %s ended with %s and is replaced", process.pid, process.exitcode)
                stopping.wait(PAUSE)
                running[place] = _start(serve, settings_json, sock)
    _end(running)


def _start(serve: Serve, settings_json: str, sock: socket.socket) -> SpawnProcess:
    # Spawned, not forked: the parent has had a database engine and threads.
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(serve, settings_json, sock))
    process.start()
    return process


def _work(serve: Serve, settings_json: str, sock: socket.socket) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    serve(settings_json, sock)


def _end_with_parent() -> None:
    """A worker without its parent would hold the port for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _end(running: list[SpawnProcess]) -> None:
    """Let each finish what it has begun; one that does not is killed, which loses no acknowledged vote."""
    for process in running:
        process.terminate()
    deadline = time.monotonic() + GRACE
    for process in running:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.exitcode is None:
            log.warning("worker %s did not end in %.0f s and is killed", process.pid, GRACE)
            process.kill()
            process.join()

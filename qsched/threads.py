"""Work on many pictures in a few threads, results in order: hashing, decoding and transfers leave the interpreter."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from qsched.locations import Location, RemotePath

A = TypeVar("A")
B = TypeVar("B")
# An object store answers in tens of milliseconds, however many ask.
REMOTE_THREADS = 32
_MOST_LOCAL = 8


def threads_for(location: Location) -> int:
    """How many threads suit the files of a location: as many as processors, or many that wait for a store."""
    if isinstance(location, RemotePath):
        return REMOTE_THREADS
    return min(_MOST_LOCAL, os.cpu_count() or 1)


def in_order(job: Callable[[A], B], items: Iterable[A], *, threads: int) -> Iterator[B]:
    """job(item) of every item, in the order of the items; at most twice as many results as threads are held.

    An error of a job is raised when its turn comes; what has not begun is then left.
    """
    if threads == 1:
        yield from map(job, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[B]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(job, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

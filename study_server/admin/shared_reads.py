"""Answers that are slow to find, shared by everybody who looks."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")
Q = TypeVar("Q")


class SharedReads(Generic[Q, T]):
    """Answers of `ask`, which is slow, shared by everybody who looks. It is asked at most once at a time about a key.

    An answer is renewed after `fresh_seconds`, or after `rest` times what it took if that is longer. With ten, looking
    at a study takes at most a tenth of one thread, however many people look.

    rest       fewer suffice for questions that pause for much of their time
    most       answers that are kept; the one that was asked for longest ago is dropped first
    at_once    questions that may be unanswered at the same time; `get_soon` asks no further one
    """

    def __init__(
        self,
        ask: Callable[[Q], Awaitable[T]],
        *,
        fresh_seconds: float,
        rest: float = 10.0,
        most: int = 200,
        at_once: int = 4,
    ) -> None:
        self._ask = ask
        self._fresh = fresh_seconds
        self._rest = rest
        self._most = most
        self._at_once = at_once
        self._known: dict[str, tuple[float, asyncio.Task[T]]] = {}
        self._latest: dict[str, tuple[float, T]] = {}

    async def get(self, key: str, question: Q) -> T:
        """The answer to `question`, or a recent one under the same key."""
        due, task = self._known.pop(key, (0.0, None))
        if task is None or (task.done() and (time.monotonic() >= due or task.exception() is not None)):
            task = asyncio.create_task(self._answer(key, question))
            due = math.inf
        self._known[key] = (due, task)  # the last one now
        self._make_room()
        return await asyncio.shield(task)

    def _make_room(self) -> None:
        """Forget what was asked for longest ago, but no question that is still unanswered."""
        spare = len(self._known) - self._most
        for key in [key for key, (_, task) in self._known.items() if task.done()][: max(0, spare)]:
            self.forget(key)

    def _must_wait(self, key: str) -> bool:
        """Whether so many other questions are unanswered that `key` is not asked about now."""
        asked = [other for other, (_, task) in self._known.items() if not task.done()]
        return key not in asked and len(asked) >= self._at_once

    async def _answer(self, key: str, question: Q) -> T:
        began = time.monotonic()
        answer = await self._ask(question)
        ended = time.monotonic()
        known = self._known.get(key)
        if known is not None and known[1] is asyncio.current_task():  # not forgotten meanwhile
            self._latest[key] = ended, answer
            self._known[key] = (ended + max(self._fresh, self._rest * (ended - began)), known[1])
        return answer

    async def get_soon(self, key: str, question: Q, *, seconds: float, oldest: float = math.inf) -> T | None:
        """As `get`, but after so many seconds the latest answer, or None if there is none; the asking goes on.

        oldest    seconds after which an answer that does not say when it was made is none any more
        """
        if not self._must_wait(key):
            with suppress(TimeoutError):
                return await asyncio.wait_for(self.get(key, question), seconds)
        ended, answer = self._latest.get(key, (-math.inf, None))
        return answer if time.monotonic() - ended <= oldest else None

    def forget(self, key: str) -> None:
        """Ask anew next time: something was changed."""
        self._known.pop(key, None)
        self._latest.pop(key, None)

    async def close(self) -> None:
        """Give up what is still being asked."""
        tasks = [task for _, task in self._known.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

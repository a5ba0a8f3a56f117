"""One study as its owner watches it: votes, pace, time left, people on their way through it."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from qsched.records import Choice
from qsched.records.rankings import NUMBERS, ranking_pairs, read_ranking
from study_server.admin import queries
from study_server.admin.charts import BarChart, bar_chart
from study_server.clock import now_ms
from study_server.db import Tx
from study_server.studies.progress import StudyRow, read_study

HOUR_MS = 3_600_000
CHART_HOURS = 24
KEPT_MS = 10 * 60_000
# A page that is open sends a sign of life at least this often; one that sent none for half an hour was left.
HERE_MS = 90_000
GONE_MS = 30 * 60_000
T = TypeVar("T")
Q = TypeVar("Q")


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """How many people came this far; `share` of the first step, at most 1."""

    words: str
    people: int
    share: float


@dataclass(frozen=True, slots=True)
class StudyProgress:
    """What the page of a study shows and renews.

    votes_last_hour    valid votes on pairs that were handed out in the last hour
    hours_left         at the pace of the last hour; None while nothing comes in or there is no target
    here, dropped      people at the study now, and people who left in the middle
    """

    row: StudyRow
    votes_last_hour: int
    hours_left: float | None
    by_hour: BarChart
    hours: tuple[tuple[int, int], ...]
    funnel: tuple[FunnelStep, ...]
    screened_out: int
    not_understood: int
    excluded: int
    here: int
    dropped: int
    simulated: int
    read_ms: int


@dataclass(frozen=True, slots=True)
class ComparisonCounts:
    """Answers so far to one question about two arms."""

    question: str
    first: str
    second: str
    first_preferred: int
    second_preferred: int
    ties: int

    @property
    def votes(self) -> int:
        """All answers but skips."""
        return self.first_preferred + self.second_preferred + self.ties


class HourCounts:
    """Votes by hour of one study. Hours that are over are counted again only after KEPT_MS: of a day with 100,000 votes
    that takes longer than all else on the page."""

    def __init__(self) -> None:
        self._study = 0
        self._kept: dict[int, int] = {}
        self._until_ms = 0

    def read(self, tx: Tx, *, study: int, first: int, now: int) -> dict[int, int]:
        """By hour since 1970, from hour `first` on; one without votes may be left out."""
        if now >= self._until_ms or study != self._study:
            self._study, self._kept, self._until_ms = study, {}, now + KEPT_MS
        # A vote counts in the hour in which its pair was handed out, so that the hour before is not complete yet.
        over = range(first, now // HOUR_MS - 1)
        start = next((hour for hour in over if hour not in self._kept), over.stop)
        found: dict[int, int] = dict(tx.all(queries.VOTES_BY_HOUR, study=study, first=start * HOUR_MS << 20))
        self._kept.update({hour: found.get(hour, 0) for hour in over[start - first :]})
        return self._kept | found


def read_progress(tx: Tx, slug: str, hour_counts: HourCounts | None = None) -> StudyProgress:
    """The progress of a study at this moment; NotFound for an unknown slug."""
    number, row = read_study(tx, slug)
    now = now_ms()
    this_hour = now // HOUR_MS
    first_hour = this_hour - CHART_HOURS + 1
    found = (hour_counts or HourCounts()).read(tx, study=number, first=first_hour, now=now)
    recent, since = tx.one(queries.VOTES_SINCE, study=number, first=now - HOUR_MS << 20) or (0, None)
    people = tx.one(queries.FUNNEL, study=number, here_since=now - HERE_MS, gone_since=now - GONE_MS)
    agreed, began, judged, finished, screened_out, misread, excluded, here, dropped, simulated = map(
        int, people or (0,) * 10
    )
    # Everybody who agreed has opened the link; of older studies nothing else is known.
    arrived = max(agreed, int((tx.one(queries.ARRIVALS, study=number) or (0,))[0]))
    hours = [(hour, found.get(hour, 0)) for hour in range(first_hour, this_hour + 1)]
    left = None if row.target_votes is None else max(0, row.target_votes - row.valid_votes)
    return StudyProgress(
        row=row,
        votes_last_hour=recent,
        hours_left=None if left is None else hours_left(left, votes=recent, since_ms=since, now=now),
        by_hour=bar_chart(
            [(f"{hour % 24:02d}:00", votes) for hour, votes in hours],
            words=f"valid votes in each of the last {CHART_HOURS} hours (UTC)",
        ),
        hours=tuple((hour * HOUR_MS, votes) for hour, votes in hours),
        funnel=funnel(
            [
                ("opened the link", arrived),
                ("agreed to take part", agreed),
                ("saw a pair", began),
                ("judged a pair", judged),
                ("finished", finished),
            ]
        ),
        screened_out=screened_out,
        not_understood=misread,
        excluded=excluded,
        here=here,
        dropped=dropped,
        simulated=simulated,
        read_ms=now,
    )


def hours_left(left: int, *, votes: int, since_ms: int | None, now: int) -> float | None:
    """Hours for `left` votes at the pace of `votes` since `since_ms`; None without a vote, or after less than 3 min."""
    if left == 0:
        return 0.0
    if since_ms is None or now - since_ms < 180_000:
        return None
    return left / votes * (now - since_ms) / HOUR_MS


def funnel(steps: list[tuple[str, int]]) -> tuple[FunnelStep, ...]:
    """Each step with its share of the first."""
    most = max((people for _, people in steps), default=0)
    return tuple(FunnelStep(words, people, people / most if most else 0.0) for words, people in steps)


@dataclass(frozen=True, slots=True)
class AnswersSoFar:
    """The counts of every question and comparison at `read_ms`, in milliseconds since 1970 UTC."""

    rows: tuple[ComparisonCounts, ...]
    read_ms: int


def read_counts(tx: Tx, study: int) -> AnswersSoFar:
    """The answers so far, by question and comparison. Looks at every vote: seconds for a million."""
    read_ms = now_ms()
    rows = tx.all(queries.COUNTS, study=study)
    found = [ComparisonCounts(question, first, second, *map(int, counts)) for first, second, question, *counts in rows]
    return AnswersSoFar((*found, *_ranked_counts(tx, study)), read_ms)


def _ranked_counts(tx: Tx, study: int) -> list[ComparisonCounts]:
    """What rankings say of every two arms, as counts of pairs."""
    counts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for *shown, question, text, times in tx.all(queries.RANKED_COUNTS, study=study):
        arms = [arm for arm in shown if arm is not None]
        for i, j, choice in ranking_pairs(read_ranking(text, NUMBERS[: len(arms)])):
            counts[question, arms[i], arms[j]][choice] += int(times)
    return [
        ComparisonCounts(*key, found[Choice.LEFT], found[Choice.RIGHT], found[Choice.TIE])
        for key, found in sorted(counts.items())
    ]


class SharedReads(Generic[Q, T]):
    """Answers of `ask`, which is slow, shared by everybody who looks; it is asked at most once at a time and key.

    An answer is renewed after `fresh_seconds`, or after ten times what it took if that is longer: looking at a study
    takes at most a tenth of one thread, whoever looks.
    """

    def __init__(self, ask: Callable[[Q], Awaitable[T]], *, fresh_seconds: float) -> None:
        self._ask = ask
        self._fresh = fresh_seconds
        self._known: dict[str, tuple[float, asyncio.Task[T]]] = {}
        self._latest: dict[str, tuple[float, T]] = {}

    async def get(self, key: str, question: Q) -> T:
        """The answer to `question`, or a recent one under the same key."""
        due, task = self._known.get(key, (0.0, None))
        if task is None or (task.done() and (time.monotonic() >= due or task.exception() is not None)):
            task = asyncio.create_task(self._answer(key, question))
            self._known[key] = (float("inf"), task)
        return await asyncio.shield(task)

    async def _answer(self, key: str, question: Q) -> T:
        began = time.monotonic()
        answer = await self._ask(question)
        ended = time.monotonic()
        known = self._known.get(key)
        if known is not None and known[1] is asyncio.current_task():  # not forgotten meanwhile
            self._latest[key] = ended, answer
            self._known[key] = (ended + max(self._fresh, 10 * (ended - began)), known[1])
        return answer

    async def get_soon(self, key: str, question: Q, *, seconds: float, oldest: float = math.inf) -> T | None:
        """As `get`, but after so many seconds the latest answer, or None if there is none; the asking goes on.

        oldest    seconds after which an answer that does not say when it was made is none any more
        """
        try:
            return await asyncio.wait_for(self.get(key, question), seconds)
        except TimeoutError:
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

"""One study as its owner watches it: votes, pace, time left, people on their way through it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

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
    hours_missing      earlier hours of which the votes are not counted yet
    here, dropped      people at the study now, and people who left in the middle
    """

    row: StudyRow
    votes_last_hour: int
    hours_left: float | None
    by_hour: BarChart
    hours: tuple[tuple[int, int], ...]
    hours_missing: int
    funnel: tuple[FunnelStep, ...]
    screened_out: int
    not_understood: int
    excluded: int
    here: int
    dropped: int
    simulated: int
    read_ms: int


class HourCounts:
    """Votes by hour of one study. Hours that are over are kept for KEPT_MS, or until votes of a person cease to count.

    A read that may take so many seconds only counts the latest hours of a day with many votes; the next one goes on.
    """

    def __init__(self) -> None:
        self._state = (0, 0)
        self._kept: dict[int, int] = {}
        self._until_ms = 0

    def read(self, tx: Tx, *, study: int, slug: str, first: int, now: int, seconds: float = math.inf) -> dict[int, int]:
        """By hour since 1970, from hour `first` on; hours for which `seconds` were too few are left out."""
        ends = time.monotonic() + seconds
        # Of this process, of another one, or of a command: each writes its action into the log.
        state = (study, int(tx.scalar(queries.RECOUNTS, slug=slug)))
        if now >= self._until_ms or state != self._state:
            self._state, self._kept, self._until_ms = state, {}, now + KEPT_MS
        # A vote counts in the hour in which its pair was handed out, so that the hour before is not complete yet.
        this_hour = now // HOUR_MS
        found = {this_hour - 1: 0, this_hour: 0}
        found |= _votes_by_hour(tx, study, range(this_hour - 1, this_hour + 1))
        for hour in [hour for hour in range(this_hour - 2, first - 1, -1) if hour not in self._kept]:
            self._kept[hour] = _votes_by_hour(tx, study, range(hour, hour + 1)).get(hour, 0)
            if time.monotonic() >= ends:
                break
        return {hour: votes for hour, votes in self._kept.items() if hour >= first} | found


def _votes_by_hour(tx: Tx, study: int, hours: range) -> dict[int, int]:
    first, end = (hour * HOUR_MS << 20 for hour in (hours.start, hours.stop))
    return dict(tx.all(queries.VOTES_BY_HOUR, study=study, first=first, end=end))


def read_progress(
    tx: Tx, slug: str, hour_counts: HourCounts | None = None, *, counting_seconds: float = math.inf
) -> StudyProgress:
    """The progress of a study at this moment; NotFound for an unknown slug.

    With `counting_seconds` the votes of earlier hours may be missing at first; another read with the same `hour_counts`
    goes on.
    """
    number, row = read_study(tx, slug)
    now = now_ms()
    this_hour = now // HOUR_MS
    first_hour = this_hour - CHART_HOURS + 1
    found = (hour_counts or HourCounts()).read(
        tx, study=number, slug=slug, first=first_hour, now=now, seconds=counting_seconds
    )
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
        hours_missing=sum(hour not in found for hour, _ in hours),
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

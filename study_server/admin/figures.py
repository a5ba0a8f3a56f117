"""What the owner's pages show and is slow to find, shared by everybody who looks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast

from starlette.requests import Request

from qsched.records.running import RunningEstimate
from study_server.admin.charts import IntervalBar, interval_bars
from study_server.admin.counting import (
    AgreementCount,
    AnswersCount,
    AnswersSoFar,
    KeptCounts,
    PairCounts,
    PairsCount,
    SteppedCount,
)
from study_server.admin.pairs import PairRow
from study_server.admin.progress import HourCounts, StudyProgress, read_progress
from study_server.admin.shared_reads import SharedReads
from study_server.db import Database, Reader, Tx
from study_server.quality.figures import Share
from study_server.quality.people import AnswersOf, answers_of_page, answers_of_person
from study_server.studies.study import Study
from study_server.web.child import CommandFailed, run_command

T = TypeVar("T")
Read: TypeAlias = Callable[[Tx], T]

# A page does not wait longer for a slow read: it is to take less than 0.3 s.
PAGE_SECONDS = 0.15
# The page does not say when "Agrees" was counted, so an older one is not shown.
AGREEMENT_SECONDS = 600.0
# One read of a study's progress spends at most this long on the votes of earlier hours.
HOURS_SECONDS = 0.04
# The pause after each step of a count, in multiples of what the step took.
REST = 1.0
# The pause after a count, in multiples of what it took; half of that were pauses already.
COUNT_REST = 3.0
# An estimate is a process of its own that reads every vote.
ESTIMATE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class RunningSoFar:
    """The running estimate with its bars; without one why it could not be made, or nothing while it is being made."""

    estimate: RunningEstimate | None = None
    bars: tuple[IntervalBar | None, ...] = ()
    problem: str | None = None


class OwnerFigures:
    """One per process; `progress` is seconds old, `counts` may be a minute old.

    Counting looks at every vote. It has a thread of its own, so that no other page waits behind it, and goes in steps
    with rests between them, so that no vote does.
    """

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._counter = Reader(database, threads=1)
        self._turn = asyncio.Lock()
        self._hour_counts: dict[str, HourCounts] = {}
        self._kept_counts: dict[str, KeptCounts] = {}
        self._progress: SharedReads[Read[StudyProgress], StudyProgress] = SharedReads(reader.run, fresh_seconds=1.5)
        self._agreements: SharedReads[SteppedCount[Mapping[int, Share]], Mapping[int, Share]] = SharedReads(
            self._count_in_steps, fresh_seconds=20.0, rest=COUNT_REST
        )
        self._counts: SharedReads[SteppedCount[AnswersSoFar], AnswersSoFar] = SharedReads(
            self._count_in_steps, fresh_seconds=20.0, rest=COUNT_REST
        )
        self._pairs: SharedReads[SteppedCount[PairCounts], PairCounts] = SharedReads(
            self._count_in_steps, fresh_seconds=10.0
        )
        self._running: SharedReads[str, RunningSoFar] = SharedReads(self._estimate, fresh_seconds=ESTIMATE_SECONDS)

    async def close(self) -> None:
        """Give up what is being counted or estimated, and end the counting thread."""
        for reads in (self._progress, self._agreements, self._counts, self._pairs, self._running):
            await reads.close()
        self._counter.close()

    async def progress(self, slug: str) -> StudyProgress:
        """How far a study is; NotFound for an unknown slug. Votes of earlier hours may be missing at first."""
        return await self._progress.get(slug, lambda tx: self._read_progress(tx, slug))

    async def whole_progress(self, slug: str) -> StudyProgress:
        """The same with the votes of every hour."""
        while (progress := await self.progress(slug)).hours_missing:
            self._progress.forget(slug)
        return progress

    def _read_progress(self, tx: Tx, slug: str) -> StudyProgress:
        hour_counts = self._hour_counts.get(slug) or HourCounts()
        progress = read_progress(tx, slug, hour_counts, counting_seconds=HOURS_SECONDS)
        self._hour_counts[slug] = hour_counts  # there is such a study
        return progress

    async def counts(self, study: Study) -> AnswersSoFar | None:
        """The answers so far; None while a large study is counted for the first time."""
        count = AnswersCount(study, self._kept_counts.setdefault(study.uid, KeptCounts()))
        return await self._counts.get_soon(study.uid, count, seconds=PAGE_SECONDS)

    async def pairs(self, study: Study, pairs: Sequence[PairRow]) -> PairCounts | None:
        """The answers to the pairs of a page, some seconds old; None while they are counted."""
        key = f"{study.uid}/{'.'.join(str(pair.id) for pair in pairs)}"
        count = PairsCount(pair.id for pair in pairs)
        return await self._pairs.get_soon(key, count, seconds=PAGE_SECONDS)

    async def agreement(self, study: Study, *, before: int, only_excluded: bool) -> Mapping[int, Share]:
        """How much the annotators of a page of read_people agree with others, by number; of some or all of them nothing
        while it is counted."""
        return await self._agreement(
            f"{study.uid}/{before}/{only_excluded}",
            lambda tx: answers_of_page(tx, study_id=study.id, before=before, only_excluded=only_excluded),
        )

    async def agreement_of(self, study: Study, pseudonym: str) -> Mapping[int, Share]:
        """The same of one person."""
        return await self._agreement(
            f"{study.uid}/{pseudonym}", lambda tx: answers_of_person(tx, study_id=study.id, pseudonym=pseudonym)
        )

    async def _agreement(self, key: str, read: Read[AnswersOf]) -> Mapping[int, Share]:
        shown = self._agreements.get_soon(key, AgreementCount(read), seconds=PAGE_SECONDS, oldest=AGREEMENT_SECONDS)
        return await shown or {}

    async def _count_in_steps(self, count: SteppedCount[T]) -> T:
        more = True
        while more:
            began = time.monotonic()
            more = await self._counter.run(count.step)
            await asyncio.sleep(REST * (time.monotonic() - began) if more else 0)
        return count.result()

    async def count(self, read: Callable[[Tx], T]) -> T:
        """A read that looks at many votes, on the thread for such."""
        return await self._counter.run(read)

    async def running(self, study: Study) -> RunningSoFar | None:
        """The running estimate, at most minutes old; None for a study that is looked at otherwise."""
        if study.design.stopping is not None or study.design.fidelity is not None:
            return None
        return await self._running.get_soon(study.uid, study.slug, seconds=PAGE_SECONDS) or RunningSoFar()

    async def _estimate(self, slug: str) -> RunningSoFar:
        try:
            async with self._turn:
                said = await run_command(self._database, "study", "estimate", slug, "--json", "-")
        except CommandFailed as error:
            return RunningSoFar(problem=str(error))
        found = RunningEstimate.model_validate_json(said)
        return RunningSoFar(found, interval_bars([(rate.low, rate.win_rate, rate.high) for rate in found.rates]))

    def forget(self, slug: str) -> None:
        """An owner changed something: show it at once."""
        self._progress.forget(slug)


def figures_of(request: Request) -> OwnerFigures:
    """Those of the process that handles `request`."""
    return cast(OwnerFigures, request.app.state.owner_figures)

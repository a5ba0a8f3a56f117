"""What the owner's pages show and is slow to find, shared by everybody who looks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast

from starlette.requests import Request

from qsched.records.running import RunningEstimate
from study_server.admin.charts import IntervalBar, interval_bars
from study_server.admin.progress import AnswersSoFar, HourCounts, SharedReads, StudyProgress, read_counts, read_progress
from study_server.db import Database, Reader, Tx
from study_server.quality.figures import Share
from study_server.quality.people import read_people
from study_server.studies.study import Study
from study_server.web.child import CommandFailed, run_command

T = TypeVar("T")
Read: TypeAlias = Callable[[Tx], T]

# A page does not wait longer for a slow read: it is to take less than 0.3 s.
PAGE_SECONDS = 0.15
# The page does not say when "Agrees" was counted, so an older one is not shown.
AGREEMENT_SECONDS = 600.0
# An estimate is a process of its own that reads every vote.
ESTIMATE_SECONDS = 60.0
NICE = 10


@dataclass(frozen=True, slots=True)
class RunningSoFar:
    """The running estimate with its bars; without one why it could not be made, or nothing while it is being made."""

    estimate: RunningEstimate | None = None
    bars: tuple[IntervalBar | None, ...] = ()
    problem: str | None = None


class OwnerFigures:
    """One per process; `progress` is seconds old, `counts` may be a minute old.

    Counting looks at every vote, so it has a thread of its own: no other page waits behind it.
    """

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._counter = Reader(database, threads=1)
        self._turn = asyncio.Lock()
        self._hour_counts: dict[str, HourCounts] = {}
        self._progress: SharedReads[Read[StudyProgress], StudyProgress] = SharedReads(reader.run, fresh_seconds=1.5)
        self._agreements: SharedReads[Read[dict[int, Share]], dict[int, Share]] = SharedReads(
            self._counter.run, fresh_seconds=20.0
        )
        self._counts: SharedReads[Read[AnswersSoFar], AnswersSoFar] = SharedReads(self._counter.run, fresh_seconds=20.0)
        self._running: SharedReads[str, RunningSoFar] = SharedReads(self._estimate, fresh_seconds=ESTIMATE_SECONDS)

    async def close(self) -> None:
        """End the counting thread, and an estimate that is being made."""
        await self._running.close()
        self._counter.close()

    async def progress(self, slug: str) -> StudyProgress:
        """How far a study is; NotFound for an unknown slug."""
        hour_counts = self._hour_counts.setdefault(slug, HourCounts())
        return await self._progress.get(slug, lambda tx: read_progress(tx, slug, hour_counts))

    async def counts(self, study: Study) -> AnswersSoFar | None:
        """The answers so far; None while a large study is counted for the first time."""
        return await self._counts.get_soon(study.uid, lambda tx: read_counts(tx, study.id), seconds=PAGE_SECONDS)

    async def agreement(self, study: Study, *, before: int, only_excluded: bool) -> Mapping[int, Share]:
        """How much the annotators of a page of read_people agree with others, by number; of some or all of them nothing
        while it is counted."""

        def read(tx: Tx) -> dict[int, Share]:
            people = read_people(tx, study_id=study.id, before=before, only_excluded=only_excluded)
            return {person.id: person.work.agreement for person in people}

        key = f"{study.uid}/{before}/{only_excluded}"
        shown = self._agreements.get_soon(key, read, seconds=PAGE_SECONDS, oldest=AGREEMENT_SECONDS)
        return await shown or {}

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
                said = await run_command(self._database, "study", "estimate", slug, "--json", "-", nice=NICE)
        except CommandFailed as error:
            return RunningSoFar(problem=str(error))
        found = RunningEstimate.model_validate_json(said)
        return RunningSoFar(found, interval_bars([(rate.low, rate.win_rate, rate.high) for rate in found.rates]))

    def forget(self, slug: str) -> None:
        """An owner changed something: show it at once."""
        self._progress.forget(slug)
        self._hour_counts.pop(slug, None)


def figures_of(request: Request) -> OwnerFigures:
    """Those of the process that handles `request`."""
    return cast(OwnerFigures, request.app.state.owner_figures)

"""What assignment works on: a sitting (one session in the transaction), an assignment, a pair's content."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from qsched.records import Kind
from study_server.assignment import queries
from study_server.db import Tx
from study_server.db.statements import Row
from study_server.studies.design import StudyDesign

CACHED_PAIRS = 20_000


@dataclass(frozen=True, slots=True)
class Study:
    """A study as the server keeps it in memory; its status stands in the database."""

    id: int
    slug: str
    title: str
    design: StudyDesign
    task_pairs: int
    practice_pairs: int
    gold_pairs: int

    @property
    def lease_ms(self) -> int:
        """Length of a lease."""
        return self.design.lease_seconds * 1000


@dataclass(slots=True)
class Sitting:
    """One session, locked by this transaction; changes are written back by `save_sitting`."""

    id: int
    study_id: int
    annotator_id: int
    simulated: bool
    state: str
    started_ms: int
    plan: str
    position: int
    done: int
    practice_done: int
    voided: int
    left_balance: int
    recent: tuple[int, ...]
    last_assignment_id: int | None
    tab_token: str | None
    tab_seen_ms: int | None
    status: str

    @classmethod
    def from_row(cls, row: Row) -> Sitting:
        """From the columns of SITTING_COLUMNS."""
        values: list[Any] = list(row)
        values[3] = bool(values[3])
        values[12] = tuple(int(part) for part in values[12].split(",")) if values[12] else ()
        return cls(*values)

    @property
    def outstanding(self) -> int:
        """Trials handed out and not yet answered."""
        return self.position - self.done - self.practice_done - self.voided

    @property
    def total(self) -> int:
        """Scored trials of the sitting."""
        return len(self.plan) - self.plan.count("P") - self.voided

    def seconds_left(self, design: StudyDesign, now: int) -> int | None:
        """Until the sitting's time is over; None without a limit."""
        if design.max_minutes is None:
            return None
        return max(0, (self.started_ms + design.max_minutes * 60_000 - now) // 1000)


class Assignment(NamedTuple):
    """One pair shown once to one person."""

    id: int
    pair_id: int
    kind: str
    position: int
    first_on_left: bool
    expected: str | None
    state: str
    counted: bool
    reopened: bool
    lease_expires_ms: int
    successor_id: int | None

    @property
    def side(self) -> int:
        """+1 with the first image on the left, -1 on the right."""
        return 1 if self.first_on_left else -1


class PairContent(NamedTuple):
    """What is shown; never changes after the import."""

    prompt: str
    first_image: int
    first_width: int
    first_height: int
    second_image: int
    second_width: int
    second_height: int
    better: str | None
    why: str | None
    prompt_id: int


class PairCache:
    """Contents of recently shown pairs; they never change, so that nothing has to be invalidated."""

    def __init__(self, size: int = CACHED_PAIRS) -> None:
        self._size = size
        self._known: dict[int, PairContent] = {}

    def get(self, tx: Tx, pair_id: int) -> PairContent:
        """The content of a pair, from memory or the database."""
        content = self._known.get(pair_id)
        if content is None:
            row = tx.one(queries.PAIR_CONTENT, pair=pair_id)
            if row is None:
                raise LookupError(f"pair {pair_id} is gone")
            content = PairContent(*row)
            if len(self._known) >= self._size:
                self._known.clear()
            self._known[pair_id] = content
        return content


class Desk(NamedTuple):
    """What every assignment job needs besides its transaction; `shares` of comparisons in an adaptive study."""

    study: Study
    cache: PairCache
    rng: random.Random
    now: int
    shares: Mapping[int, float] = MappingProxyType({})


class Shown(NamedTuple):
    """An assignment with what it shows."""

    assignment: Assignment
    content: PairContent

    @property
    def is_practice(self) -> bool:
        """Whether the browser may know that this one is practice."""
        return self.assignment.kind == Kind.PRACTICE


class NoWork(NamedTuple):
    """Nothing to hand out. `final`: nothing will come; otherwise try again."""

    final: bool

"""What assignment works on: an assignment, a pair's content, and the context of a job."""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from qsched.records import Kind
from study_server.assignment import queries
from study_server.db import Tx
from study_server.db.states import AssignmentState
from study_server.studies.study import Study

CACHED_PAIRS = 20_000


class Assignment(NamedTuple):
    """One pair shown once to one person."""

    id: int
    pair_id: int
    kind: str
    position: int
    first_on_left: bool
    expected: str | None
    state: AssignmentState
    counted: bool
    reopened: bool
    lease_expires_ms: int
    successor_id: int | None
    served_ms: int
    places: str | None = None

    @property
    def side(self) -> int:
        """+1 with the first image on the left, -1 on the right."""
        return 1 if self.first_on_left else -1


def find_assignment(tx: Tx, *, assignment_id: int, session_id: int) -> Assignment | None:
    """An assignment of this session, locked; None if the session has no such."""
    row = tx.one(queries.ASSIGNMENT, assignment=assignment_id, session=session_id)
    return None if row is None else Assignment(*row)


class PictureContent(NamedTuple):
    """One image of a pair."""

    id: int
    width: int
    height: int


class Boosting(NamedTuple):
    """How a boosted triplet is shown: the difference times `factor`, alternating with the reference `rate_hz` times
    per second."""

    factor: float
    rate_hz: float


class PairContent(NamedTuple):
    """What is shown; never changes after the import. A triplet has a reference, a boosted one its boosting, and a set
    to be ranked `others`."""

    prompt: str
    prompt_id: int
    first: PictureContent
    second: PictureContent
    better: str | None
    why: str | None
    reference: PictureContent | None = None
    boosting: Boosting | None = None
    others: tuple[PictureContent, ...] = ()

    @property
    def pictures(self) -> tuple[PictureContent, ...]:
        """Every picture that is shown beside the others, by its number."""
        return (self.first, self.second, *self.others)

    def in_place(self, places: str) -> tuple[PictureContent, ...]:
        """The pictures of a set in the order in which they are shown."""
        return tuple(self.pictures[int(number)] for number in places)

    def sides(self, *, first_on_left: bool) -> tuple[PictureContent, PictureContent]:
        """The left and the right picture."""
        return (self.first, self.second) if first_on_left else (self.second, self.first)


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
            prompt, prompt_id, better, why, *pictures = row
            first, second = PictureContent(*pictures[:3]), PictureContent(*pictures[3:6])
            reference = None if pictures[6] is None else PictureContent(*pictures[6:9])
            boosting = None if pictures[9] is None else Boosting(*pictures[9:11])
            others = tuple(PictureContent(*pictures[at : at + 3]) for at in (11, 14) if pictures[at] is not None)
            content = PairContent(prompt, prompt_id, first, second, better, why, reference, boosting, others)
            if len(self._known) >= self._size:
                self._known.clear()
            self._known[pair_id] = content
        return content


class AssignmentContext(NamedTuple):
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

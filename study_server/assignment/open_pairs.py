"""The open pairs that a person has not seen, those with the fewest votes and leases first.

Whoever has judged half of 100,000 pairs has them all in front of the next one if everybody walks in the same order: 63
ms per vote. So the search has three steps, each a walk of an index range with a bounded number of rows:

1. the first FIRST rows in order. What it finds is exactly what comes first; nearly everybody's search ends here.
2. at each number of votes, from the lowest: SHORT rows after the pair that this person was given last, then from up to
   PLACES random places. A pair with fewer votes is passed over only if this person knows nearly all pairs with so few,
   and it stays there for the next search and for everybody else.
3. every row, so that nobody sees "nothing is left" while a pair is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from study_server.assignment import queries
from study_server.assignment.policy import Candidate
from study_server.assignment.records import AssignmentContext
from study_server.assignment.session import AnnotatorSession
from study_server.db import Statement, Tx
from study_server.studies.design import MAX_PROMPT_GAP, StudyDesign

# Pairs that are found for one choice. On PostgreSQL several transactions choose at once, and each passes over the pairs
# that another one holds: of 8, two groups of 8 votes often hold all.
WINDOW = {"sqlite": 8, "postgresql": 24}
FIRST = 128
SHORT = 64
PLACES = 16
ALL = 2**31
_NO_PROMPTS = {f"r{i}": -1 for i in range(MAX_PROMPT_GAP)}
# Two groups of 16 votes hold about 46 pairs between them. With no more open than this, a vote locks only what it takes.
SPARE = 64


class Pool(NamedTuple):
    """All pairs of a study that are for one purpose: task or gold."""

    study: int
    pool: str

    @property
    def statements(self) -> tuple[Statement, Statement]:
        """The walk, and the levels to walk on."""
        return queries.OPEN_PAIRS, queries.LEVEL


class ComparisonPairs(NamedTuple):
    """The task pairs of one comparison of an adaptive study."""

    comparison: int

    @property
    def statements(self) -> tuple[Statement, Statement]:
        """The walk, and the levels to walk on."""
        return queries.OPEN_PAIRS_OF, queries.LEVEL_OF


class _Search(NamedTuple):
    """What stays the same in one search: where, for whom, and which prompts are left out."""

    tx: Tx
    scope: Pool | ComparisonPairs
    target: int
    annotator: int
    excluded: dict[str, int]

    def walk(self, *, load: int, rank: int, probes: int) -> list[Candidate]:
        """The first WINDOW pairs of the `probes` rows from (load, rank) on."""
        rows = self.tx.all(
            self.scope.statements[0],
            target=self.target,
            annotator=self.annotator,
            load=load,
            rank=rank,
            probes=probes,
            window=WINDOW[self.tx.dialect],
            **self.scope._asdict(),
            **self.excluded,
        )
        return [Candidate(*row) for row in rows]

    def levels(self) -> Iterator[tuple[int, int, int]]:
        """Numbers of votes and leases that open pairs have, lowest first, each with its first and last rank."""
        load = -1
        while row := self.tx.one(self.scope.statements[1], target=self.target, load=load, **self.scope._asdict()):
            load = int(row[0])
            yield load, int(row[1]), int(row[2])


def places_to_hold(design: StudyDesign) -> dict[str, int]:
    """The values of HELD_PAIRS for a study. None is held if a comparison, or a group of triplets with its own number of
    votes, has yet to be drawn."""
    drawn_first = design.adaptivity is not None or (design.fidelity is not None and design.fidelity.votes is not None)
    target = 0 if drawn_first else design.votes_per_pair
    return {"target": target, "probes": FIRST, "window": WINDOW["sqlite"], "spare": SPARE}


def find_open(
    tx: Tx, context: AssignmentContext, session: AnnotatorSession, scope: Pool | ComparisonPairs, *, target: int
) -> list[Candidate]:
    """Up to WINDOW open pairs that come first; those of recent prompts only if there is no other."""
    for excluded in _exclusions(session):
        search = _Search(tx, scope, target, session.annotator_id, excluded)
        found = search.walk(load=0, rank=0, probes=FIRST) or _from_several_places(search, session, context)
        if found := found or search.walk(load=0, rank=0, probes=ALL):
            return found
    return []


def find_open_comparisons(tx: Tx, context: AssignmentContext, session: AnnotatorSession) -> list[int]:
    """The comparisons of an adaptive study in which a pair is open to this person.

    Looked at from the beginning and from a random place; by all three steps only if that finds none, so that a
    comparison of which this person knows most pairs can be missing at times.
    """
    study = context.study
    target = study.design.votes_per_pair
    for excluded in _exclusions(session):
        rows = tx.all(
            queries.OPEN_COMPARISONS,
            study=study.id,
            target=target,
            annotator=session.annotator_id,
            probes=FIRST,
            rank=context.rng.randint(0, study.task_pairs),
            **excluded,
        )
        if rows:
            return [number for (number,) in rows]
        numbers = [row[0] for row in tx.all(queries.COMPARISONS, study=study.id)]
        searches = {n: _Search(tx, ComparisonPairs(n), target, session.annotator_id, excluded) for n in numbers}
        found = [n for n, search in searches.items() if _from_several_places(search, session, context)]
        if found := found or [n for n, search in searches.items() if search.walk(load=0, rank=0, probes=ALL)]:
            return found
    return []


def _from_several_places(search: _Search, session: AnnotatorSession, context: AssignmentContext) -> list[Candidate]:
    latest = search.tx.one(queries.LATEST_RANK, session=session.id)
    for load, first, last in search.levels():
        places = [] if latest is None else [int(latest[0])]
        places += [context.rng.randint(first, last) for _ in range(PLACES)]
        for rank in places:
            found = search.walk(load=load, rank=rank, probes=SHORT)
            if of_level := [candidate for candidate in found if candidate.load == load]:
                return of_level
    return []


def _exclusions(session: AnnotatorSession) -> Iterator[dict[str, int]]:
    """Prompts not to show: the recent ones; then none, for where nothing else is open."""
    if session.recent:
        yield _NO_PROMPTS | dict(zip(_NO_PROMPTS, session.recent, strict=False))
    yield _NO_PROMPTS

"""The answers of a study, counted in steps, so that counting a million votes never keeps a processor from annotators.

Whoever runs the steps pauses between them; on PostgreSQL the database's own process is then idle too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from qsched.records import Choice, Kind
from qsched.records.rankings import NUMBERS, ranking_pairs, read_ranking
from study_server.admin import queries
from study_server.clock import now_ms
from study_server.db import Tx
from study_server.db.statements import Row
from study_server.quality.figures import Share, agreement_share
from study_server.quality.people import LOADS, AnswersOf, read_preferences
from study_server.studies.study import Study

T_co = TypeVar("T_co", covariant=True)
#: Of one step: about ten milliseconds of the database.
STEP_VOTES = 2_000
HOUR_MS = 3_600_000
KEPT_MS = 10 * 60_000
EVERY = 2**62


class SteppedCount(Protocol[T_co]):
    """A count that is made in steps of some milliseconds."""

    def step(self, tx: Tx) -> bool:
        """Count a little more; False if nothing is left. One that fails has changed nothing, and is tried again."""

    def result(self) -> T_co:
        """What was counted."""


#: As COUNTS has them.
PREFERRED = (Choice.LEFT, Choice.RIGHT, Choice.TIE)


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


@dataclass(frozen=True, slots=True)
class AnswersSoFar:
    """The counts of every question and comparison at `read_ms`, in milliseconds since 1970 UTC."""

    rows: tuple[ComparisonCounts, ...]
    read_ms: int


class KeptCounts:
    """The counts of a study's assignments up to `through`, which were handed out more than an hour ago.

    Their votes hardly change any more. They are counted again after KEPT_MS, or as soon as a person's votes cease to
    count or count again.
    """

    def __init__(self) -> None:
        self.through = 0
        self.counts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        self._recounts = 0
        self._until_ms = 0

    def renew(self, *, recounts: int, now: int) -> None:
        """Forget them if they may be wrong by now. `recounts`: how often votes ceased to count or counted again."""
        if recounts != self._recounts or now >= self._until_ms:
            self.through, self._recounts, self._until_ms = 0, recounts, now + KEPT_MS
            self.counts.clear()


class AnswersCount:
    """The valid votes of a study by question and comparison, with some of those that arrive while it counts."""

    def __init__(self, study: Study, kept: KeptCounts | None = None) -> None:
        self._study = study
        self._kept = kept or KeptCounts()
        self._recent: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        self._read_ms = now_ms()
        # An assignment's id begins with the time at which it was made.
        self._hour_ago = self._read_ms - HOUR_MS << 20
        self._after = -1

    def step(self, tx: Tx) -> bool:
        """Count the votes of the next assignments: first those of more than an hour ago, then the others."""
        if self._after < 0:
            recounts = int(tx.scalar(queries.RECOUNTS, slug=self._study.slug))
            self._kept.renew(recounts=recounts, now=self._read_ms)
            self._after = self._kept.through
        room = STEP_VOTES
        while room > 0:
            is_old = self._after < self._hour_ago
            end = self._hour_ago if is_old else EVERY
            found, last = tx.one(queries.PIECE, after=self._after, end=end, limit=room) or (0, None)
            if last is not None:
                self._count(tx, int(last), self._kept.counts if is_old else self._recent)
                if is_old:
                    self._kept.through = int(last)
            if found < room:
                if not is_old:
                    return False
                self._after = end
            room -= int(found)
        return True

    def _count(self, tx: Tx, last: int, into: dict[tuple[str, str, str], Counter[str]]) -> None:
        piece = {"study": self._study.id, "after": self._after, "last": last}
        answers = tx.all(queries.COUNTS, **piece)
        rankings = [] if self._study.design.ranking is None else tx.all(queries.RANKED_COUNTS, **piece)
        for first, second, question, *counts in answers:
            into[question, first, second].update(dict(zip(PREFERRED, map(int, counts), strict=True)))
        # What rankings say of every two arms.
        for *shown, question, text, times in rankings:
            arms = [arm for arm in shown if arm is not None]
            for i, j, choice in ranking_pairs(read_ranking(text, NUMBERS[: len(arms)])):
                into[question, arms[i], arms[j]][choice] += int(times)
        self._after = last

    def result(self) -> AnswersSoFar:
        """The counts in the order of their names."""
        kept, recent = self._kept.counts, self._recent
        rows = (
            ComparisonCounts(*names, *(kept[names][choice] + recent[names][choice] for choice in PREFERRED))
            for names in sorted(kept.keys() | recent.keys())
        )
        return AnswersSoFar(tuple(rows), self._read_ms)


class AgreementCount:
    """How much some annotators, the answers of whom `read` finds, agree with what most others prefer, by number."""

    def __init__(self, read: Callable[[Tx], AnswersOf]) -> None:
        self._read = read
        self._people: AnswersOf | None = None
        self._left: list[Row] = []
        self._everybody: dict[tuple[int, str], Counter[str]] = {}

    def step(self, tx: Tx) -> bool:
        """Find the people first, then what everybody prefers of some of the pairs that they judged."""
        if self._people is None:
            people = self._read(tx)
            judged = {answer.pair_id for answers in people.values() for answer in answers if answer.kind == Kind.TASK}
            self._left = tx.all(LOADS, pairs=tx.listed(sorted(judged)))
            self._people = people
        else:
            pairs = _first_pairs(self._left)
            self._everybody.update(read_preferences(tx, pairs))
            del self._left[: len(pairs)]
        return bool(self._left)

    def result(self) -> Mapping[int, Share]:
        """By the number of the annotator."""
        people = self._people or {}
        return {number: agreement_share(answers, self._everybody) for number, answers in people.items()}


@dataclass(frozen=True, slots=True)
class PairCounts:
    """The answers to some pairs, by pair and by what was preferred: first, second, tie, skip or ranked."""

    of: Mapping[int, Counter[str]]
    read_ms: int


class PairsCount:
    """The answers to the pairs of a page, one pair in a step: everybody may have judged the same pair with a known
    answer, of which there is no load."""

    def __init__(self, pairs: Iterable[int]) -> None:
        self._left = list(pairs)
        self._read_ms = now_ms()
        self._found: dict[int, Counter[str]] = {}

    def step(self, tx: Tx) -> bool:
        """Count the answers to the next pair."""
        if self._left:
            rows = tx.all(queries.PAIR_COUNTS, pair=self._left[0])
            self._found[self._left.pop(0)] = Counter({preferred: int(count) for preferred, count in rows})
        return bool(self._left)

    def result(self) -> PairCounts:
        """The answers to all of them."""
        return PairCounts(self._found, self._read_ms)


def count_at_once(tx: Tx, count: SteppedCount[T_co]) -> T_co:
    """All steps, one after the other."""
    while count.step(tx):
        pass
    return count.result()


def _first_pairs(loads: Sequence[Row]) -> list[int]:
    """The first of some pairs, with their loads, that have about STEP_VOTES votes; at least one if there is any."""
    pairs, votes = [], 0
    for pair, load in loads:
        pairs.append(int(pair))
        votes += int(load)
        if votes >= STEP_VOTES:
            break
    return pairs

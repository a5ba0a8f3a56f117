"""How one person works, from their answers: pure functions of what the database holds."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from qsched.records import Choice, Kind, TripletKind
from qsched.records.rankings import LAST, is_last
from study_server.studies.known_answers import known_answer

#: A normal deviate that one honest person in a thousand exceeds in either direction.
UNLIKELY = 3.29
FASTEST_SECONDS = 1.5
#: Sided answers to hidden traps that all go one way by chance in 3 % of people.
HIDDEN_LEAST = 6


class CountedAnswer(NamedTuple):
    """One answer that was not corrected. `display` is the JSON that the page sent with it, if any."""

    assignment_id: int
    pair_id: int
    kind: str
    first_on_left: bool
    expected: str | None
    question: str
    choice: str
    response_ms: int
    display: str | None
    counted: bool

    @property
    def preferred(self) -> str:
        """What was preferred whatever the side: first, second, tie or skip."""
        if self.choice not in (Choice.LEFT, Choice.RIGHT):
            return self.choice
        return "first" if (self.choice == Choice.LEFT) == self.first_on_left else "second"


class Share(NamedTuple):
    """`part` out of `of`."""

    part: int
    of: int

    @property
    def value(self) -> float | None:
        """The share, None out of nothing."""
        return self.part / self.of if self.of else None


@dataclass(frozen=True, slots=True)
class WorkFigures:
    """How one person worked.

    trials       pairs answered, of every kind but practice
    seconds      median time per task pair
    gold         right among the answers to gold pairs that are left or right, or a known tie, and to traps
    checks       passed among the attention checks
    repeats      same answer among the pairs that were shown twice
    left         left among the answers left or right
    identical    "about the same" among the answers to bias items
    hidden       the unchanged copy among the answers left or right to hidden traps
    ties, skips  among all answers but practice
    agreement    with what most others prefer, where most others prefer one
    swaps        swaps in place per pair; `zoomed` counts pairs that were zoomed
    """

    trials: int
    seconds: float | None
    gold: Share
    checks: Share
    repeats: Share
    left: Share
    identical: Share
    hidden: Share
    ties: Share
    skips: Share
    agreement: Share
    swaps: float | None
    zoomed: Share

    @property
    def remarks(self) -> tuple[str, ...]:
        """What an owner may want to look at, by fixed rules. Never a verdict."""
        found = []
        if self.checks.part < self.checks.of:
            missed = self.checks.of - self.checks.part
            found.append(f"{missed} attention check{'s' * (missed > 1)} missed")
        if self.gold.of >= 2 and self.gold.part * 2 < self.gold.of:
            found.append("most gold pairs or traps wrong")
        if self.repeats.of >= 4 and self.repeats.part * 2 < self.repeats.of:
            found.append("most repeats differ")
        if self.hidden.of >= HIDDEN_LEAST and self.hidden.part in (0, self.hidden.of):
            found.append("prefers one of two pictures that only software tells apart")
        if self.seconds is not None and self.seconds < FASTEST_SECONDS:
            found.append(f"under {FASTEST_SECONDS:g} s per pair")
        if self.left.of and abs(self.left.part - self.left.of / 2) > UNLIKELY * math.sqrt(self.left.of) / 2:
            found.append("nearly always one side")
        return tuple(found)


#: For a pair and question: how often each arm was preferred, over everybody's votes that count.
Preferences = Mapping[tuple[int, str], Counter[str]]


def work_figures(answers: Sequence[CountedAnswer], everybody: Preferences) -> WorkFigures:
    """The figures of one person from their answers; `everybody` counts the votes of all, this person's too."""
    scored = [answer for answer in answers if answer.kind != Kind.PRACTICE]
    sided = [answer for answer in scored if answer.choice in (Choice.LEFT, Choice.RIGHT)]
    tasks = {answer.assignment_id: answer for answer in scored if answer.kind in (Kind.TASK, Kind.REPEAT)}
    shown = [json.loads(answer.display).get("view") or {} for answer in tasks.values() if answer.display]
    swaps = [view["swaps"] for view in shown if view.get("swaps") is not None]
    zooms = [view["zoomed"] for view in shown if view.get("zoomed") is not None]
    return WorkFigures(
        trials=len({answer.assignment_id for answer in scored}),
        seconds=median(answer.response_ms for answer in tasks.values()) / 1000 if tasks else None,
        gold=_gold(scored),
        checks=_checks(scored),
        repeats=_repeats(scored),
        left=_count(answer.choice == Choice.LEFT for answer in sided),
        identical=_count(
            answer.choice == Choice.TIE
            for answer in scored
            if answer.kind == Kind.BIAS and answer.choice != Choice.SKIP
        ),
        hidden=_count(
            answer.preferred == "first" for answer in sided if answer.kind == Kind.TRAP and answer.expected is None
        ),
        ties=_count(answer.choice == Choice.TIE for answer in scored),
        skips=_count(answer.choice == Choice.SKIP for answer in scored),
        agreement=agreement_share(answers, everybody),
        swaps=sum(swaps) / len(swaps) if swaps else None,
        zoomed=_count(zooms),
    )


@dataclass(frozen=True, slots=True)
class KnownAnswerFigures:
    """What the trials with a known answer say: checks passed, gold right, repeats answered alike."""

    checks: Share
    gold: Share
    repeats: Share


def known_answer_figures(answers: Sequence[CountedAnswer]) -> KnownAnswerFigures:
    """Those of one person; of their task answers only those to repeated pairs matter."""
    scored = [answer for answer in answers if answer.kind != Kind.PRACTICE]
    return KnownAnswerFigures(checks=_checks(scored), gold=_gold(scored), repeats=_repeats(scored))


def _count(flags: Iterable[bool]) -> Share:
    kept = list(flags)
    return Share(sum(kept), len(kept))


def _gold(answers: Iterable[CountedAnswer]) -> Share:
    """A tie is an answer to a pair whose known answer is one; to another gold pair it is not judged.

    A gold ranking is right if its worst picture is last, alone. The traps of a fidelity study are gold too, and there
    "not sure" is wrong: they are far above the threshold.
    """
    return _count(
        is_last(answer.choice, known) if known.startswith(LAST) else answer.choice == known
        for answer in answers
        if answer.kind in (Kind.GOLD, TripletKind.TRAP)
        and (known := known_answer(answer.expected, answer.question)) is not None
        and (answer.choice != Choice.TIE or known == Choice.TIE or answer.kind == TripletKind.TRAP)
        and answer.choice != Choice.SKIP
    )


def _checks(answers: Iterable[CountedAnswer]) -> Share:
    """A check asks for the same side for every question; it is passed if every answer is that side."""
    passed: dict[int, bool] = {}
    for answer in answers:
        if answer.kind == Kind.INSTRUCTED:
            right = answer.choice == known_answer(answer.expected, answer.question)
            passed[answer.assignment_id] = passed.get(answer.assignment_id, True) and right
    return _count(passed.values())


def _repeats(answers: Iterable[CountedAnswer]) -> Share:
    first: dict[tuple[int, str], str] = {}
    again: dict[tuple[int, str], str] = {}
    for answer in answers:
        if answer.kind in (Kind.TASK, Kind.REPEAT):
            (again if answer.kind == Kind.REPEAT else first)[answer.pair_id, answer.question] = answer.preferred
    return _count(first[key] == preferred for key, preferred in again.items() if key in first)


def agreement_share(answers: Iterable[CountedAnswer], everybody: Preferences) -> Share:
    """How often one person prefers what most others prefer, of the task pairs of which most others prefer one arm."""
    agreed = []
    for answer in answers:
        if answer.kind != Kind.TASK or answer.preferred not in ("first", "second"):
            continue
        counts = Counter(everybody.get((answer.pair_id, answer.question), Counter()))
        counts[answer.preferred] -= answer.counted  # the others, without this person
        if counts["first"] != counts["second"]:
            agreed.append(answer.preferred == ("first" if counts["first"] > counts["second"] else "second"))
    return _count(agreed)


def collect_preferences(rows: Iterable[tuple[int, str, str, int]]) -> Preferences:
    """From rows of pair, question, preferred (first or second) and how often."""
    found: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for pair, question, preferred, count in rows:
        found[pair, question][preferred] += int(count)
    return found

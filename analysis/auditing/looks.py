"""Take the planned looks of a study again, from the chain: when each was due, and what it found.

A look is a function of the votes up to the one that made it due, as they stood with it. So the audit needs nothing of
the server but those votes: it finds the vote with which every open arm had its number, and runs the analysis on what
came before. Who was left out at a look is the look's own word, compared with the list of those who were left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.auditing.checks import LATE_MS, TABLE_COLUMNS, arms_of_pair, as_table_rows
from analysis.auditing.read import LOOKS, Evidence, Line
from analysis.stats.stopping import look_at_votes
from analysis.votes import read_votes
from qsched.errors import InputError
from qsched.records import Choice, Kind
from qsched.records.evidence import CAME_BACK_LATE
from qsched.records.stopping import ArmLook, Look, StoppingRule, read_looks

#: Bounds of other versions of numpy differ by less.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class LooksAgain:
    """What is wrong with the looks, and what cannot be judged."""

    problems: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class _LookTrigger:
    """The vote that makes a look due, and whether it is the last one because no more came."""

    through: int
    final: bool


def take_looks_again(evidence: Evidence) -> LooksAgain:
    """Every look of the file against the chain; without a stopping rule there must be no file."""
    path, asked = evidence.folder / LOOKS, evidence.design.get("stopping")
    if not path.is_file():
        return LooksAgain() if asked is None else _wrong(f"the design has a stopping rule, but {LOOKS} is missing")
    if asked is None:
        return _wrong(f"there is a {LOOKS}, and the design has no stopping rule")
    try:
        looks = read_looks(path)
    except InputError as error:
        return _wrong(str(error))
    rule = StoppingRule.model_validate(asked)
    if looks.rule != rule:
        return _wrong(f"the rule in {LOOKS} is not that of the design")
    question = rule.question or str(evidence.design["questions"][0]["id"])
    arms = tuple(sorted(_arms(evidence) - {rule.baseline}))
    if (looks.study, looks.question, looks.arms) != (evidence.study, question, len(arms)):
        return _wrong(f"{LOOKS} is not about the {len(arms)} arms of the task pairs and the question {question!r}")
    if [look.number for look in looks.looks] != list(range(1, len(looks.looks) + 1)):
        return _wrong(f"a look in {LOOKS} is missing, doubled or out of order")
    return _LookReplay(evidence, rule, question, arms).compare(looks.looks)


def _wrong(problem: str) -> LooksAgain:
    return LooksAgain(problems=(problem,))


def _arms(evidence: Evidence) -> set[str]:
    return {arm for pair in evidence.pairs if pair["pool"] == "task" for arm in arms_of_pair(pair)}


class _LookReplay:
    """The votes of a study by number, and the looks at them."""

    def __init__(self, evidence: Evidence, rule: StoppingRule, question: str, arms: tuple[str, ...]) -> None:
        self._evidence, self._rule, self._question, self._arms = evidence, rule, question, arms
        self._lines = sorted((line for line in evidence.lines if line.row is not None), key=_number)
        self._position = {_number(line): line.position for line in self._lines}
        self._deleted = [line.position for line in evidence.lines if line.row is None]
        self._pairs = {pair["pair_id"]: pair for pair in evidence.pairs}
        self._schema = pl.read_parquet_schema(evidence.folder / evidence.table)

    def compare(self, looks: tuple[Look, ...]) -> LooksAgain:
        """Each look with the arms that the looks before it left open; then whether another one was due."""
        problems: list[str] = []
        words: list[str] = []
        open_arms = self._arms
        for look in looks:
            if tuple(one.arm for one in look.arms) != open_arms:
                listed = ", ".join(open_arms) or "no arm"
                return LooksAgain((*problems, f"look {look.number} is not about the open arms, {listed}"), tuple(words))
            if look.number > (self._rule.last_look or look.number) or any(
                one.final for one in looks[: look.number - 1]
            ):
                return LooksAgain((*problems, f"look {look.number} came after the last look"), tuple(words))
            found, said = self._look_again(look, open_arms)
            problems += found
            words += said
            open_arms = tuple(arm for arm in open_arms if arm not in look.decided)
        problems += self._missing(looks, open_arms)
        words += self._asked_on(looks)
        return LooksAgain(tuple(problems), tuple(words))

    def _look_again(self, look: Look, open_arms: tuple[str, ...]) -> tuple[list[str], list[str]]:
        """Problems and words about one look. Votes of people who came back may or may not have counted at the time."""
        name = f"look {look.number}"
        problems, words = self._left_out(look), []
        gone = [p for p in self._deleted if p <= self._position.get(look.through, self._evidence.votes)]
        differences, late = self._differences(look, open_arms, late=False), False
        if differences and any(line.surplus == CAME_BACK_LATE for line in self._lines):
            with_late = self._differences(look, open_arms, late=True)
            if len(with_late) < len(differences):
                differences, late = with_late, True
        if gone and differences:
            decided = (
                f"{name} cannot be taken again: {len(gone)} votes before it were deleted at their person's request"
            )
            return problems, [f"{decided}; without them: {'; '.join(differences)}"]
        if late:
            how = "agrees" if not differences else "agrees in more, not in all,"
            words.append(f"{name} {how} if votes of people who were included again later counted at the time")
        if look.final:
            words.append(self._final_words(look, open_arms))
        return [*problems, *(f"{name}: {text}" for text in differences)], words

    def _differences(self, look: Look, open_arms: tuple[str, ...], *, late: bool) -> list[str]:
        due = self._due(look.number, open_arms, look.left_out, late=late)
        if due is None:
            return ["its votes were not there yet"]
        if (due.through, due.final) != (look.through, look.final):
            place = self._position[due.through] + 1
            return [
                f"it was due with vote {due.through}, the {place}th of the chain, not with {look.through}"
                if due.through != look.through
                else f"final is {look.final}, and the votes say {due.final}"
            ]
        (row,) = [line.row for line in self._lines if _number(line) == look.through]
        assert row is not None
        found = []
        if look.at.timestamp() * 1000 < row["answered_ms"]:
            found.append("it is dated before the vote that made it due")
        again = look_at_votes(
            read_votes([self._table(look.through, look.left_out, late=late)]),
            self._rule,
            question=self._question,
            look=look.number,
            arms=len(self._arms),
            undecided=open_arms,
        )
        for what in ("votes", "annotators", "prompts"):
            if getattr(look, what) != getattr(again, what):
                found.append(f"it rests on {getattr(again, what)} {what}, not on {getattr(look, what)}")
        found += [f"{_words(mine)}, not {_words(theirs)}" for mine, theirs in _unlike(again.arms, look.arms)]
        return found

    def _due(
        self, number: int, open_arms: tuple[str, ...], left_out: Collection[str], *, late: bool
    ) -> _LookTrigger | None:
        """As `study_server.studies.looks.find_due_look`; without enough votes the last of all, as a final look."""
        needed = self._rule.votes_at(number)
        votes: Counter[str] = Counter()
        counted: dict[int, tuple[str, ...]] = {}
        last = None
        for line in self._lines:
            row = line.row
            assert row is not None
            if row["kind"] != Kind.TASK or row["question"] != self._question:
                continue
            if not _counts(line, left_out, late=late):
                continue
            votes.subtract(counted.pop(row["supersedes"], ()))
            shown = arms_of_pair(self._pairs[row["pair_id"]])
            arms = () if row["choice"] == Choice.SKIP else shown * (len(shown) - 1)
            votes.update(arms)
            counted[row["vote"]] = arms
            if row["supersedes"] is None:
                last = int(row["vote"])
            if all(votes[arm] >= needed for arm in open_arms):
                return _LookTrigger(int(row["vote"]), final=False)
        return None if last is None else _LookTrigger(last, final=True)

    def _table(self, through: int, left_out: Collection[str], *, late: bool) -> pl.DataFrame:
        """The votes table as it was with the vote `through`."""
        then = [line for line in self._lines if _number(line) <= through]
        corrected = {line.row["supersedes"] for line in then if line.row is not None}
        rows = [
            made
            for line in then
            if line.row is not None and _counts(line, left_out, late=late) and _number(line) not in corrected
            for made in as_table_rows(line.row, self._pairs)
        ]
        frame = pl.DataFrame(rows, schema=list(TABLE_COLUMNS), orient="row", infer_schema_length=None)
        return frame.with_columns(_cast(name, self._schema[name]) for name in TABLE_COLUMNS)

    def _left_out(self, look: Look) -> list[str]:
        """Whose votes counted although they had been excluded before."""
        at = look.at.timestamp() * 1000
        before = {str(one["annotator"]) for one in self._evidence.excluded if one["excluded_ms"] < at - LATE_MS}
        voted = {
            line.row["annotator"] for line in self._lines if line.row is not None and _number(line) <= look.through
        }
        missed = sorted((before & voted) - set(look.left_out))
        return [f"look {look.number} counts people who had been excluded before: {', '.join(missed)}"] if missed else []

    def _final_words(self, look: Look, open_arms: tuple[str, ...]) -> str:
        """Nothing was left to hand out: a pair that lacks votes must have been taken out of the study."""
        target = int(self._evidence.design["votes_per_pair"])
        valid: dict[str, set[int]] = {}
        for line in self._lines:
            row = line.row
            assert row is not None
            if row["kind"] == Kind.TASK and row["choice"] != Choice.SKIP and _counts(line, look.left_out, late=True):
                valid.setdefault(row["pair_id"], set()).add(row["assignment"])
        of_open = {self._rule.baseline, *open_arms}
        # Smaller sets are asked about only when no larger ones are left.
        shown = min((self._evidence.design.get("ranking") or {}).get("pictures", 2), len(of_open))
        arms = {pair["pair_id"]: arms_of_pair(pair) for pair in self._evidence.pairs if pair["pool"] == "task"}
        asked = [pair for pair, found in arms.items() if set(found) <= of_open and len(found) == shown]
        short = sum(len(valid.get(pair, ())) < target for pair in asked)
        why = (
            f"{short} of {len(asked)} pairs of open arms lack votes, which the owner must have taken out"
            if short
            else (f"all {len(asked)} pairs of open arms have their votes")
        )
        return f"look {look.number} was taken before its time as the last one, since no more votes could come: {why}"

    def _missing(self, looks: tuple[Look, ...], open_arms: tuple[str, ...]) -> list[str]:
        number = len(looks) + 1
        if not open_arms or number > (self._rule.last_look or number) or (looks and looks[-1].final):
            return []
        excluded = {str(one["annotator"]) for one in self._evidence.excluded}
        due = self._due(number, open_arms, excluded, late=False)
        if due is None or due.final:
            return []
        return [f"look {number} was due with vote {due.through}, and {LOOKS} does not have it"]

    def _asked_on(self, looks: tuple[Look, ...]) -> Iterator[str]:
        decided = {arm: look for look in looks for arm in look.decided}
        for arm, look in decided.items():
            late = sum(
                row["served_ms"] > look.at.timestamp() * 1000 + LATE_MS
                for row in (line.row for line in self._lines)
                if row is not None and row["kind"] == Kind.TASK and arm in arms_of_pair(self._pairs[row["pair_id"]])
            )
            if late:
                yield f"{late} votes on {arm} were asked for after look {look.number} had decided it"


def _number(line: Line) -> int:
    assert line.row is not None
    return int(line.row["vote"])


def _counts(line: Line, left_out: Collection[str], *, late: bool) -> bool:
    """Whether a vote counted when these people were left out; `late`: also one that lost its slot by an exclusion."""
    assert line.row is not None
    counts = line.surplus is None or (late and line.surplus == CAME_BACK_LATE)
    return counts and line.row["annotator"] not in left_out


def _cast(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    return column.cast(pl.Int64).cast(dtype) if isinstance(dtype, pl.Datetime) else column.cast(dtype)


def _unlike(mine: tuple[ArmLook, ...], theirs: tuple[ArmLook, ...]) -> Iterator[tuple[ArmLook, ArmLook]]:
    for one, other in zip(mine, theirs, strict=True):
        numbers = zip((one.win_rate, one.low, one.high), (other.win_rate, other.low, other.high), strict=True)
        if (one.decision, one.votes) != (other.decision, other.votes) or not all(_near(a, b) for a, b in numbers):
            yield one, other


def _near(a: float | None, b: float | None) -> bool:
    return a == b if a is None or b is None else math.isclose(a, b, abs_tol=TOLERANCE)


def _words(one: ArmLook) -> str:
    numbers: list[Any] = [one.win_rate, one.low, one.high]
    shown = "no estimate" if None in numbers else "{:.4f} ({:.4f} to {:.4f})".format(*numbers)
    return f"{one.arm} {one.decision}, {one.votes} votes, {shown}"

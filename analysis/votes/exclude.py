"""Exclude votes by stated rules; every excluded row is counted under the first rule that hits it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import polars as pl

from analysis.votes.coded import distinct
from analysis.votes.known import known_answers
from analysis.votes.table import VotesTable
from qsched.records import InputError, Kind

#: Reasons that judge how an annotator worked.
CONDUCT = ("gold failures", "instructed failures", "doubtful time", "too fast", "too few votes")
#: Kinds shown for another purpose: an arm that appears only in them is not an arm of the study.
APART = ("kind: practice", "kind: warmup", "kind: gold", "kind: instructed")


@dataclass(frozen=True)
class ExclusionRules:
    """What is left out, applied in this order; the defaults are those of the report.

    kinds: votes of these kinds (all but `task`). skips: "can't tell" answers.
    names_shown: votes given while the names of the arms were shown (arena-style `anony` is false).
    arms: votes with one of these arms. arms_without_estimate: the same, for arms whose strength is not finite.
    annotators: by name. simulated: "drop", "keep", or "auto" (dropped only if there are people's votes too).
    min_gold_accuracy: annotators with a smaller share right, if they saw `min_gold_items` of them (None: off).
    gold_ties_wrong: a tie on a gold item counts as wrong; else it is not judged.
    max_instructed_failures: annotators who failed more instructed checks than this (None: off).
    doubtful: votes that came with a longer time than the pair was given out (column `doubt`); only noted by default.
    min_response_ms: votes faster than this, too fast for having looked (0: off).
    min_votes: annotators with fewer votes left after all other rules (0: off).
    """

    kinds: tuple[str, ...] = ("practice", "warmup", "gold", "instructed", "bias", "trap", "repeat")
    skips: bool = True
    names_shown: bool = True
    arms: tuple[str, ...] = ()
    arms_without_estimate: tuple[str, ...] = ()
    annotators: tuple[str, ...] = ()
    simulated: Literal["auto", "keep", "drop"] = "auto"
    min_gold_accuracy: float | None = 0.5
    min_gold_items: int = 2
    gold_ties_wrong: bool = False
    max_instructed_failures: int | None = 1
    doubtful: bool = False
    min_response_ms: int = 200
    min_votes: int = 0

    def __post_init__(self) -> None:
        known = [kind.value for kind in Kind]
        for kind in self.kinds:
            if kind not in known:
                raise InputError(f"Kind {kind!r} is not one of {', '.join(known)}.")
        if self.min_gold_accuracy is not None and not 0 <= self.min_gold_accuracy <= 1:
            raise InputError(f"min_gold_accuracy is {self.min_gold_accuracy}; it must be between 0 and 1.")
        for name in ("min_gold_items", "max_instructed_failures", "min_response_ms", "min_votes"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise InputError(f"{name} is {value}; it must be 0 or more.")


@dataclass(frozen=True)
class ExclusionRow:
    """One rule and how many votes (of how many annotators) it was the first to leave out."""

    reason: str
    rule: str
    n_votes: int
    n_annotators: int | None


@dataclass(frozen=True)
class LostArm:
    """An arm that was read but has no kept vote: how many votes it lost for each reason, the largest number first."""

    arm: str
    n_votes_by_reason: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class ExclusionReport:
    """n_read = n_kept + the sum of `rows`; `annotators` are those left out as persons, with the reason."""

    n_read: int
    n_kept: int
    rows: tuple[ExclusionRow, ...]
    annotators: tuple[tuple[str, str], ...]
    simulated: Literal["none", "all", "mixed"]
    rules: ExclusionRules
    notes: tuple[str, ...] = ()
    lost_arms: tuple[LostArm, ...] = ()

    @property
    def n_excluded(self) -> int:
        """Votes left out, over all reasons."""
        return sum(row.n_votes for row in self.rows)

    @property
    def n_by_conduct(self) -> int:
        """Votes left out for what their annotators did, not for what a vote is (its kind, a skip, simulated)."""
        return sum(row.n_votes for row in self.rows if row.reason in CONDUCT)


@dataclass
class _Excluder:
    """Applies one rule after the other to what the earlier rules left."""

    frame: pl.DataFrame
    rows: list[ExclusionRow] = field(default_factory=list)
    persons: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    arms_out: list[tuple[str, pl.DataFrame]] = field(default_factory=list)
    #: The values that each text column had when it was first looked at.
    values: dict[str, frozenset[str]] = field(default_factory=dict)

    def drop_value(self, reason: str, rule: str, column: str, value: str) -> None:
        """Drop the votes with this value in a text column; rows are looked at only if the value was there."""
        if column not in self.values:
            self.values[column] = frozenset(distinct(self.frame[column]).to_list())
        self.drop(reason, rule, pl.col(column) == value if value in self.values[column] else None)

    def drop(self, reason: str, rule: str, hit: pl.Expr | None) -> None:
        """Drop the votes that the rule hits (None: no vote)."""
        out = self.frame.clear() if hit is None else self.frame.filter(hit)
        n_annotators = out["annotator"].n_unique() if "annotator" in out.columns else None
        self.rows.append(ExclusionRow(reason, rule, out.height, n_annotators))
        if hit is not None and out.height:
            self.frame = self.frame.filter(~hit)
            self.arms_out.append((reason, out.select("left_arm", "right_arm")))

    def drop_persons(self, reason: str, rule: str, names: list[str]) -> None:
        self.drop(reason, rule, pl.col("annotator").cast(pl.String).is_in(names))
        self.persons.extend((name, reason) for name in sorted(names))


def exclude(votes: VotesTable, rules: ExclusionRules | None = None) -> tuple[VotesTable, ExclusionReport]:
    """Votes that no rule hits, and the account of the others.

    Gold and instructed failures are counted on all votes given, before any rule. InputError if a rule that
    is not a default needs a column that the votes do not have, or names an annotator without votes.
    """
    rules = ExclusionRules() if rules is None else rules
    given = votes.frame
    work = _Excluder(given)
    for kind in rules.kinds:
        work.drop_value(f"kind: {kind}", f"votes of kind {kind}", "kind", kind)
    if rules.skips:
        work.drop_value("skip", "answers without a preference ('can't tell')", "choice", "skip")
    if rules.names_shown and "anony" in given.columns:
        work.drop("names shown", "votes given while the names of the arms were shown", ~pl.col("anony").fill_null(True))
    _named_arms(work, rules, given)
    _without_estimate(work, rules)
    _named(work, rules, given)
    simulated = _simulated(work, rules, given)
    _gold(work, rules, given)
    _instructed(work, rules, given)
    _doubtful(work, rules)
    _too_fast(work, rules)
    _too_few(work, rules)
    if not rules.doubtful:
        work.notes += doubtful_note(count_doubtful(work.frame))
    report = ExclusionReport(
        n_read=given.height,
        n_kept=work.frame.height,
        rows=tuple(work.rows),
        annotators=tuple(work.persons),
        simulated=simulated,
        rules=rules,
        notes=tuple(work.notes),
        lost_arms=_lost_arms(work, given),
    )
    return replace(votes, frame=work.frame, is_screened=True), report


def _lost_arms(work: _Excluder, given: pl.DataFrame) -> tuple[LostArm, ...]:
    if work.frame.height == given.height:
        return ()
    # The two pictures of a hidden trap stand where arms do, and are none.
    shown = given.filter(pl.col("kind").cast(pl.String) != "trap") if "kind" in given.columns else given
    lost = arms_of(shown) - arms_of(work.frame)
    reasons: dict[str, list[tuple[str, int]]] = {arm: [] for arm in sorted(lost)}
    if not lost:
        return ()
    for reason, out in work.arms_out:
        sides = pl.concat([out[side].cast(pl.String).alias("arm") for side in ("left_arm", "right_arm")])
        counted = sides.filter(sides.is_in(list(lost))).value_counts()
        for arm, n in counted.iter_rows():
            reasons[arm].append((reason, n))
    return tuple(
        LostArm(arm, tuple(sorted(counts, key=lambda item: (-item[1], item[0])))) for arm, counts in reasons.items()
    )


def arms_of(frame: pl.DataFrame) -> set[str]:
    """The arms that the votes of a frame show."""
    return {name for side in ("left_arm", "right_arm") for name in frame[side].unique().cast(pl.String).to_list()}


def _without_estimate(work: _Excluder, rules: ExclusionRules) -> None:
    if rules.arms_without_estimate:
        sides = [pl.col(side).cast(pl.String).is_in(rules.arms_without_estimate) for side in ("left_arm", "right_arm")]
        work.drop("arm without estimate", "votes about arms whose strength is not finite", sides[0] | sides[1])


def _needs(work: _Excluder, column: str, *, is_default: bool, rule: str) -> bool:
    """Whether a rule can be applied; a default one that cannot is noted, a chosen one is an error."""
    if column in work.frame.columns:
        return True
    if not is_default:
        raise InputError(f"The rule '{rule}' needs a column {column!r}, which the votes do not have.")
    work.notes.append(f"Not checked, because there is no column {column!r}: {rule}.")
    return False


def _named_arms(work: _Excluder, rules: ExclusionRules, given: pl.DataFrame) -> None:
    if not rules.arms:
        return
    known = arms_of(given)
    for name in rules.arms:
        if name not in known:
            raise InputError(
                f"Arm {name!r} is to be excluded but has no vote; the arms are {', '.join(sorted(known))}."
            )
    left = known - set(rules.arms)
    if len(left) < 2:
        raise InputError(f"Without the excluded arms {len(left)} of {len(known)} is left; a comparison needs two.")
    names = list(dict.fromkeys(rules.arms))
    either = [pl.col(side).cast(pl.String).is_in(names) for side in ("left_arm", "right_arm")]
    work.drop("named arm", f"votes about arms excluded by name ({', '.join(names)})", either[0] | either[1])


def _named(work: _Excluder, rules: ExclusionRules, given: pl.DataFrame) -> None:
    if not rules.annotators or not _needs(work, "annotator", is_default=False, rule="named annotators"):
        return
    known = set(given["annotator"].unique().cast(pl.String).to_list())
    names = list(dict.fromkeys(rules.annotators))
    for name in names:
        if name not in known:
            raise InputError(f"Annotator {name!r} is to be excluded but has no votes. Check the name.")
    work.drop_persons("named annotator", "annotators excluded by name", names)


def _simulated(work: _Excluder, rules: ExclusionRules, given: pl.DataFrame) -> Literal["none", "all", "mixed"]:
    total = int(given["simulated"].sum())
    state: Literal["none", "all", "mixed"] = "none" if total == 0 else "all" if total == given.height else "mixed"
    if rules.simulated == "drop" or (rules.simulated == "auto" and state == "mixed"):
        work.drop("simulated", "votes of simulated annotators", pl.col("simulated"))
    elif state != "none":
        which = f"All {total:,} votes" if state == "all" else f"{total:,} of {given.height:,} votes"
        work.notes.append(f"{which} are by simulated annotators; none was left out for that reason.")
    return state


def _failing(score: pl.DataFrame, keep: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> list[str]:
    """Annotators for whom `keep(number of answers judged, number right)` holds."""
    return score.filter(keep(pl.col("n"), pl.col("ok")))["annotator"].cast(pl.String).to_list()


def _gold(work: _Excluder, rules: ExclusionRules, given: pl.DataFrame) -> None:
    limit, items = rules.min_gold_accuracy, rules.min_gold_items
    if limit is None:
        return
    rule = f"annotators with less than {100 * limit:.0f} % of at least {items} gold items right"
    default = limit == ExclusionRules.min_gold_accuracy
    if _needs(work, "annotator", is_default=default, rule=rule) and _needs(
        work, "expected", is_default=default, rule=rule
    ):
        score = known_answers(given, "gold", gold_ties_wrong=rules.gold_ties_wrong)
        names = _failing(score, lambda n, ok: (n >= items) & (ok < limit * n))
        work.drop_persons("gold failures", rule, names)


def _instructed(work: _Excluder, rules: ExclusionRules, given: pl.DataFrame) -> None:
    allowed = rules.max_instructed_failures
    if allowed is None:
        return
    rule = f"annotators who failed more than {allowed} instructed check{'' if allowed == 1 else 's'}"
    default = allowed == ExclusionRules.max_instructed_failures
    if _needs(work, "annotator", is_default=default, rule=rule) and _needs(
        work, "expected", is_default=default, rule=rule
    ):
        score = known_answers(given, "instructed", gold_ties_wrong=rules.gold_ties_wrong)
        names = _failing(score, lambda n, ok: n - ok > allowed)
        work.drop_persons("instructed failures", rule, names)


def _doubtful(work: _Excluder, rules: ExclusionRules) -> None:
    if rules.doubtful:
        rule = "votes with a longer time than the pair was given out"
        if _needs(work, "doubt", is_default=False, rule=rule):
            work.drop("doubtful time", rule, pl.col("doubt").is_not_null())


def count_doubtful(frame: pl.DataFrame) -> int:
    """How many votes came with a longer time than their pair was given out."""
    return frame.height - frame["doubt"].null_count() if "doubt" in frame.columns else 0


def doubtful_note(n: int) -> tuple[str, ...]:
    """What a report says of so many doubtful votes that count; nothing of none."""
    if n == 0:
        return ()
    return (
        f"{n:,} vote{'' if n == 1 else 's'} came with a longer time than the pair was given out, so the page or the "
        "clock is wrong. They count; --exclude-doubtful leaves them out.",
    )


def _too_fast(work: _Excluder, rules: ExclusionRules) -> None:
    limit = rules.min_response_ms
    if limit == 0:
        return
    rule = f"votes given in less than {limit} ms"
    if _needs(work, "response_ms", is_default=limit == ExclusionRules.min_response_ms, rule=rule):
        work.drop("too fast", rule, (pl.col("response_ms") < limit).fill_null(False))


def _too_few(work: _Excluder, rules: ExclusionRules) -> None:
    limit = rules.min_votes
    if limit == 0:
        return
    rule = f"annotators with fewer than {limit} votes left"
    if _needs(work, "annotator", is_default=False, rule=rule):
        left = work.frame.group_by("annotator").len()
        names = left.filter(pl.col("len") < limit)["annotator"].cast(pl.String).to_list()
        work.drop_persons("too few votes", rule, names)

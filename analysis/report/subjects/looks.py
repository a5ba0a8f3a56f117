"""What the planned looks of the study decided, with the bounds that allow for looking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from analysis.report.kit.section import Section
from analysis.report.kit.table import Column, DataTable, percent
from analysis.report.settings import ReportSettings
from analysis.report.subjects.claims import Claim, list_words, margin_words
from analysis.votes.sources import looks_in_databases
from qsched.records import InputError
from qsched.records.stopping import ArmLook, Looks, looks_beside, read_looks

NOT_FOR_LOOKS = (
    "The study stopped asking about arms that were decided at its planned looks. Only the bounds of those looks allow "
    "for that; every other interval and p-value in this report is computed as if nobody had looked."
)


def find_looks(asked: Path | None, votes: list[str]) -> tuple[Looks | None, tuple[Looks, ...]]:
    """The looks in the file `asked`; without it those in the databases of votes, and beside the files of votes."""
    if asked is not None:
        return read_looks(asked), ()
    beside = dict.fromkeys(looks_beside(Path(name)) for name in votes if "://" not in name)
    files = [read_looks(path) for path in beside if path.is_file()]
    return None, (*files, *looks_in_databases(votes))


def with_looks(settings: ReportSettings, *, studies: tuple[str, ...], questions: tuple[str, ...]) -> ReportSettings:
    """The settings with the looks of the chosen study and question, and their rule's baseline.

    InputError for looks that were asked for and are of another study or question, for two that fit, and for another
    baseline than the rule's.
    """
    looks = settings.looks
    if looks is not None:
        for what, name, found in (("study", looks.study, studies), ("question", looks.question, questions)):
            if found and found != (name,):
                raise InputError(
                    f"The looks are of the {what} {name!r}, the votes of {', '.join(found)}. Give the looks that were "
                    f"exported with these votes, or choose the {what} with --{what} {name}."
                )
    else:
        fitting = [
            one
            for one in dict.fromkeys(settings.looks_beside)
            if studies in ((), (one.study,)) and questions in ((), (one.question,))
        ]
        if len(fitting) > 1:
            raise InputError(
                f"With the votes come {len(fitting)} records of looks of the study {fitting[0].study!r} that differ. "
                "Export the votes again, and name the looks that were exported last with --looks."
            )
        looks = fitting[0] if fitting else None
    if looks is None:
        return settings
    if settings.baseline not in (None, looks.rule.baseline):
        raise InputError(
            f"--baseline {settings.baseline}: the study decided its arms against {looks.rule.baseline}. Leave the "
            "option out."
        )
    return replace(settings, looks=looks, baseline=looks.rule.baseline)


def looks_warnings(settings: ReportSettings, studies: tuple[str, ...]) -> tuple[str, ...]:
    """What the planned looks of the study mean for the other numbers, of whichever question they are."""
    if settings.looks is not None:
        return (NOT_FOR_LOOKS,)
    return tuple(
        f"The study stopped asking about arms that were decided at its planned looks, by the question {one.question!r}."
        " The intervals and p-values in this report, which are of another question, are computed as if nobody had "
        "looked."
        for one in settings.looks_beside
        if not studies or one.study in studies
    )


def looks_claims(looks: Looks) -> tuple[Claim, ...]:
    """One claim per arm against the baseline: the decision of its look. Other pairs are not part of the rule."""
    return tuple(_claim(looks, number, one) for number, one in looks.latest())


def _claim(looks: Looks, number: int, one: ArmLook) -> Claim:
    base = looks.rule.baseline
    if one.win_rate is None or one.low is None or one.high is None:
        found = "its votes had no estimate"
    else:
        found = f"win rate {percent(one.win_rate)}, bounds {percent(one.low)} to {percent(one.high)}"
    where = f"look {number}, {one.votes:,} votes of the arm: {found}"
    sentence = {
        "better": f"{one.arm} was preferred to {base} ({where}).",
        "worse": f"{base} was preferred to {one.arm} ({where}).",
        "equivalent": f"{one.arm} and {base} are equivalent within the margin of {margin_words(looks.rule.margin)} "
        f"({where}).",
        "open": f"{one.arm} against {base} is not decided ({where}).",
    }[one.decision]
    return Claim(
        arm_a=one.arm,
        arm_b=base,
        verdict={"better": "a", "worse": "b"}.get(one.decision, "undetected"),  # type: ignore[arg-type]
        within_margin=one.decision == "equivalent",
        sentence=sentence,
    )


def looks_headline(looks: Looks) -> str:
    """How far the rule came, in one sentence."""
    latest = [one for _, one in looks.latest()]
    decided = sum(one.decision != "open" for one in latest)
    if not latest:
        return "The study has a stopping rule, and no look has happened yet: nothing is decided."
    return (
        f"By the study's stopping rule {decided} of {looks.arms} arms "
        f"{'is' if decided == 1 else 'are'} decided against {looks.rule.baseline} after {len(looks.looks)} "
        f"look{'' if len(looks.looks) == 1 else 's'}."
    )


def rule_words(looks: Looks) -> str:
    """The rule and its bounds, for the section and the methods."""
    rule = looks.rule
    chance = f"{100 * rule.level:g} %"
    each = f"{100 * rule.level / looks.arms:.3g} %"
    text = (
        f"Each arm was decided against {rule.baseline} (better, worse, or equivalent within "
        f"{margin_words(rule.margin)}), and nothing more was asked about it afterwards. The chance of any wrong claim "
        f"is at most {chance}, {each} for each of {looks.arms} arms; what a decided arm leaves of it is not passed on. "
    )
    if rule.equivalence == "one-sided":
        text += (
            f"Equivalence was tested one-sided on either side of the margin, at {each} each (two one-sided tests), so "
            "that the bounds of an equivalent arm each hold by themselves. "
        )
    if rule.bounds == "anytime":
        return text + (
            f"The bounds hold at every look, whenever the study ends (normal mixture); looks were taken every "
            f"{rule.votes_at(1):,} votes of each open arm."
        )
    return text + (
        f"The bounds are group-sequential (Wang and Tsiatis, shape {rule.shape:g}) for {rule.looks} looks at equal "
        f"steps up to {rule.horizon:,} votes of each open arm, with the two-way standard error and its degrees of "
        "freedom."
    )


def looks_section(looks: Looks | None) -> Section:
    """The decisions and every look; empty without a rule."""
    title = "Decided at planned looks"
    if looks is None:
        return Section("looks", title)
    latest = looks.latest()
    undecided = [one.arm for _, one in latest if one.decision == "open"]
    more = f" Not decided: {list_words(undecided)}." if undecided else ""
    table = DataTable(
        name="looks",
        caption=f"Win rate of each arm against {looks.rule.baseline} when it was decided, or at the last look",
        columns=(
            Column("arm", "Arm", "text"),
            Column("decision", "Decision", "text"),
            Column("look", "Look", "count"),
            Column("votes", "Votes of the arm", "count"),
            Column("win_rate", "Win rate", "percent"),
            Column("low", "Low", "percent"),
            Column("high", "High", "percent"),
        ),
        rows=tuple(
            (one.arm, one.decision, number, one.votes, one.win_rate, one.low, one.high) for number, one in latest
        ),
        note=(
            f"{len(looks.looks)} looks, the last one on {looks.looks[-1].at:%Y-%m-%d} with {looks.looks[-1].votes:,} "
            "votes. Low and High hold for all arms and all looks together"
            + (", those of an equivalent arm each by itself." if looks.rule.equivalence == "one-sided" else ".")
            if looks.looks
            else "No look has happened yet."
        ),
    )
    return Section(
        "looks",
        title,
        paragraphs=(rule_words(looks) + more, NOT_FOR_LOOKS),
        tables=(table,),
        csv=(_every_look(looks),),
    )


def _every_look(looks: Looks) -> DataTable:
    return DataTable(
        name="looks",
        caption="",
        columns=tuple(
            Column(name, "")
            for name in ("look", "at", "all_votes", "arm", "votes", "win_rate", "low", "high", "decision")
        ),
        rows=tuple(
            (
                look.number,
                look.at.isoformat(),
                look.votes,
                one.arm,
                one.votes,
                one.win_rate,
                one.low,
                one.high,
                one.decision,
            )
            for look in looks.looks
            for one in look.arms
        ),
    )

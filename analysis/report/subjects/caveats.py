"""What a report warns about, notes or refuses because of votes that were left out or columns that are missing."""

from __future__ import annotations

import itertools
from collections import Counter

from analysis.report.kit.fonts import Fonts
from analysis.report.kit.table import percent
from analysis.report.settings import ReportSettings
from analysis.report.subjects.pictures import ImageSet
from analysis.stats import Existence, VoteCounts
from analysis.votes import ExclusionReport, ExclusionRules, VotesTable
from analysis.votes.exclude import APART, LostArm
from analysis.votes.table import unused_note
from qsched.records import InputError
from qsched.records.curation import PAIRS_NAME, count_words, read_curation

# Above this share of votes excluded by rules of conduct the reader should look at both estimates.
CONDUCT_SHARE = 0.2
NAMES_SHOWN = 5
# What lets the votes of a reason in again.
REMEDIES = {
    "kind: repeat": "Keep repeated pairs with --include-repeats.",
    "skip": "Answers without a preference decide nothing; collect votes with one.",
    "names shown": "Keep them with --include-names-shown.",
    "named arm": "Name fewer arms with --exclude-arm.",
    "named annotator": "Name fewer persons with --exclude-annotator.",
    "simulated": "Keep them with --include-simulated.",
    "gold failures": "Switch the rule off with --min-gold-accuracy 0, or ask for less.",
    "instructed failures": "Switch the rule off with --max-instructed-failures -1, or allow more.",
    "doubtful time": "Leave --exclude-doubtful out.",
    "too fast": "Switch the rule off with --min-response-ms 0, or set a lower limit.",
    "too few votes": "Switch the rule off with --min-votes 0, or ask for fewer.",
}


def refuse_mixture(exclusions: ExclusionReport, settings: ReportSettings) -> None:
    """InputError if votes of people and of simulated annotators are mixed and no option says what to do."""
    if exclusions.simulated == "mixed" and settings.rules.simulated == "auto":
        raise InputError(
            "The votes of people and of simulated annotators are mixed; one estimate does not take both by default. "
            "Say --exclude-simulated (people only) or --include-simulated (both; the report says so in red)."
        )


def refuse_nothing(exclusions: ExclusionReport) -> None:
    """InputError if no vote is left; the remedy is that of the rule that left out most votes."""
    if exclusions.n_kept == 0:
        rows = [row for row in exclusions.rows if row.n_votes]
        counted = "; ".join(f"{row.reason}: {row.n_votes}" for row in rows)
        largest = max(rows, key=lambda row: row.n_votes).reason if rows else ""
        raise InputError(
            f"None of the {exclusions.n_read} votes is left after the exclusions ({counted or 'no rule applied'}). "
            + remedy(largest)
        )


def refuse_sides(votes: VotesTable, settings: ReportSettings) -> None:
    """InputError for a position effect of votes that do not say which arm was on the left."""
    if settings.estimate.position_effect and not votes.sides_known:
        raise InputError(
            "--position-effect: the votes do not say which arm was on the left (rankings, ratings, winner and loser). "
            "Leave the option out."
        )


def refuse_baseline(baseline: str | None, arms: tuple[str, ...], exclusions: ExclusionReport) -> None:
    """InputError if the baseline is not an arm of the kept votes: it lost them all, or never had any."""
    if baseline is None or baseline in arms:
        return
    lost = next((arm for arm in exclusions.lost_arms if arm.arm == baseline), None)
    if lost is None:
        raise InputError(f"--baseline {baseline!r} is not one of the arms: {listed(arms)}.")
    raise InputError(
        f"--baseline {baseline!r} has no votes left: {_lost_words(lost)}. {remedy(lost.n_votes_by_reason[0][0])} "
        f"Arms with votes: {listed(arms)}."
    )


def remedy(reason: str) -> str:
    """What to do about votes that were left out for `reason`."""
    return REMEDIES.get(reason, "These kinds of votes are never estimated; give votes of kind task.")


def own_warnings(
    exclusions: ExclusionReport, image_set: ImageSet | None, arms: tuple[str, ...], fonts: Fonts, drawn: tuple[str, ...]
) -> list[str]:
    """Warnings that come from the report and not from the estimate. `drawn`: the names in its figures."""
    warnings = _similar_arms(arms)
    by_conduct = exclusions.n_by_conduct
    eligible = exclusions.n_kept + by_conduct
    if by_conduct > CONDUCT_SHARE * eligible:
        warnings.append(
            f"{by_conduct} of {eligible} votes ({percent(by_conduct / eligible)}) were excluded by rules of conduct; "
            "see how the estimate changes when they are put back."
        )
    warnings += [
        f"Arm {lost.arm!r} is not in this report: {_lost_words(lost)}."
        for lost in exclusions.lost_arms
        if not _on_purpose(lost, exclusions.rules)
    ]
    if image_set is not None:
        unknown = [arm for arm in arms if arm not in {record.name for record in image_set.manifest.arms}]
        if unknown:
            warnings.append(
                f"The image set {image_set.manifest.set_id} has no arm {listed(unknown)}: is it the right one?"
            )
    unreadable = fonts.lacking(dict.fromkeys(drawn))
    if unreadable:
        more = len(unreadable) - NAMES_SHOWN
        warnings.append(
            f"The figures show boxes for some characters of {listed(unreadable[:NAMES_SHOWN])}"
            f"{f' and {more} more names' if more > 0 else ''}: no installed font has them. Install one that does, such "
            "as Noto Sans CJK (Noto Emoji for emoji), and run again; the tables of the page hold the names as they are."
        )
    return warnings


def own_notes(exclusions: ExclusionReport, *, has_annotators: bool, has_prompts: bool) -> list[str]:
    """What was not computed or is not in the report, and why that is not a fault."""
    notes = [
        f"Arm {lost.arm!r} is not in this report: {_lost_words(lost)}."
        for lost in exclusions.lost_arms
        if _on_purpose(lost, exclusions.rules)
    ]
    if has_annotators and not has_prompts:
        notes.append(
            "Agreement of annotators is not given: without prompt ids (a column prompt_id) it is not known "
            "who judged the same item."
        )
    return notes


def set_notes(image_set: ImageSet | None, arms: tuple[str, ...]) -> list[str]:
    """What of the image set was not judged because nobody could, or because its list of pairs says so."""
    if image_set is None:
        return []
    looks: dict[tuple[str, int], dict[str, str]] = {}
    for (prompt, arm, sample), (_, sha256, _) in image_set.files.items():
        if arm in arms:
            looks.setdefault((prompt, sample), {})[arm] = sha256
    pairs = [pair for there in looks.values() for pair in itertools.combinations(sorted(there.values()), 2)]
    equal = sum(one == other for one, other in pairs)
    notes = []
    if equal:
        notes.append(
            f"In {equal:,} of the {len(pairs):,} pairs that these arms have in the image set the two files are "
            "identical; a study leaves such pairs out unless it says show_identical."
        )
    left_out = _left_out(image_set, arms)
    if left_out:
        words = count_words(dict(sorted(left_out.items())))
        notes.append(f"The list of pairs in the image set ({PAIRS_NAME}) leaves out {words} pairs of these arms.")
    return notes


def _left_out(image_set: ImageSet, arms: tuple[str, ...]) -> Counter[str]:
    if not (image_set.folder / PAIRS_NAME).exists():
        return Counter()
    pairs = read_curation(image_set.folder).pairs
    return Counter(
        pair.counted_as
        for (_, _, first, second), pair in pairs.items()
        if not pair.use and {first, second} <= set(arms)
    )


def source_notes(votes: VotesTable) -> list[str]:
    """What of the sources was used otherwise than as one vote per row, or not at all."""
    notes = []
    if votes.weights is not None:
        notes.append(f"The column {votes.weights!r} says how many votes each row is: {votes.n_votes:,} votes in all.")
    notes += [f"How the columns were understood: {words}" for words in votes.layouts]
    if not votes.sides_known:
        notes.append("The votes do not say which arm was on the left, so nothing is said of a preference for a side.")
    return [*notes, *unused_note(votes.unused)]


def partial_warnings(existence: Existence, left_out: tuple[str, ...], counts: VoteCounts) -> list[str]:
    """Why some arms are not in an estimate that exists for the others. `counts` are those with all arms."""
    won, total = counts.wins_of_arms(), counts.votes_of_arms()
    warnings = []
    for arm in left_out:
        at = counts.arms.index(arm)
        why = (
            "it never won, so its strength is minus infinity"
            if arm in existence.never_won
            else "it never lost, so its strength is infinite"
            if arm in existence.never_lost
            else "its votes do not connect it in both directions with the arms that are estimated"
        )
        warnings.append(
            f"Arm {arm!r} is not in the estimate: {why} ({won[at]:,.0f} wins in {total[at]:,.0f} votes, counted under "
            "exclusions). --penalty firth gives a finite, shrunken estimate with it."
        )
    return warnings


def _similar_arms(arms: tuple[str, ...]) -> list[str]:
    by_letters: dict[str, list[str]] = {}
    for arm in arms:
        by_letters.setdefault("".join(c for c in arm.casefold() if c.isalnum() or c == "+"), []).append(arm)
    return [
        f"The arms {listed(same)} differ only in case, blanks or punctuation: if they are one arm, its votes are "
        "divided. Correct the names in the votes."
        for same in by_letters.values()
        if len(same) > 1
    ]


def _on_purpose(lost: LostArm, rules: ExclusionRules) -> bool:
    """Whether nobody expects the arm in the estimate, or another warning says why it is not there."""
    named = lost.arm in (*rules.arms, *rules.arms_without_estimate)
    return named or all(reason in APART for reason, _ in lost.n_votes_by_reason)


def _lost_words(lost: LostArm) -> str:
    total = sum(n for _, n in lost.n_votes_by_reason)
    counted = "; ".join(f"{reason}: {n:,}" for reason, n in lost.n_votes_by_reason)
    return (
        "its only vote was excluded" + f" ({counted})"
        if total == 1
        else f"all its {total:,} votes were excluded ({counted})"
    )


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Names in quotation marks, with commas."""
    return ", ".join(repr(name) for name in names)

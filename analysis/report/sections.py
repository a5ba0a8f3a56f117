"""The sections of the page: which figures and tables stand where, and the lines that lead into them."""

from __future__ import annotations

import math

from markupsafe import Markup

from analysis.report.findings import Findings
from analysis.report.kit.style import Drawing
from analysis.report.kit.table import Table
from analysis.report.page import Figure, Section
from analysis.report.prose.summary import position_words
from analysis.report.subjects.annotators import agreement_table, annotators_table, influence_table
from analysis.report.subjects.choices import exclusions_table, variants_table
from analysis.report.subjects.covariates import covariate_section
from analysis.report.subjects.pairs import contrasts_table, raw_table, sequential_table
from analysis.report.subjects.strata import strata_contrasts_table, strata_table
from analysis.report.subjects.strengths import baseline_table, intervals_table, strengths_table

# A page is read, a file is searched: longer tables go on in their CSV file.
ROWS_SHOWN = 60


def page_sections(found: Findings, drawings: dict[str, Drawing]) -> tuple[Section, ...]:
    """All sections that have something to show, in reading order."""

    def figures(*names: str) -> tuple[Figure, ...]:
        drawn = [drawings[name] for name in names if name in drawings]
        return tuple(Figure(d.name, d.title, Markup(d.inline_svg), d.caption, d.width_px) for d in drawn)

    by = found.settings.by or ""
    sections = [
        _strengths(found, figures("strengths")),
        _pairs(found, figures("winrates")),
        Section("size", "Strength against model size", figures=figures("elo-size")),
        Section(
            "strata",
            f"By {by}",
            figures=figures(f"by-{by}"),
            tables=_full(strata_table(found).first(ROWS_SHOWN, file="strata.csv"), strata_contrasts_table(found)),
            points=tuple(f"{s.name}: {s.problem}" for s in found.strata if s.problem),
        ),
        covariate_section(found.adjusted, found.settings.alpha),
        _intervals(found),
        _sequential(found),
        Section(
            "session",
            "Position and time",
            paragraphs=tuple(text for text in (position_words(found), _sides(found), _times(found)) if text),
            figures=figures("session"),
        ),
        Section(
            "agreement",
            "Agreement and annotators",
            paragraphs=_agreement_words(found),
            figures=figures("annotators"),
            tables=_full(agreement_table(found), annotators_table(found)),
        ),
        Section(
            "influence",
            "Who drives the result",
            paragraphs=_influence_words(found),
            figures=figures("influence"),
            tables=_full(influence_table(found)),
        ),
        Section(
            "exclusions",
            "Exclusions, and the estimate under other choices",
            paragraphs=(
                f"{found.exclusions.n_read:,} votes were read, {found.exclusions.n_excluded:,} excluded, "
                f"{found.n_votes:,} kept.",
            ),
            tables=_full(exclusions_table(found), variants_table(found)),
            points=tuple(f"{v.name}: {v.problem}" for v in found.variants if v.problem),
        ),
    ]
    return tuple(s for s in sections if s.figures or s.tables or s.points or s.anchor in ("strengths", "session"))


def _full(*candidates: Table) -> tuple[Table, ...]:
    return tuple(table.without_empty() for table in candidates if table.rows)


def _strengths(found: Findings, figures: tuple[Figure, ...]) -> Section:
    if found.estimate is None:
        return Section(
            "strengths",
            "Strengths",
            paragraphs=("No strengths are given, because no finite, unique estimate exists. See the box at the top.",),
        )
    listed = [strengths_table(found.estimate)]
    if found.settings.baseline is not None:
        listed.append(baseline_table(found.estimate, found.settings.baseline))
    return Section("strengths", "Strengths", figures=figures, tables=tuple(listed))


def _pairs(found: Findings, figures: tuple[Figure, ...]) -> Section:
    listed = [raw_table(found).first(ROWS_SHOWN, file="winrates.csv")]
    if found.estimate is not None:
        listed.append(contrasts_table(found.estimate).first(ROWS_SHOWN, file="contrasts.csv"))
    return Section("pairs", "Win rates of pairs", figures=figures, tables=tuple(listed))


def _intervals(found: Findings) -> Section:
    if found.estimate is None:
        return Section("intervals", "")
    unsure = found.estimate.uncertainty
    clusters = ", ".join(f"{n:,} {name}s" for name, n in unsure.n_clusters.items())
    text = f"The intervals of this report are of the kind “{unsure.kind}”"
    text += f" ({clusters})." if clusters else "."
    if unsure.ignores:
        text += f" They ignore {unsure.ignores.rstrip('.')}."
    return Section(
        "intervals",
        "How sure: the intervals beside the vote-level ones",
        paragraphs=(text, *unsure.warnings, *unsure.notes),
        tables=(intervals_table(found.estimate),),
    )


def _sequential(found: Findings) -> Section:
    return Section(
        "sequential",
        "Looking while the study runs",
        paragraphs=(
            "These intervals hold at every look at once, so a study may be watched and stopped by what they show; "
            "the other intervals and p-values of this report may not be used so. They need no normal approximation, "
            "and are wider for it. The rate is the mean over annotators, each counted once, in the order in which they "
            "finished. Differences between prompts and the number of pairs are not counted.",
        ),
        tables=_full(sequential_table(found)),
    )


def _sides(found: Findings) -> str:
    decided = found.left + found.right
    if not decided:
        return ""
    return f"Of {decided:,} decided votes {100 * found.left / decided:.1f}\u00a0% were for the left picture."


def _times(found: Findings) -> str:
    times = found.times
    if times is None:
        return "The votes carry no response times."
    return (
        f"The median response time is {times.median_ms / 1000:.1f} s; half of the votes took "
        f"{times.quartile_low_ms / 1000:.1f} "
        f"to {times.quartile_high_ms / 1000:.1f} s, nine in ten {times.percentile_5_ms / 1000:.1f} to "
        f"{times.percentile_95_ms / 1000:.1f}\u00a0s."
    )


def _agreement_words(found: Findings) -> tuple[str, ...]:
    if found.agreement is not None or not found.annotators:
        return ()
    return ("How far annotators agree cannot be said: the votes have no prompt ids that would tell equal items.",)


def _influence_words(found: Findings) -> tuple[str, ...]:
    rows = (*found.influence_annotators, *found.influence_prompts)
    if not rows:
        return ()
    needed = [row for row in rows if not math.isfinite(row.change_in_se)]
    turning = [row for row in rows if row.changes_order and row not in needed]
    if needed:
        named = ", ".join(f"{row.kind} {row.cluster}" for row in needed[:5])
        return (f"Without any one of {len(needed)} (such as {named}) these votes would give no estimate at all.",)
    if not turning:
        return ("Leaving out any single annotator or prompt turns no pair of arms round.",)
    named = "; ".join(f"{row.kind} {row.cluster} ({row.arm_a} and {row.arm_b})" for row in turning[:5])
    more = f" and {len(turning) - 5} more" if len(turning) > 5 else ""
    detected = {frozenset((claim.arm_a, claim.arm_b)) for claim in found.claims if claim.detected}
    touched = [row for row in turning if frozenset((row.arm_a, row.arm_b)) in detected]
    verdict = (
        f"{len(touched)} of these are pairs whose difference was detected."
        if touched
        else "None of these is a pair whose difference was detected."
    )
    if len(turning) == 1:
        verdict = f"The difference of this pair was {'' if touched else 'not '}detected."
        return (f"Leaving out a single one turns the order of two arms round in one case: {named}. {verdict}",)
    return (
        f"Leaving out a single one turns the order of two arms round in {len(turning)} cases: {named}{more}. {verdict}",
    )

"""The annotators: how far they agree, how each behaved, and who drives the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from analysis.report.kit.section import Section, with_rows
from analysis.report.kit.style import BLUE, GRID, ORANGE, Draft, new_figure
from analysis.report.kit.table import Column, DataTable, Value
from analysis.stats import (
    EstimateSettings,
    VoteCounts,
    agreement,
    annotator_rows,
    refit_reliability,
)
from analysis.stats.annotator_results import Agreement, AnnotatorRow, ReliabilityFit
from analysis.stats.errors import AnalysisError
from analysis.votes import ExclusionRules, VotesTable

# A vote faster than this cannot have looked at both pictures; shown per annotator, excluded only on request.
FAST_MS = 300
ANNOTATORS_SHOWN = 40
# The pairs of 200 annotators. Beyond that kappas.csv has megabytes that nobody reads.
KAPPAS_WRITTEN = 20_000
FLAG_P = 0.05
POINTS_DRAWN = 1000
RELIABILITY_NOTE = "Reliability: the estimated chance of judging rather than guessing; not a verdict on a person."


@dataclass(frozen=True)
class AnnotatorResults:
    """How far annotators agree, how each behaved, and how reliable each seems; empty if the votes name no annotators.

    `excluded`: the reason for each annotator whose votes were left out.
    """

    agreement: Agreement | None = None
    rows: tuple[AnnotatorRow, ...] = ()
    reliability: ReliabilityFit | None = None
    excluded: tuple[tuple[str, str], ...] = ()


def find_agreement(kept: VotesTable, settings: EstimateSettings) -> Agreement:
    """Agreement on the items that two annotators or more judged."""
    return agreement(kept, resamples=settings.resamples, confidence=settings.confidence, seed=settings.seed)


def find_conduct(chosen: pl.DataFrame, settings: EstimateSettings, rules: ExclusionRules) -> tuple[AnnotatorRow, ...]:
    """Conduct of each annotator in all votes, excluded ones too."""
    return annotator_rows(
        chosen, fast_ms=FAST_MS, confidence=settings.confidence, gold_ties_wrong=rules.gold_ties_wrong
    )


def find_reliability(counts: VoteCounts) -> ReliabilityFit | str:
    """The re-fit, or why its own model of ties has no estimate although the reported one has."""
    try:
        return refit_reliability(counts)
    except AnalysisError as error:
        return str(error)


def annotators_section(found: AnnotatorResults) -> Section:
    """Agreement, and the conduct of each annotator."""
    agreed = agreement_table(found.agreement)
    paragraphs: tuple[str, ...] = ()
    if found.agreement is None and found.rows:
        paragraphs = (
            "How far annotators agree is not known: the votes have no prompt ids, so equal items cannot be found.",
        )
    csv = []
    if found.rows:
        csv.append(annotators_table(found, limit=None))
    n_kappas = len(found.agreement.kappas) if found.agreement is not None else 0
    if found.agreement is not None and 0 < n_kappas <= KAPPAS_WRITTEN:
        csv.append(kappas_table(found.agreement))
    elif n_kappas:
        paragraphs = (
            f"kappas.csv is not written: it would have {n_kappas:,} pairs of annotators, more than {KAPPAS_WRITTEN:,}. "
            "The mean over all of them is in the table.",
        )
    known = any(row.agreement_with_rest is not None for row in found.rows)
    return Section(
        "agreement",
        "Agreement and annotators",
        paragraphs=paragraphs,
        figures=(partial(draw_annotators, found.rows),) if known else (),
        tables=with_rows(agreed, annotators_table(found)),
        csv=tuple(csv),
        latex=(agreed,) if agreed.rows else (),
    )


def agreement_table(agreed: Agreement | None) -> DataTable:
    """Raw agreement, Krippendorff's alpha twice, mean kappa."""
    rows: list[tuple[Value, ...]] = []
    if agreed is not None:
        nominal, ordinal = agreed.alpha_nominal, agreed.alpha_ordinal
        rows = [
            (
                "Raw agreement of two annotators on one item",
                agreed.raw,
                agreed.raw_low,
                agreed.raw_high,
                agreed.n_items,
            ),
            ("Krippendorff's alpha, nominal", nominal.value, nominal.low, nominal.high, nominal.n_units),
            ("Krippendorff's alpha, ordinal", ordinal.value, ordinal.low, ordinal.high, ordinal.n_units),
            ("Mean pairwise kappa (Cohen)", agreed.mean_kappa, None, None, None),
        ]
    return DataTable(
        name="agreement",
        caption="Agreement between annotators on the same item",
        columns=(
            Column("measure", "Measure", "text"),
            Column("value", "Value", digits=3),
            Column("low", "Low", digits=3),
            Column("high", "High", digits=3),
            Column("n_items", "Items", "count"),
        ),
        rows=tuple(rows),
        note="0 is chance and 1 is complete agreement for alpha and kappa; raw agreement is a plain share.",
    )


def annotators_table(found: AnnotatorResults, *, limit: int | None = ANNOTATORS_SHOWN) -> DataTable:
    """Conduct of each annotator, most votes first."""
    rows = sorted(found.rows, key=lambda row: (-row.n_votes, row.annotator))
    excluded = dict(found.excluded)
    reliability = (
        {} if found.reliability is None else {r.annotator: r.reliability for r in found.reliability.annotators}
    )
    shown = rows if limit is None else rows[:limit]
    return DataTable(
        name="annotators",
        caption="Annotators (pseudonyms), most votes first"
        + (f"; {len(shown)} of {len(rows)}, all in annotators.csv" if len(shown) < len(rows) else ""),
        columns=(
            Column("annotator", "Annotator", "text"),
            Column("n_votes", "Votes", "count"),
            Column("agreement_with_rest", "Agrees with rest", "percent"),
            Column("repeat_consistency", "Repeats alike", "percent"),
            Column("gold_accuracy", "Gold right", "percent"),
            Column("left_share", "Left", "percent"),
            Column("side_p_holm", "Side p (Holm)", "p"),
            Column("entropy_bits", "Entropy, bits", digits=2),
            Column("median_ms", "Median ms", "count"),
            Column("fast_share", "Fast", "percent"),
            Column("reliability", "Reliability", digits=2),
            Column("excluded", "Excluded", "text"),
        ),
        rows=tuple(
            (
                row.annotator,
                row.n_votes,
                row.agreement_with_rest,
                row.repeat_consistency,
                row.gold_accuracy,
                row.left_share,
                row.side_p_holm,
                row.entropy_bits,
                row.median_ms,
                row.fast_share,
                reliability.get(row.annotator),
                excluded.get(row.annotator),
            )
            for row in shown
        ),
        note=" ".join(
            (
                *(
                    (f"Fast: answered in less than {FAST_MS} ms.",)
                    if any(r.fast_share is not None for r in shown)
                    else ()
                ),
                *((RELIABILITY_NOTE,) if reliability else ()),
            )
        ),
    )


def kappas_table(agreed: Agreement) -> DataTable:
    """The contents of `kappas.csv`: agreement of every two annotators."""
    return DataTable.of(
        "kappas",
        agreed.kappas,
        caption="Cohen's kappa of each two annotators on the items that both judged",
        columns=(
            Column("annotator_a", "Annotator", "text"),
            Column("annotator_b", "And", "text"),
            Column("n_items", "Items", "count"),
            Column("observed", "Agreement"),
            Column("kappa", "Kappa"),
        ),
    )


def draw_annotators(rows: tuple[AnnotatorRow, ...]) -> Draft:
    """Left: agreement with the rest. Right: share of left answers. One point per annotator, in rising order."""
    agreement = sorted(100 * row.agreement_with_rest for row in rows if row.agreement_with_rest is not None)
    sided = sorted((100 * row.left_share, _one_sided(row)) for row in rows if row.left_share is not None)
    flagged = [(place, share) for place, (share, flag) in enumerate(sided, start=1) if flag]
    plain = [(place, share) for place, (share, flag) in enumerate(sided, start=1) if not flag]
    figure = new_figure(6.2, 2.7)
    left, right = figure.subplots(1, 2)
    drawn = _thinned(list(enumerate(agreement, start=1)))
    _points(left, drawn, BLUE, "o")
    left.set_ylabel("% agreeing with the others")
    _points(right, _thinned(plain), BLUE, "o")
    _points(right, _thinned(flagged), ORANGE, "D", label=f"one side preferred (Holm p < {FLAG_P:g})")
    right.axhline(50, color=GRID, linewidth=1.6, zorder=0)
    right.set_ylabel("% left, of decided votes")
    if flagged:
        right.legend(loc="lower right")
    for axes, n in ((left, len(agreement)), (right, len(sided))):
        axes.set_ylim(0, 103)
        axes.set_xlim(0, max(n, 1) + 1)
        axes.set_xlabel("annotators, sorted")
        axes.locator_params(axis="x", nbins=5, integer=True)
        axes.grid(axis="y")
    middle = (
        f"median {agreement[len(agreement) // 2]:.0f} %, from {agreement[0]:.0f} to {agreement[-1]:.0f} %"
        if agreement
        else "none known"
    )
    return Draft(
        name="annotators",
        figure=figure,
        title="Agreement and side preference of each annotator",
        alt=(
            f"Two plots of {len(rows)} annotators in rising order. Agreement with the others: {middle}. "
            f"Side preference: {len(flagged)} of {len(sided)} annotators prefer one side beyond chance."
        ),
        caption=(
            f"{'One point per annotator' if len(drawn) == len(agreement) else f'{POINTS_DRAWN} of the annotators'}, "
            "in rising order. Left: share of items on which the annotator gave the others' "
            "most frequent answer. Right: share of left answers among decided votes; sides are drawn at random, so a "
            "careful annotator is near 50 %, and nearer with more votes."
        ),
    )


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most POINTS_DRAWN of them, evenly spaced: more would cover each other, and make the page slow."""
    if len(points) <= POINTS_DRAWN:
        return points
    return [points[at] for at in np.linspace(0, len(points) - 1, POINTS_DRAWN).astype(int)]


def _one_sided(row: AnnotatorRow) -> bool:
    return row.side_p_holm is not None and row.side_p_holm < FLAG_P


def _points(
    axes: Axes, points: Sequence[tuple[int, float]], colour: str, marker: str, *, label: str | None = None
) -> None:
    axes.plot(
        [place for place, _ in points],
        [share for _, share in points],
        marker,
        color=colour,
        markersize=4,
        markeredgewidth=0,
        label=label,
    )

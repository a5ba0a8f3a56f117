"""Agreement panel: each annotator's agreement with the rest, and left share, as distributions over annotators."""

from __future__ import annotations

from analysis.report.figures.style import BLUE, GRID, ORANGE, Draft, new_figure
from analysis.stats.results import AnnotatorRow


def draw_annotators(rows: tuple[AnnotatorRow, ...]) -> Draft:
    """Left: agreement with the rest against votes given. Right: share of left answers against votes given."""
    agreeing = [row for row in rows if row.agreement_with_rest is not None]
    sided = [row for row in rows if row.left_share is not None]
    figure = new_figure(6.2, 2.7)
    left, right = figure.subplots(1, 2)
    left.axhline(50, color=GRID, linewidth=1)
    left.plot(
        [r.n_votes for r in agreeing],
        [100 * (r.agreement_with_rest or 0) for r in agreeing],
        "o",
        color=BLUE,
        markersize=4,
        alpha=0.75,
        markeredgewidth=0,
    )
    left.set_ylim(0, 103)
    left.set_xlabel("votes given")
    left.set_ylabel("% agreeing with the others")
    flagged = [row for row in sided if row.side_p_holm is not None and row.side_p_holm < 0.05]
    plain = [row for row in sided if row not in flagged]
    right.axhline(50, color=GRID, linewidth=1)
    right.plot(
        [r.n_votes for r in plain],
        [100 * (r.left_share or 0) for r in plain],
        "o",
        color=BLUE,
        markersize=4,
        alpha=0.75,
        markeredgewidth=0,
    )
    right.plot(
        [r.n_votes for r in flagged],
        [100 * (r.left_share or 0) for r in flagged],
        "D",
        color=ORANGE,
        markersize=5,
        markeredgewidth=0,
        label="one side preferred (Holm p < 0.05)",
    )
    right.set_ylim(0, 103)
    right.set_xlabel("votes given")
    right.set_ylabel("% left, of decided votes")
    if flagged:
        right.legend(loc="lower right")
    for axes in (left, right):
        axes.set_xlim(left=0)
        axes.locator_params(axis="x", nbins=5, integer=True)
        axes.grid(axis="y")
    shares = sorted(100 * (r.agreement_with_rest or 0) for r in agreeing)
    middle = (
        f"median {shares[len(shares) // 2]:.0f} %, from {shares[0]:.0f} to {shares[-1]:.0f} %"
        if shares
        else "none known"
    )
    return Draft(
        name="annotators",
        figure=figure,
        title="Agreement and side preference of each annotator",
        alt=(
            f"Two scatter plots over {len(rows)} annotators. Agreement with the others: {middle}. "
            f"Side preference: {len(flagged)} of {len(sided)} annotators prefer one side beyond chance."
        ),
        caption=(
            "One point an annotator. Left: share of items on which the annotator gave the others' most frequent "
            "answer. "
            "Right: share of left answers among decided votes; sides are drawn at random, so that a careful "
            "annotator lies near 50 %."
        ),
    )

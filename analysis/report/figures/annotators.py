"""Agreement panel: each annotator's agreement with the rest, and share of left answers, sorted."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from analysis.report.kit.style import BLUE, GRID, ORANGE, Draft, new_figure
from analysis.stats.annotator_results import AnnotatorRow

FLAG_P = 0.05


def draw_annotators(rows: tuple[AnnotatorRow, ...]) -> Draft:
    """Left: agreement with the rest. Right: share of left answers. One point an annotator, in rising order."""
    agreement = sorted(100 * row.agreement_with_rest for row in rows if row.agreement_with_rest is not None)
    sided = sorted((100 * row.left_share, _one_sided(row)) for row in rows if row.left_share is not None)
    flagged = [(place, share) for place, (share, flag) in enumerate(sided, start=1) if flag]
    plain = [(place, share) for place, (share, flag) in enumerate(sided, start=1) if not flag]
    figure = new_figure(6.2, 2.7)
    left, right = figure.subplots(1, 2)
    _points(left, list(enumerate(agreement, start=1)), BLUE, "o")
    left.set_ylabel("% agreeing with the others")
    _points(right, plain, BLUE, "o")
    _points(right, flagged, ORANGE, "D", label=f"one side preferred (Holm p < {FLAG_P:g})")
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
            "One point an annotator, in rising order. Left: share of items on which the annotator gave the others' "
            "most frequent answer. Right: share of left answers among decided votes; sides are drawn at random, so a "
            "careful annotator lies near 50 %, the more nearly the more votes were given."
        ),
    )


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

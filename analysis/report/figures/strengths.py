"""Forest plot of strengths: each arm with its interval, and inside it the interval that vote-level tools would "
"print."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.report.kit.escape import short_labels
from analysis.report.kit.style import BLUE, GRID, INK, MUTED, ORANGE, Draft, new_figure
from analysis.report.kit.table import signed
from analysis.report.subjects.claims import percent_words
from analysis.stats import Estimate, elo


def draw_strengths(estimate: Estimate) -> Draft:
    """Arms from strongest to weakest on the Elo scale, log-odds above; two bars an arm."""
    rows = estimate.strengths
    labels = short_labels(tuple(row.arm for row in rows))
    height = 1.15 + 0.34 * len(rows)
    figure = new_figure(5.6, height)
    axes = figure.add_subplot()
    places = np.arange(len(rows))[::-1]
    two_bars = estimate.uncertainty.kind != "vote"
    for place, row in zip(places, rows, strict=True):
        axes.plot([row.elo_low, row.elo_high], [place, place], color=BLUE, linewidth=1.8, solid_capstyle="butt")
        for end in (row.elo_low, row.elo_high):
            axes.plot([end, end], [place - 0.13, place + 0.13], color=BLUE, linewidth=1.4)
        if two_bars:
            axes.plot(
                [elo(row.low_vote), elo(row.high_vote)],
                [place - 0.27, place - 0.27],
                color=ORANGE,
                linewidth=1.4,
                solid_capstyle="butt",
            )
        axes.plot(row.elo, place, "o", color=BLUE, markersize=5)
    axes.axvline(elo(0.0), color=GRID, linewidth=1, zorder=0)
    axes.set_yticks(places, labels)
    axes.set_ylim(-0.65, len(rows) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Elo (1000 = mean of the arms)")
    axes.grid(axis="x")
    top = axes.secondary_xaxis("top", functions=(_log_strength_of, _elo_of))
    top.set_xlabel("log strength (natural logarithm of the odds)", color=MUTED)
    top.tick_params(colors=MUTED, labelcolor=MUTED)
    percent = percent_words(estimate.settings.confidence)
    handles = [axes.plot([], [], color=BLUE, linewidth=1.8, marker="o", markersize=5)[0]]
    names = [f"{percent} interval ({estimate.uncertainty.kind})"]
    if two_bars:
        handles.append(axes.plot([], [], color=ORANGE, linewidth=1.4)[0])
        names.append("if votes were independent (too narrow)" if estimate.design_effect > 1 else "vote level")
    figure.legend(handles, names, loc="outside lower center", ncols=2, labelcolor=INK)
    spoken = "; ".join(
        f"{label} {signed(row.elo, 0)}, from {signed(row.elo_low, 0)} to {signed(row.elo_high, 0)}"
        for label, row in zip(labels, rows, strict=True)
    )
    return Draft(
        name="strengths",
        figure=figure,
        title="Strength of each arm with its interval",
        alt=f"Forest plot on the Elo scale, {percent} intervals. {spoken}.",
        caption=(
            "Strength of each arm on the Elo scale (below) and as a natural logarithm of odds (above), relative to "
            "the mean of all arms. Two arms whose intervals overlap may still differ, and the other way round: the "
            "table of pairs, not this figure, says which differences were detected."
        ),
    )


def _elo_of(log_strength: Any) -> Any:
    # matplotlib hands over arrays; the scale is linear, so two of its points give all of it.
    return elo(0.0) + (elo(1.0) - elo(0.0)) * np.asarray(log_strength)


def _log_strength_of(rating: Any) -> Any:
    return (np.asarray(rating) - elo(0.0)) / (elo(1.0) - elo(0.0))

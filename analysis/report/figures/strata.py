"""Strengths by category (or question, or study): one small panel an arm, one bar a stratum."""

from __future__ import annotations

import numpy as np

from analysis.report.kit.escape import short_label, short_labels
from analysis.report.kit.style import BLUE, GRID, MUTED, Draft, new_figure
from analysis.report.strata import Stratum
from analysis.report.subjects.claims import percent_words

MOST_STRATA = 24
MOST_ARMS = 12


def draw_strata(strata: tuple[Stratum, ...], arms: tuple[str, ...], *, by: str, confidence: float) -> Draft:
    """Panels in the order of `arms`; strata without an estimate are named and left empty."""
    shown = strata[:MOST_STRATA]
    arms_left_out = max(0, len(arms) - MOST_ARMS)
    arms = arms[:MOST_ARMS]
    columns = len(arms) if len(arms) < 3 else 2 if len(arms) == 4 else 3
    rows = -(-len(arms) // columns)
    names = short_labels(tuple(stratum.name for stratum in shown), width=18)
    figure = new_figure(6.2, rows * (0.85 + 0.2 * len(shown)) + 0.3)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    places = np.arange(len(shown))[::-1]
    for panel, arm in zip(panels.flat, arms, strict=False):
        panel.axvline(1000, color=GRID, linewidth=1)
        for place, stratum in zip(places, shown, strict=True):
            row = None
            if stratum.estimate is not None:
                row = next((r for r in stratum.estimate.strengths if r.arm == arm), None)
            if row is None:
                panel.text(
                    0.5,
                    place,
                    "no estimate",
                    transform=panel.get_yaxis_transform(),
                    ha="center",
                    va="center",
                    color=MUTED,
                    fontsize=8,
                )
                continue
            panel.plot([row.elo_low, row.elo_high], [place, place], color=BLUE, linewidth=1.6)
            panel.plot(row.elo, place, "o", color=BLUE, markersize=4)
        panel.set_title(short_label(arm, width=24), loc="left")
        panel.set_yticks(places, names)
        panel.tick_params(axis="y", length=0)
        panel.tick_params(axis="x", labelbottom=True)
        panel.spines["left"].set_visible(False)
        panel.grid(axis="x")
        panel.set_ylim(-0.6, len(shown) - 0.4)
        panel.locator_params(axis="x", nbins=4)
    for panel in panels.flat[len(arms) :]:
        panel.set_visible(False)
    figure.supxlabel("Elo within the stratum (1000 = mean of the arms)", fontsize=8.5)
    left_out = len(strata) - len(shown)
    return Draft(
        name=f"by-{by}",
        figure=figure,
        title=f"Strength of each arm by {by}",
        alt=(
            f"{len(arms)} panels, one an arm, with {percent_words(confidence)} intervals of its Elo in {len(shown)} "
            f"strata of {by}. The numbers stand in the table below the figure."
        ),
        caption=(
            f"Each {by} estimated on its own. An interval that leaves out the line in one panel and not in another "
            "is no evidence of a difference between the two: the table of contrasts tests that."
            + (f" {left_out} further strata are in winrates.json only." if left_out else "")
            + (f" The {MOST_ARMS} strongest arms; {arms_left_out} more are in strata.csv." if arms_left_out else "")
        ),
    )

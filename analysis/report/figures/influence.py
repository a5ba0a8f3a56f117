"""Who drives the result: how far the estimate moves when one annotator or one prompt is left out."""

from __future__ import annotations

import math

import numpy as np

from analysis.report.kit.escape import short_labels
from analysis.report.kit.style import BLUE, GRID, ORANGE, PAPER, Draft, new_figure
from analysis.report.kit.table import signed
from analysis.stats.annotator_results import InfluenceRow

SHOWN = 8


def draw_influence(annotators: tuple[InfluenceRow, ...], prompts: tuple[InfluenceRow, ...]) -> Draft:
    """The eight most influential annotators and prompts; orange where leaving one out turns an order round."""
    groups = [(name, rows[:SHOWN]) for name, rows in (("annotator", annotators), ("prompt", prompts)) if rows]
    height = 0.95 + 0.24 * max(len(rows) for _, rows in groups)
    figure = new_figure(3.2 * len(groups), height)
    panels = figure.subplots(1, len(groups), sharex=True, squeeze=False)[0]
    for panel, (name, rows) in zip(panels, groups, strict=True):
        places = np.arange(len(rows))[::-1]
        # Without such a cluster no estimate exists at all: its bar runs to the edge and says so.
        known = [abs(row.change_in_se) for row in rows if math.isfinite(row.change_in_se)]
        edge = 1.3 * max((*known, 1.0))
        values = [abs(row.change_in_se) if math.isfinite(row.change_in_se) else edge for row in rows]
        panel.barh(places, values, height=0.6, color=[ORANGE if row.changes_order else BLUE for row in rows])
        for place, row in zip(places, rows, strict=True):
            if not math.isfinite(row.change_in_se):
                panel.text(0.03 * edge, place, "no estimate without it", va="center", color=PAPER, fontsize=8)
        panel.set_yticks(places, short_labels(tuple(row.cluster for row in rows), width=16))
        panel.set_title(f"leaving out one {name}", loc="left")
        panel.set_xlabel("largest change, in standard errors")
        panel.tick_params(axis="y", length=0)
        panel.spines["left"].set_visible(False)
        panel.axvline(1, color=GRID, linewidth=1)
        panel.set_xlim(left=0)
        panel.grid(axis="x")
    spoken = ". ".join(
        f"Leaving out {name} {rows[0].cluster} moves a contrast by "
        f"{signed(abs(rows[0].change_in_se), 2)} standard errors"
        for name, rows in groups
    )
    return Draft(
        name="influence",
        figure=figure,
        title="Who drives the result",
        alt=f"Bar charts of the most influential annotators and prompts. {spoken}.",
        caption=(
            "The contrast of arms that moves most when one annotator or one prompt is left out, in its own "
            "standard errors. Orange: the order of two arms turns round."
        ),
    )

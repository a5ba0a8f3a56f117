"""Win rates of a model's arms against size or time, as SVG text for a page that may be light or dark."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qsched.pages import svg_of
from qsched.scoring.image_set.figure import BEHIND, FRONT, QUIET, spread_sizes

#: How far marks that would hide each other are set apart, in shares of the axis.
APART = 0.04
ROOM = 0.12


@dataclass(frozen=True)
class Mark:
    """One arm: its number in the table, whether it is repaired, and its place with the bounds of y."""

    number: str
    is_repaired: bool
    x: float
    y: float
    low: float | None
    high: float | None


def spread_marks(marks: Sequence[Mark], *, log: bool) -> tuple[list[float], float, float]:
    """Where each mark goes (in logarithms if asked), and the ends of the axis."""
    xs = [math.log(mark.x) if log else mark.x for mark in marks]
    span = max(max(xs) - min(xs), 0.1 * abs(max(xs, key=abs)) or 1.0)
    low, high = min(xs) - ROOM * span, max(xs) + ROOM * span
    placed = spread_sizes(xs, least=APART * (high - low))
    return placed, min(low, *placed), max(high, *placed)


def scatter(marks: Sequence[Mark], *, x_label: str, y_label: str, log: bool) -> str:
    """The drawing: shares of votes upwards, with a line at one half; squares are repaired arms."""
    from matplotlib import figure as drawing
    from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter, ScalarFormatter

    figure = drawing.Figure(figsize=(5.2, 3.6))
    panel: Any = figure.subplots()
    xs, low, high = spread_marks(marks, log=log)
    if log:
        panel.set_xscale("log")
        xs, low, high = [math.exp(x) for x in xs], math.exp(low), math.exp(high)
        # 1, 2 and 5 in each decade, unless the sizes are so close that hardly any of these would be on the axis.
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 5 * low else MaxNLocator(5))
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.minorticks_off()
    panel.axhline(0.5, color=QUIET, lw=0.9, ls="--", zorder=0)
    for x, mark in zip(xs, marks, strict=True):
        colour = BEHIND if mark.is_repaired else FRONT
        bounds = None if mark.low is None or mark.high is None else [[mark.y - mark.low], [mark.high - mark.y]]
        shape = "s" if mark.is_repaired else "o"
        panel.errorbar(x, mark.y, yerr=bounds, fmt=shape, color=colour, capsize=4, ms=13)
        panel.annotate(mark.number, (x, mark.y), ha="center", va="center_baseline", fontsize=9, color="#ffffff")
    panel.set_xlim(low, high)
    panel.margins(y=ROOM)
    panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    panel.set_xlabel(x_label, parse_math=False)
    panel.set_ylabel(y_label, parse_math=False)
    figure.tight_layout()
    label = html.escape(f"{y_label} of {len(marks)} arms by {x_label}; the table has the values")
    return svg_of(figure).replace("<svg ", f'<svg class="scatter" role="img" aria-label="{label}" ', 1)

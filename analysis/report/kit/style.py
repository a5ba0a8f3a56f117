"""The look of every figure: a handful of named colours, and the settings of matplotlib.

In a file the colours stay as they are, on white. Inside the page each becomes a CSS variable, so that one drawing
serves light, dark and paper. Text is drawn as outlines: no font is needed to read a figure, and a table has the
numbers anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from analysis.report.kit.fonts import BASE
from analysis.report.kit.recording import RecordingCanvas

INK = "#1f2328"
MUTED = "#59636e"
GRID = "#d8dee4"
PAPER = "#ffffff"
BLUE = "#0b5fa5"
ORANGE = "#b84a00"
PALE = "#9cc4e8"
MOST_ARMS = 40  # rows of a figure, cells of the matrix: more cannot be read
PADDING = 0.07  # inches between the parts of a figure
ROW_GAP = 3.5  # points between the axes and the names of its rows
PNG_DPI = 200
CELL_INK = "#101418"  # text on a coloured cell: the cell keeps its colour in dark mode, so this text does too

# Colour in the drawing -> CSS variable of page.css. CELL_INK is left out on purpose.
CSS_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    BLUE: "--blue",
    ORANGE: "--orange",
    PALE: "--pale",
}

RC: Any = {
    # The resolution of a PNG, also while axes find their places: what texts measure is then computed once.
    "figure.dpi": PNG_DPI,
    "text.hinting": "no_hinting",
    "svg.fonttype": "path",
    "svg.hashsalt": "qsched-report",
    "pdf.fonttype": 42,
    "pdf.compression": 6,
    # An arm named "$x$" is a name, not mathematics.
    "text.parse_math": False,
    "font.family": BASE,
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titley": 1.0,  # no axis has ticks above: a title need not look for its place
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    # Transparent: inside the page the shadow that says "scroll" is behind the drawing (page.css).
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Draft:
    """A drawn figure that is not bytes yet."""

    name: str
    figure: Figure
    title: str
    alt: str
    caption: str


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure; `matplotlib.rc_context(RC)` must be in force (`drawings.draw_all` enters it once)."""
    figure = Figure(figsize=(width_in, height_in))
    RecordingCanvas(figure)
    return figure


def name_rows(axes: Axes, places: Iterable[float], names: Iterable[str], *, size: float = 8.5) -> None:
    """Write `names` left of the axes at `places` in y, where the labels of ticks would be: a tick has five artists."""
    axes.set_yticks([])
    placed, vertical, horizontal = axes.get_yaxis_text1_transform(ROW_GAP)
    for place, name in zip(places, names, strict=True):
        axes.text(0, place, name, transform=placed, va=vertical, ha=horizontal, fontsize=size)


def lay_out(figure: Figure) -> None:
    """Give axes, labels and legends their places, once; a layout engine of the figure would do it in every save."""
    for axis in _all_axis(figure):
        if not axis.get_label().get_text():
            axis.set_label_coords(0, 0)  # or the place of a label without words is looked for in every drawing
    ConstrainedLayoutEngine(h_pad=PADDING, w_pad=PADDING).execute(figure)


def _all_axis(figure: Figure) -> Iterator[Axis]:
    for axes in figure.axes:
        for one in (axes, *axes.child_axes):
            yield one.xaxis
            yield one.yaxis

"""The look of every figure, and how a figure becomes bytes: SVG, PNG, PDF, and SVG for inside the page.

Figures are drawn with a handful of named colours. In a file they stay as they are, on white. Inside the
page each becomes a CSS variable, so that one drawing serves light, dark and paper. Text is drawn as
outlines: no font is needed to read a figure, and the numbers stand in a table beside it anyway.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure

from analysis.report.kit.fonts import BASE
from analysis.report.settings import Format

INK = "#1f2328"
MUTED = "#59636e"
GRID = "#d8dee4"
PAPER = "#ffffff"
BLUE = "#0b5fa5"
ORANGE = "#b84a00"
PALE = "#9cc4e8"
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
    "svg.fonttype": "path",
    "svg.hashsalt": "qsched-report",
    "pdf.fonttype": 42,
    "pdf.compression": 6,
    # An arm named "$x$" is a name, not mathematics.
    "text.parse_math": False,
    "font.family": BASE,
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    # No ground of their own: inside the page the shadow that says "scroll" lies below the drawing (page.css).
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
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.07,
    "figure.constrained_layout.w_pad": 0.07,
}


@dataclass(frozen=True)
class Drawing:
    """One finished figure: its file name without ending, what it shows in words, and its bytes by format."""

    name: str
    title: str
    alt: str
    caption: str
    files: dict[str, bytes]
    inline_svg: str
    width_px: int


@dataclass(frozen=True)
class Draft:
    """A drawn figure that is not bytes yet."""

    name: str
    figure: Figure
    title: str
    alt: str
    caption: str


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure; `matplotlib.rc_context(RC)` must be in force (the report enters it once)."""
    return Figure(figsize=(width_in, height_in))


def finish(draft: Draft, formats: tuple[Format, ...]) -> Drawing:
    """Turn `draft` into bytes. The same draft gives the same bytes: no date, and ids come from a fixed salt."""
    svg = _saved(draft.figure, "svg")
    files: dict[str, bytes] = {fmt: svg if fmt == "svg" else _saved(draft.figure, fmt) for fmt in formats}
    return Drawing(
        name=draft.name,
        title=draft.title,
        alt=draft.alt,
        caption=draft.caption,
        files=files,
        inline_svg=inline_svg(svg.decode("utf-8"), name=draft.name, title=draft.title, description=draft.alt),
        width_px=round(float(draft.figure.get_figwidth()) * 96),
    )


def _saved(figure: Figure, fmt: Format) -> bytes:
    buffer = io.BytesIO()
    metadata: dict[str, Any] = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "png": {"Software": None},
    }[fmt]
    figure.savefig(buffer, format=fmt, dpi=200, metadata=metadata)
    return buffer.getvalue()


def inline_svg(svg: str, *, name: str, title: str, description: str) -> str:
    """`svg` for inside an HTML page: no prologue, ids unique to `name`, theme colours, a title and a description."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<!--.*?-->\n?", "", body, flags=re.DOTALL)
    body = re.sub(r"<metadata>.*?</metadata>\n?", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r'(xlink:href|href)="#([^"]+)"', rf'\1="#{name}-\2"', body)
    for colour, variable in CSS_VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    opening = body[: body.index(">") + 1]
    view_box = re.search(r'viewBox="([^"]+)"', opening)
    if view_box is None:  # matplotlib always writes one; without it the figure would not scale
        raise ValueError(f"figure {name}: the SVG has no viewBox")
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{view_box.group(1)}" role="img" aria-labelledby="{name}-title {name}-desc" focusable="false">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    )
    return head + body[len(opening) :].strip()

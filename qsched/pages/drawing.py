"""Figures of matplotlib on a page that may be light or dark: what was black takes the colour of the text."""

from __future__ import annotations

import io
from typing import Any

INK = "#1c2430"  # a mark that should be as dark as the text
_BLACK = ("#000000", INK)


def svg_of(figure: Any) -> str:
    """The figure as SVG text without a background; the same figure gives the same bytes."""
    import matplotlib

    buffer = io.StringIO()
    for panel in figure.axes:
        panel.patch.set_alpha(0)
    # Fixed ids and no date.
    with matplotlib.rc_context({"svg.hashsalt": "qsched", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor="none")
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for black in _BLACK:
        text = text.replace(f"stroke: {black}", "stroke: currentColor").replace(f"fill: {black}", "fill: currentColor")
    # Text has no colour of its own, and takes that of the drawing.
    return text.replace("<svg ", '<svg fill="currentColor" ', 1)

"""A figure that is drawn once is, in every format, what savefig would have drawn anew."""

from __future__ import annotations

import io
import re

import matplotlib
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from analysis.report.kit.recording import RecordedFigure, RecordingCanvas
from analysis.report.kit.style import PNG_DPI, RC

NUMBER = re.compile(r"-?\d+\.?\d*")


def drawn() -> Figure:
    """Lines, markers, a collection, a bar, hatches, a turned text, a legend, and a curve cut off by a circle."""
    figure = Figure(figsize=(4, 3), dpi=PNG_DPI)
    axes = figure.add_subplot()
    axes.plot([0, 1, 2], [0.5, 5, 1], "o--", label="a line")
    axes.hlines([1, 2], [0, 0.5], [1, 1.5], linewidth=3)
    axes.bar([0.5], [2], hatch="///", alpha=0.5)
    axes.add_collection(PolyCollection([[(1, 1), (2, 1), (2, 2)]], facecolors=["#9cc4e8"], edgecolors="black"))
    axes.text(1.2, 3, "turned", rotation=35, color="#b84a00")
    (cut,) = axes.plot([0, 2], [4, 0], linewidth=4)
    cut.set_clip_path(Circle((1, 2), 0.8, transform=axes.transData))
    axes.set_ylim(0, 4)
    axes.legend()
    return figure


def saved(figure: Figure, fmt: str) -> bytes:
    buffer = io.BytesIO()
    none = {"png": "Software", "svg": "Date", "pdf": "CreationDate"}[fmt]
    figure.savefig(buffer, format=fmt, dpi=PNG_DPI, metadata={none: None})
    return buffer.getvalue()


def recorded() -> Figure:
    figure = drawn()
    RecordingCanvas(figure)
    return RecordedFigure(figure)


def test_a_png_of_the_recording_has_the_bytes_of_one_that_was_drawn() -> None:
    with matplotlib.rc_context(RC):
        assert saved(recorded(), "png") == saved(drawn(), "png")


@pytest.mark.parametrize("fmt", ["svg", "pdf"])
def test_a_drawing_of_the_recording_has_the_parts_of_one_that_was_drawn_at_the_same_places(fmt: str) -> None:
    with matplotlib.rc_context({**RC, "pdf.compression": 0}):
        played, direct = (saved(figure, fmt).decode("latin-1") for figure in (recorded(), drawn()))
    if fmt == "pdf":  # what stands before is the page's contents; fonts and offsets in the file follow
        played, direct = (text[: text.index("endstream")] for text in (played, direct))
    else:  # names of shapes are made of their places
        played, direct = (re.sub(r'(id="|#)[a-z]?[0-9a-f]{10}', r"\1", text) for text in (played, direct))
    assert NUMBER.sub("", played) == NUMBER.sub("", direct)
    places = ([float(number) for number in NUMBER.findall(text)] for text in (played, direct))
    # A fifth of a point: texts are measured in whole 64ths of a pixel, at another resolution.
    assert next(places) == pytest.approx(next(places), abs=0.2)

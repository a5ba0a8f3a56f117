"""Draw the figures of the report's sections and turn them into bytes: SVG, PNG, PDF, and SVG for inside the page."""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from analysis.report.kit.fonts import Fonts, quiet_fonts
from analysis.report.kit.recording import RecordedFigure
from analysis.report.kit.section import DrawnFigure, Section
from analysis.report.kit.style import CSS_VARIABLES, PNG_DPI, RC, Draft, lay_out
from analysis.report.settings import Format

#: Figures by the anchor of their section.
Figures = dict[str, tuple[DrawnFigure, ...]]


def draw_all(sections: tuple[Section, ...], *, fonts: Fonts, formats: tuple[Format, ...]) -> Figures:
    """Every figure of every section, drawn and finished one after the other."""
    with matplotlib.rc_context({**RC, "font.family": list(fonts.families)}), quiet_fonts():
        return {s.anchor: tuple(finish(draw(), formats) for draw in s.figures) for s in sections}


def finish(draft: Draft, formats: tuple[Format, ...]) -> DrawnFigure:
    """Turn `draft` into bytes. The same draft gives the same bytes: no date, and ids come from a fixed salt."""
    lay_out(draft.figure)
    recorded = RecordedFigure(draft.figure)
    svg = _saved(recorded, "svg")
    files: dict[str, bytes] = {fmt: svg if fmt == "svg" else _saved(recorded, fmt) for fmt in formats}
    inline = inline_svg(svg.decode("utf-8"), name=draft.name, title=draft.title, description=draft.alt)
    return DrawnFigure(
        name=draft.name,
        title=draft.title,
        svg=Markup(inline),
        caption=draft.caption,
        width_px=round(float(draft.figure.get_figwidth()) * 96),
        files=files,
    )


def _saved(figure: Figure, fmt: Format) -> bytes:
    buffer = io.BytesIO()
    if fmt == "png":
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        # Without the alpha channel, which is full everywhere: savefig would compress a third more.
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        image.save(buffer, "png", compress_level=3, dpi=(PNG_DPI, PNG_DPI))
        return buffer.getvalue()
    metadata: dict[str, Any] = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }[fmt]
    figure.savefig(buffer, format=fmt, metadata=metadata)
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

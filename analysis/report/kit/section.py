"""What a subject gives to the report: its section of the page, and its tables as files."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from markupsafe import Markup

from analysis.report.kit.style import Draft
from analysis.report.kit.table import DataTable

LEAST_SCALE = 0.85
PARAGRAPH_PX = 46 * 16  # 46rem in page.css
#: A page is for reading, a file for searching: longer tables continue in their CSV file.
ROWS_SHOWN = 60
#: A longer table is not printed in a paper; the pairs of twenty arms are 190.
LATEX_ROWS = 200

#: Draws one figure, in the look that `drawings.draw_all` sets.
Draw: TypeAlias = Callable[[], Draft]


@dataclass(frozen=True)
class Section:
    """One section of the page: paragraphs, figures, tables and a list, in this order; empty parts are left out.

    `csv` are the tables written as NAME.csv, `latex` those written as tables/NAME.tex.
    """

    anchor: str
    title: str
    paragraphs: tuple[str, ...] = ()
    figures: tuple[Draw, ...] = ()
    tables: tuple[DataTable, ...] = ()
    points: tuple[str, ...] = ()
    csv: tuple[DataTable, ...] = ()
    latex: tuple[DataTable, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing but its title."""
        return not (self.paragraphs or self.figures or self.tables or self.points or self.csv or self.latex)


@dataclass(frozen=True)
class DrawnFigure:
    """A finished figure: its bytes by format, and the drawing for inside the page (our own SVG, already safe)."""

    name: str
    title: str
    svg: Markup
    caption: str
    width_px: int
    files: dict[str, bytes]

    @property
    def least_px(self) -> int:
        """The width below which the page scrolls the figure: its smallest label (8 points) is then 9 pixels high."""
        return math.ceil(LEAST_SCALE * self.width_px)

    @property
    def is_wide(self) -> bool:
        """Whether it needs more than the width of a paragraph."""
        return self.least_px > PARAGRAPH_PX


def with_rows(*tables: DataTable) -> tuple[DataTable, ...]:
    """Those of `tables` that have rows, without their empty columns."""
    return tuple(table.without_empty() for table in tables if table.rows)

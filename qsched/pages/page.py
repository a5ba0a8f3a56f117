"""Render a page from its template, which extends `base.html.j2` and draws tables and figures with `parts.html.j2`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Cell:
    """One cell: its text, a part of it that is never broken over lines, and a CSS class."""

    text: str
    unbroken: str = ""
    css: str = ""


@dataclass(frozen=True)
class Table:
    """Column titles and rows of cells, each row as long as the columns; the first column holds names."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    caption: str = ""
    css: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells in a table of {len(self.columns)} columns: {row}")

    @property
    def cells(self) -> tuple[tuple[Cell, ...], ...]:
        """The rows with every text as a cell."""
        return tuple(tuple(c if isinstance(c, Cell) else Cell(c) for c in row) for row in self.rows)


@dataclass(frozen=True)
class Figure:
    """A drawing of our own as SVG text, and what it shows."""

    svg: str
    caption: str = ""

    @property
    def drawing(self) -> Markup:
        """The SVG as markup: it is ours, and every label in it was escaped when it was drawn."""
        return Markup(self.svg)


def render_page(template: Path, *, filters: Mapping[str, Callable[[str], str]] | None = None, **context: object) -> str:
    """The page as text; a name that the template uses and the context lacks is an error."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, _FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters or {})
    return environment.get_template(template.name).render(context)

"""One table in three formats: HTML cells, CSV and LaTeX (booktabs).

A `DataTable` has values, not text. A missing value is None: an empty cell in CSV, a dash on the page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, cast

from analysis.report.kit.escape import csv_cell, latex_text, visible_text
from analysis.report.kit.numbers import float_texts

Value = str | float | int | bool | None
#: What a cell of RFC 4180 needs quotes for.
_QUOTED = re.compile('[",\r\n]')
Kind = Literal["text", "count", "percent", "number", "p", "seconds", "yes", "bytes"]


@dataclass(frozen=True)
class Column:
    """One column: `name` in CSV, `label` for people, and how its numbers are shown."""

    name: str
    label: str
    kind: Kind = "number"
    digits: int = 2


@dataclass(frozen=True)
class DataTable:
    """A captioned table. The first column names the row; each row has one value per column."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    note: str = ""

    @classmethod
    def of(
        cls, name: str, records: Iterable[object], *, caption: str, columns: tuple[Column, ...], note: str = ""
    ) -> Self:
        """One row per record: its attributes by the names of the columns."""
        rows = tuple(tuple(getattr(record, column.name) for column in columns) for record in records)
        return cls(name, caption, columns, rows, note)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.name}: a row has {len(row)} values for {len(self.columns)} columns")

    def first(self, limit: int, *, file: str) -> DataTable:
        """The first `limit` rows, with a caption that says how many there are and which file has them all."""
        if len(self.rows) <= limit:
            return self
        caption = f"{self.caption}; {limit} of {len(self.rows)} rows, all in {file}"
        return replace(self, caption=caption, rows=self.rows[:limit])

    def without_empty(self) -> DataTable:
        """The table without the columns that are empty in every row (the first column stays)."""
        keep = [i for i in range(len(self.columns)) if i == 0 or any(row[i] is not None for row in self.rows)]
        return replace(
            self,
            columns=tuple(self.columns[i] for i in keep),
            rows=tuple(tuple(row[i] for i in keep) for row in self.rows),
        )

    def shown(self) -> list[list[str]]:
        """The cells as a person reads them."""
        return [[show(value, column) for value, column in zip(row, self.columns, strict=True)] for row in self.rows]


def show(value: Value, column: Column) -> str:
    """`value` in words: percentages with one digit, small p as a bound, None and NaN as a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return visible_text(value)
    match column.kind:
        case "count":
            return f"{value:,.0f}"
        case "percent":
            return percent(value)
        case "p":
            return p_value(value)
        case "bytes":
            return data_size(value)
        case _:
            return signed(value, column.digits)


def signed(value: float, digits: int) -> str:
    """A number with a true minus sign; infinities as a sign; never minus zero."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def percent(share: float) -> str:
    """0.5 -> '50.0 %'."""
    return f"{100 * share:.1f}\u00a0%"


def p_value(p: float) -> str:
    """Three digits, with bounds beyond them: more digits would claim a precision that no p-value has."""
    return "<0.001" if p < 0.001 else ">0.999" if p > 0.999 else f"{p:.3f}"


def p_words(p: float) -> str:
    """A p-value inside a sentence: '= 0.012', '< 0.001'."""
    shown = p_value(p)
    return f"{shown[0]} {shown[1:]}" if shown[0] in "<>" else f"= {shown}"


def data_size(size: float) -> str:
    """Bytes in decimal units, three figures: 1_500_000 -> '1.50 MB'."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            scaled = size / factor
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f}\u00a0{unit}"
    return f"{size:.0f}\u00a0B"


def table_csv(table: DataTable) -> str:
    """RFC 4180 text with full-precision numbers; text cells cannot become formulas.

    Not by csv.writer: before Python 3.13 it leaves a carriage return without quotes.
    """
    lines = [",".join(_csv_texts([column.name for column in table.columns]))]
    lines += map(",".join, zip(*map(_csv_texts, zip(*table.rows, strict=True)), strict=True))
    # Readers skip an empty line, so the empty cell of a table of one column has quotes.
    return "".join(f"{line}\n" if line else '""\n' for line in lines)


def _csv_texts(values: Sequence[Value]) -> list[str]:
    """The cells of one column; None is an empty one."""
    kinds = set(map(type, values))
    if kinds == {float} or kinds == {float, type(None)}:
        return float_texts(cast("Sequence[float | None]", values), missing="")
    if kinds == {str}:
        cells = {text: _csv_text(text) for text in {*values}}
        return [cells[text] for text in values]
    return [_csv_text(value) for value in values]


def _csv_text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    cell = csv_cell(value) if isinstance(value, str) else str(value)
    return '"' + cell.replace('"', '""') + '"' if _QUOTED.search(cell) else cell


def table_latex(table: DataTable) -> str:
    """A floating `table` in booktabs style; needs `\\usepackage{booktabs,textcomp}`."""
    spec = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    head = " & ".join(latex_text(column.label) for column in table.columns)
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{textcomp}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{_latex_number(latex_text(table.caption))}}}",
        f"  \\label{{tab:{table.name}}}",
        f"  \\begin{{tabular}}{{{spec}}}",
        "    \\toprule",
        f"    {_latex_number(head)} \\\\",
        "    \\midrule",
    ]
    for cells in table.shown():
        lines.append("    " + " & ".join(_latex_number(latex_text(cell)) for cell in cells) + " \\\\")
    lines += ["    \\bottomrule", "  \\end{tabular}", "\\end{table}", ""]
    return "\n".join(lines)


def _latex_number(text: str) -> str:
    """The few non-ASCII signs of our own numbers, for a LaTeX without Unicode fonts."""
    pairs = (("\u00a0", "~"), ("−", "$-$"), ("∞", "$\\infty$"), ("–", "--"), ("…", "\\ldots{}"), ("×", "$\\times$"))
    for sign, command in pairs:
        text = text.replace(sign, command)
    return text

"""Write a report into a folder: page, tables, JSON, LaTeX and figures. Each file appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

from analysis.report.document import report_json
from analysis.report.drawings import draw_all
from analysis.report.findings import Findings
from analysis.report.kit.table import table_csv, table_latex
from analysis.report.page import page_context, report_page
from analysis.report.sections import CSV, FIGURES, LATEX, report_sections
from analysis.report.settings import FORMATS
from qsched.files import write_atomic


def write_report(found: Findings, out: Path) -> tuple[Path, ...]:
    """Make all outputs in memory, then write them; returns the paths, the page first."""
    sections = report_sections(found)
    figures = draw_all(sections, fonts=found.fonts, formats=found.settings.formats)
    files: dict[str, bytes] = {
        "report.html": report_page(page_context(found, sections, figures)).encode(),
        "winrates.json": report_json(found).encode(),
    }
    for section in sections:
        files |= {f"{table.name}.csv": table_csv(table).encode() for table in section.csv}
        files |= {f"tables/{table.name}.tex": table_latex(table).encode() for table in section.latex}
        for figure in figures[section.anchor]:
            files |= {f"figures/{figure.name}.{ending}": data for ending, data in figure.files.items()}
    for name, data in files.items():
        write_atomic(out / name, data, parents=True)
    written = tuple(out / name for name in files)
    _remove_stale(out, set(written))
    return written


def _remove_stale(out: Path, written: set[Path]) -> None:
    """Remove what an earlier run left: an old figure next to a new page would be wrong."""
    patterns = [f"{name}.csv" for name in CSV]
    patterns += [f"tables/{name}.tex" for name in LATEX]
    patterns += [f"figures/{name}.{ending}" for name in FIGURES for ending in FORMATS]
    for pattern in patterns:
        for path in out.glob(pattern):
            if path not in written:
                path.unlink()

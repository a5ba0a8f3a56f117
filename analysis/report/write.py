"""Write a report into a folder: page, tables, JSON, LaTeX and figures. Each file appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

from analysis.report.document import report_json
from analysis.report.drawings import draw_all
from analysis.report.findings import Findings
from analysis.report.kit.table import Table, table_csv, table_latex
from analysis.report.page import page_context, render_page
from analysis.report.sections import page_sections
from analysis.report.settings import FORMATS
from analysis.report.subjects.annotators import agreement_table, annotators_table, kappas_table
from analysis.report.subjects.choices import exclusions_table, variants_table
from analysis.report.subjects.covariates import terms_table
from analysis.report.subjects.pairs import contrasts_csv_table, contrasts_table, raw_table, winrates_csv_table
from analysis.report.subjects.strata import strata_contrasts_table, strata_table
from analysis.report.subjects.strengths import strengths_csv_table, strengths_table
from qsched.files import write_atomic

# What an earlier run may have left in the folder. A stale figure beside a new page would be a lie.
FIGURES = ("strengths", "winrates", "elo-size", "by-*", "session", "annotators", "influence")
LATEX = ("winrates", "exclusions", "strengths", "contrasts", "agreement")
CSV = (
    "winrates",
    "strengths",
    "contrasts",
    "exclusions",
    "annotators",
    "strata",
    "strata-contrasts",
    "covariates",
    "sensitivity",
    "kappas",
)


def write_report(found: Findings, out: Path) -> tuple[Path, ...]:
    """Make all outputs in memory, then write them; returns the paths, the page first."""
    drawings = draw_all(found)
    context = page_context(found, page_sections(found, drawings))
    files: dict[str, bytes] = {"report.html": render_page(context).encode()}
    files["winrates.json"] = report_json(found).encode()
    for name, table in _csv_tables(found).items():
        files[f"{name}.csv"] = table_csv(table).encode()
    for name, table in _latex_tables(found).items():
        files[f"tables/{name}.tex"] = table_latex(table).encode()
    for drawing in drawings.values():
        for ending, data in drawing.files.items():
            files[f"figures/{drawing.name}.{ending}"] = data
    written = tuple(_write(out / name, data) for name, data in files.items())
    _remove_stale(out, set(written))
    return written


def _remove_stale(out: Path, written: set[Path]) -> None:
    patterns = [f"{name}.csv" for name in CSV]
    patterns += [f"tables/{name}.tex" for name in LATEX]
    patterns += [f"figures/{name}.{ending}" for name in FIGURES for ending in FORMATS]
    for pattern in patterns:
        for path in out.glob(pattern):
            if path not in written:
                path.unlink()


def _csv_tables(found: Findings) -> dict[str, Table]:
    listed = {
        "winrates": winrates_csv_table(found),
        "strengths": strengths_csv_table(found.estimate),
        "exclusions": exclusions_table(found),
    }
    if found.estimate is not None:
        listed["contrasts"] = contrasts_csv_table(found.estimate)
    if found.annotators:
        listed["annotators"] = annotators_table(found, limit=None)
    if found.strata:
        listed["strata"] = strata_table(found)
    if found.strata_contrasts:
        listed["strata-contrasts"] = strata_contrasts_table(found, limit=None)
    if found.adjusted is not None and found.adjusted.fit is not None:
        listed["covariates"] = terms_table(found.adjusted.fit)
    if found.variants:
        listed["sensitivity"] = variants_table(found)
    if found.agreement is not None and found.agreement.kappas:
        listed["kappas"] = kappas_table(found)
    return listed


def _latex_tables(found: Findings) -> dict[str, Table]:
    listed = {"winrates": raw_table(found), "exclusions": exclusions_table(found)}
    if found.estimate is not None:
        listed["strengths"] = strengths_table(found.estimate)
        listed["contrasts"] = contrasts_table(found.estimate)
    if found.agreement is not None:
        listed["agreement"] = agreement_table(found)
    return listed


def _write(path: Path, data: bytes) -> Path:
    write_atomic(path, data, parents=True)
    return path

"""The same votes and seed give the same bytes; another seed does not."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from analysis.report import find, write_report
from analysis.report.sections import CSV, FIGURES, LATEX, report_sections
from analysis.votes import read_votes
from tests.analysis.report.conftest import Report


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_bytes_in_every_file(report: Report, tmp_path: Path) -> None:
    votes = read_votes(report.folder.parent / "votes.parquet")
    settings = replace(report.found.settings, formats=("svg", "png", "pdf"))
    for name in ("one", "two"):
        write_report(find(votes, settings), tmp_path / name)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert {Path(name).suffix for name in one} == {".html", ".json", ".csv", ".tex", ".svg", ".png", ".pdf"}
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


def test_another_seed_changes_the_intervals_and_not_the_estimate(report: Report) -> None:
    votes = read_votes(report.folder.parent / "votes.parquet")
    settings = report.found.settings
    other = find(votes, replace(settings, estimate=replace(settings.estimate, seed=99)))
    assert other.estimate is not None and report.found.estimate is not None
    pairs = list(zip(other.estimate.strengths, report.found.estimate.strengths, strict=True))
    assert all(a.log_strength == b.log_strength for a, b in pairs)
    assert any(a.low != b.low for a, b in pairs)


def test_a_second_run_leaves_no_stale_figure_or_table(report: Report, tmp_path: Path) -> None:
    write_report(report.found, tmp_path)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert (tmp_path / "figures" / "by-category.svg").exists() and (tmp_path / "strata.csv").exists()
    write_report(replace(report.found, strata=None), tmp_path)
    assert not (tmp_path / "figures" / "by-category.svg").exists() and not (tmp_path / "strata.csv").exists()
    assert (tmp_path / "notes.txt").exists()


def test_every_file_that_a_report_writes_is_in_the_list_of_those_that_the_next_run_removes(report: Report) -> None:
    sections = report_sections(report.found)
    assert {table.name for section in sections for table in section.csv} <= set(CSV)
    assert {table.name for section in sections for table in section.latex} <= set(LATEX)
    drawn = {path.stem for path in (report.folder / "figures").iterdir()}
    assert len(drawn) == len(FIGURES)
    assert all(any(fnmatch(name, pattern) for pattern in FIGURES) for name in drawn)

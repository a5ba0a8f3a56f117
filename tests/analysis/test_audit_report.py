"""The audit's comparison of a report with the one that was made again: by bytes, or by numbers across versions."""

from __future__ import annotations

import json

from analysis.auditing.recompute import compare_reports


def report(*, rate: float = 0.58125, votes: int = 80, numpy: str = "2.4.6", page: str = "one") -> dict[str, bytes]:
    found = {"n_votes": votes, "pairwise": [{"win_rate": rate}], "versions": {"python": "3.12.1", "numpy": numpy}}
    return {
        "winrates.json": json.dumps(found).encode(),
        "winrates.csv": f"arm,votes,rate\na,{votes},{rate!r}\n".encode(),
        "report.html": page.encode(),
    }


def test_with_the_same_versions_every_byte_counts() -> None:
    assert compare_reports(report(), report()).problems == []
    (problem,) = compare_reports(report(page="forged"), report()).problems
    assert problem == "the plan makes another report of these votes: 1 file changed, first report.html"


def test_with_other_versions_numbers_count_and_pages_are_named() -> None:
    here = report(numpy="2.5.0", page="two", rate=0.58125 + 1e-9)
    found = compare_reports(report(), here)
    assert found.problems == []
    assert found.not_compared is not None
    assert "1 page or figure of the report, which was made with numpy 2.4.6 (here 2.5.0)" in found.not_compared
    for forged, place in ((report(rate=0.5813), "1.2"), (report(votes=81), "1.1")):
        (problem,) = compare_reports(forged, here).problems
        assert f"2 values changed, first {place} of winrates.csv" in problem
        assert "made with numpy 2.4.6 (here 2.5.0): install the same" in problem


def test_a_table_that_is_missing_or_broken_is_a_problem_across_versions() -> None:
    here = report(numpy="2.5.0")
    lacking = {name: content for name, content in report().items() if name != "winrates.csv"}
    assert "winrates.csv, which only one of them has" in compare_reports(lacking, here).problems[0]
    broken = {**report(), "winrates.csv": b"\xff"}
    assert "winrates.csv, which cannot be read" in compare_reports(broken, here).problems[0]
    without = {**report(), "winrates.json": b"{}"}
    assert "file" in compare_reports(without, here).problems[0], "no versions are stated, so every byte counts"

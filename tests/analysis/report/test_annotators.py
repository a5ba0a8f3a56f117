"""The section on annotators: what grows with the square of their number is left out and named."""

from __future__ import annotations

import pytest

from analysis.report.sections import report_sections
from analysis.report.subjects import annotators
from tests.analysis.report.conftest import Report


def test_a_table_of_very_many_kappas_is_not_written_and_the_page_says_so(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "kappas" in {table.name for section in report_sections(report.found) for table in section.csv}
    monkeypatch.setattr(annotators, "KAPPAS_WRITTEN", 5)
    sections = report_sections(report.found)
    assert "kappas" not in {table.name for section in sections for table in section.csv}
    (agreement,) = (section for section in sections if section.anchor == "agreement")
    assert any("kappas.csv is not written" in text for text in agreement.paragraphs)


def test_the_json_document_has_the_mean_kappa_and_no_row_for_each_pair(report: Report) -> None:
    agreed = report.document["agreement"]
    assert agreed["mean_kappa"] is not None and "kappas" not in agreed

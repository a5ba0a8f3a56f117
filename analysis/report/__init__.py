"""Tables, figures, page and words: findings from the votes, then every output of one report."""

from __future__ import annotations

from analysis.report.document import SCHEMA_PATH, SCHEMA_VERSION, report_document, report_json
from analysis.report.findings import Findings, find
from analysis.report.settings import FORMATS, STRATA, ReportSettings
from analysis.report.write import write_report

__all__ = [
    "FORMATS",
    "SCHEMA_PATH",
    "SCHEMA_VERSION",
    "STRATA",
    "Findings",
    "ReportSettings",
    "find",
    "report_document",
    "report_json",
    "write_report",
]

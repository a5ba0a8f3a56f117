"""Votes out of the database: the votes table, row for row."""

from __future__ import annotations

from study_server.export.votes import ExportSummary, export_votes

__all__ = ["ExportSummary", "export_votes"]

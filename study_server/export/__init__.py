"""Votes out of the database, row for row: the votes table, or the triplets table of a fidelity study."""

from __future__ import annotations

from study_server.export.triplets import export_content, export_triplets, is_fidelity
from study_server.export.votes import GENTLE, ExportSummary, export_votes

__all__ = ["GENTLE", "ExportSummary", "export_content", "export_triplets", "export_votes", "is_fidelity"]

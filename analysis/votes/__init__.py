"""Votes in: read and check files or a database, choose a question, exclude with every row counted."""

from __future__ import annotations

from analysis.votes.exclude import ExclusionReport, ExclusionRow, ExclusionRules, exclude
from analysis.votes.layouts import Asked, parse_map, parse_outcomes
from analysis.votes.read import read_votes
from analysis.votes.screened import screened_frame
from analysis.votes.sources import open_source
from analysis.votes.table import VotesTable

__all__ = [
    "Asked",
    "ExclusionReport",
    "ExclusionRow",
    "ExclusionRules",
    "VotesTable",
    "exclude",
    "open_source",
    "parse_map",
    "parse_outcomes",
    "read_votes",
    "screened_frame",
]

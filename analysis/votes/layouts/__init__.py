"""Votes in the columns of other tools: what a file's columns mean, and the same votes in our own columns.

`understand` says how a file is read (or asks); `reshape` does it. A file with our columns or arena-style ones needs
neither.
"""

from __future__ import annotations

from analysis.votes.layouts.asked import Asked, parse_map, parse_outcomes
from analysis.votes.layouts.layout import VotesLayout, has_shape, understand
from analysis.votes.layouts.reshape import reshape

__all__ = ["Asked", "VotesLayout", "has_shape", "parse_map", "parse_outcomes", "reshape", "understand"]

"""Rankings as votes: one row for every two pictures of a set, the one that lay first on the left.

The rows of one ranking share session, pair_id (the set's), question and times. They depend on each other; the analysis
takes the votes of one person on one prompt as one cluster, as it always does.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from qsched.records import Choice
from qsched.records.rankings import LAST, votes_of_ranking

_ARMS = ("first_arm", "second_arm", "third_arm", "fourth_arm")


def pairs_of_rankings(votes: pl.DataFrame) -> pl.DataFrame:
    """The rows of `votes` (export.votes) that are rankings, taken apart; a skipped set is one row, of the first two."""
    rows: list[dict[str, Any]] = []
    for row in votes.iter_rows(named=True):
        rows += _pairs(row) if row["places"] and row["choice"] != Choice.SKIP else [_skipped(row)]
    return pl.DataFrame(rows, schema=votes.schema, orient="row")


def _pairs(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            **row,
            "first_arm": row[_ARMS[i]],
            "second_arm": row[_ARMS[j]],
            "first_on_left": i_left,
            "choice": answer.value,
            "expected": expected,
        }
        for i, j, i_left, answer, expected in votes_of_ranking(row["choice"], row["places"], row["expected"])
    ]


def _skipped(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "expected": None if (row["expected"] or "").startswith(LAST) else row["expected"]}

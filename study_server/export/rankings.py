"""Rankings as votes: one row for every two pictures of a set, the one that lay first on the left.

The rows of one ranking share session, pair_id (the set's), question and times. They depend on each other; the analysis
takes the votes of one person on one prompt as one cluster, as it always does.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from qsched.records import Choice
from qsched.records.rankings import LAST, NUMBERS, ranking_pairs, read_ranking

_ARMS = ("first_arm", "second_arm", "third_arm", "fourth_arm")


def pairs_of_rankings(votes: pl.DataFrame) -> pl.DataFrame:
    """The rows of `votes` (export.votes) that are rankings, taken apart; a skipped set is one row, of the first two."""
    rows: list[dict[str, Any]] = []
    for row in votes.iter_rows(named=True):
        rows += _pairs(row) if row["places"] and row["choice"] != Choice.SKIP else [_skipped(row)]
    return pl.DataFrame(rows, schema=votes.schema, orient="row")


def _pairs(row: dict[str, Any]) -> list[dict[str, Any]]:
    lay: str = row["places"]
    found = []
    for i, j, choice in ranking_pairs(read_ranking(row["choice"], NUMBERS[: len(lay)])):
        i_left = lay.index(NUMBERS[i]) < lay.index(NUMBERS[j])
        answer = choice if i_left or choice is Choice.TIE else _other(choice)
        found.append(
            {
                **row,
                "first_arm": row[_ARMS[i]],
                "second_arm": row[_ARMS[j]],
                "first_on_left": i_left,
                "choice": answer.value,
                "expected": _expected(row["expected"], i, j, i_left=i_left),
            }
        )
    return found


def _skipped(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "expected": None if (row["expected"] or "").startswith(LAST) else row["expected"]}


def _expected(known: str | None, i: int, j: int, *, i_left: bool) -> str | None:
    """Which side is known to be better: that of the picture that is not the worst one."""
    if known is None:
        return None
    worst = int(known.removeprefix(LAST))
    if worst not in (i, j):
        return None
    return (Choice.RIGHT if (worst == i) == i_left else Choice.LEFT).value


def _other(choice: Choice) -> Choice:
    return Choice.RIGHT if choice is Choice.LEFT else Choice.LEFT

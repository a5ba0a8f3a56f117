"""Which answers to gold and instructed items are judged, and which of them are right."""

from __future__ import annotations

import polars as pl


def known_answers(frame: pl.DataFrame, kind: str, *, gold_ties_wrong: bool) -> pl.DataFrame:
    """Per annotator `n` answers of this kind that are judged and `ok` that are right; needs column `expected`.

    An item without a known answer to a row's question is not judged there. Neither is a tie on a gold item with a
    better picture, unless `gold_ties_wrong`: who sees no difference has not chosen the worse one. If the answer is
    a tie, only a tie is right. An instructed item has no such excuse.
    """
    choice, expected = pl.col("choice").cast(pl.String), pl.col("expected").cast(pl.String)
    judged = (pl.col("kind") == kind) & expected.is_not_null() & (expected != "")
    if kind == "gold" and not gold_ties_wrong:
        judged &= (choice != "tie") | (expected == "tie")
    return (
        frame.filter(judged)
        .group_by("annotator")
        .agg(pl.len().cast(pl.Int64).alias("n"), (choice == expected).sum().cast(pl.Int64).alias("ok"))
    )

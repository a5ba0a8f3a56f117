"""Arena-style votes (`model_a, model_b, winner, judge`) in the columns of our own table.

`model_a` is taken as the left side. "Both are bad" is a tie, marked in `both_bad`.
"""

from __future__ import annotations

import polars as pl

from analysis.votes.check import cast_column
from analysis.votes.coded import is_any_of, mapped

REQUIRED = ("model_a", "model_b", "winner")

#: Words for a winner, and ours for each.
WINNERS: dict[str, str] = {
    "model_a": "left",
    "model_b": "right",
    "tie": "tie",
    "tie (bothbad)": "tie",
    "tie (both bad)": "tie",
    "bothbad": "tie",
    "both_bad": "tie",
    "both bad": "tie",
    "skip": "skip",
}
BOTH_BAD = tuple(word for word in WINNERS if "bad" in word)

#: Our column: the arena columns that may hold it, the first one present is used. With `choice` and `both_bad`, which
#: `rename_arena` makes, every column of the table is here: what a file offers is kept and checked.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "left_arm": ("model_a",),
    "right_arm": ("model_b",),
    "annotator": ("annotator", "judge", "user_id", "judge_id"),
    "prompt_id": ("prompt_id", "prompt", "question_id"),
    "pair_id": ("pair_id", "question_id"),
    "category": ("category",),
    "session": ("session", "session_id"),
    "served_at": ("served_at",),
    "answered_at": ("answered_at", "tstamp"),
    "response_ms": ("response_ms",),
    "study": ("study",),
    "question": ("question",),
    "kind": ("kind",),
    "expected": ("expected",),
    "simulated": ("simulated",),
    "sample_index": ("sample_index",),
    "doubt": ("doubt",),
    "anony": ("anony",),
}


def columns_of(columns: tuple[str, ...]) -> dict[str, str]:
    """Our names of the columns that are there, with theirs."""
    found = {ours: next((name for name in names if name in columns), None) for ours, names in SYNONYMS.items()}
    return {ours: theirs for ours, theirs in (*found.items(), ("choice", "winner")) if theirs is not None}


def without_other_times(rows: pl.LazyFrame, columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns, with `tstamp` only if it has times: many arena files have seconds there, from an unknown date."""
    if "tstamp" not in columns or "answered_at" in columns:
        return columns
    dtype = rows.collect_schema()["tstamp"]
    if isinstance(dtype, (pl.Datetime, pl.Date)):
        return columns
    if dtype == pl.String:
        # The first value decides the format; a later one in another format is then a wrong value, with its row.
        first = rows.select(pl.col("tstamp").filter(pl.col("tstamp") != "").first()).collect()
        if first.select(cast_column("answered_at", dtype, theirs="tstamp")).item() is not None:
            return columns
    return tuple(column for column in columns if column != "tstamp")


def rename_arena(rows: pl.DataFrame, columns: tuple[str, ...], *, keep: tuple[str, ...] = ()) -> pl.DataFrame:
    """Our column names; an unknown winner stays as it is, so that it can be shown. Columns of `keep` stay too."""
    renamed = [
        (mapped(rows[theirs], WINNERS) if ours in ("choice", "expected") else rows[theirs]).alias(ours)
        for ours, theirs in columns_of(columns).items()
    ]
    both_bad = is_any_of(rows["winner"], BOTH_BAD).fill_null(False).alias("both_bad")
    if "both_bad" in columns:
        given = rows["both_bad"].cast(pl.String)
        both_bad = pl.select(pl.when(both_bad).then(pl.lit("true")).otherwise(given).alias("both_bad")).to_series()
    fixed = {name: value for name, value in (("study", "arena"), ("question", "winner")) if name not in columns}
    frame = pl.DataFrame([rows["row"], *renamed, both_bad, *(rows[name] for name in keep)])
    return frame.with_columns(pl.lit(value).cast(pl.Categorical).alias(name) for name, value in fixed.items())

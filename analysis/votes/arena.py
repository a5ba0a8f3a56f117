"""Arena-style votes (`model_a, model_b, winner, judge`) in the columns of our own table.

`model_a` is taken to lie on the left. "Both are bad" is a tie that `both_bad` remembers.
"""

from __future__ import annotations

import polars as pl

REQUIRED = ("model_a", "model_b", "winner")

#: What a winner may be called, and our word for it.
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

#: Our column: the arena columns that may hold it, the first one present is used.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "left_arm": ("model_a",),
    "right_arm": ("model_b",),
    "annotator": ("annotator", "judge", "user_id", "judge_id"),
    "prompt_id": ("prompt_id", "prompt", "question_id"),
    "pair_id": ("pair_id", "question_id"),
    "category": ("category",),
    "session": ("session", "session_id"),
    "response_ms": ("response_ms",),
    "study": ("study",),
    "question": ("question",),
    "simulated": ("simulated",),
}


def columns_of(columns: tuple[str, ...]) -> dict[str, str]:
    """Our names of the columns that are there, with theirs."""
    found = {ours: next((name for name in names if name in columns), None) for ours, names in SYNONYMS.items()}
    return {ours: theirs for ours, theirs in (*found.items(), ("choice", "winner")) if theirs is not None}


def rename_arena(rows: pl.LazyFrame, columns: tuple[str, ...], *, keep: tuple[str, ...] = ()) -> pl.LazyFrame:
    """Our column names; an unknown winner stays as it is, so that it can be shown. Columns of `keep` stay too."""
    chosen = [pl.col(theirs).alias(ours) for ours, theirs in columns_of(columns).items() if ours != "choice"]
    winner = pl.col("winner").cast(pl.String)
    choice = winner.replace_strict(WINNERS, default=winner, return_dtype=pl.String).alias("choice")
    both_bad = winner.is_in(BOTH_BAD).fill_null(False).alias("both_bad")
    fixed = [
        pl.lit(value).alias(name) for name, value in (("study", "arena"), ("question", "winner")) if name not in columns
    ]
    return rows.select("row", *chosen, *fixed, choice, both_bad, *keep)

"""Rows that stand for several votes: a column of counts is used on request, and never ignored silently."""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.votes.sources import ROW, Source
from analysis.votes.table import SCHEMA
from qsched.records import InputError, RowError

#: Names that other tools give to a column with the number of votes of a row, in lower case.
NAMES = ("weight", "weights", "count", "counts", "n", "n_votes", "freq", "frequency")
#: `--weights none`: count every row once, whatever such a column has.
NONE = "none"
#: Each vote becomes a row in memory.
MOST_VOTES = 100_000_000


def check_weights(source: Source, asked: str | None) -> None:
    """InputError if the column `asked` is not there, or if there is a column of counts and nothing was asked."""
    if asked == NONE:
        return
    if asked is not None:
        if asked in SCHEMA or asked not in source.columns:
            known = ", ".join(name for name in source.columns if name not in SCHEMA) or "none"
            raise InputError(f"--weights {asked}: {source.name} has no such column of counts. Other columns: {known}.")
        return
    for name in source.columns:
        numbers = _numbers(source, name) if name.lower() in NAMES else None
        if numbers is not None and (numbers != 1).any():
            raise InputError(
                f"{source.name} has a column {name!r} that adds up to {numbers.sum():,.12g} in {len(numbers):,} rows. "
                f"If it is the number of votes of each row, add --weights {name}; to count each row as one vote, add "
                f"--weights {NONE}."
            )


def _numbers(source: Source, name: str) -> pl.Series | None:
    """The column, if every value is a number."""
    given = source.read([name])[name]
    if given.dtype.is_nested():
        return None
    numbers = given.cast(pl.String).cast(pl.Float64, strict=False)
    return None if numbers.null_count() else numbers


def expand(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """One row for each vote: a row with the weight 3 three times, one with the weight 0 not at all."""
    given = frame[column]
    numbers = given.cast(pl.String).cast(pl.Float64, strict=False)
    whole = (numbers.is_finite() & (numbers == numbers.round()) & (numbers >= 0)).fill_null(False)
    if not whole.all():
        source, row, value = frame.filter(~whole).select("source", ROW, column).row(0)
        raise RowError(
            source,
            row,
            f"{column} is {value!r}; with --weights it must be a whole number of votes, 0 or more. "
            "Correct the row, or leave it out.",
        )
    total = float(numbers.sum())
    if total > MOST_VOTES:
        raise InputError(f"--weights {column}: {total:,.0f} votes; at most {MOST_VOTES:,} can be analysed.")
    times = numbers.cast(pl.Int64).to_numpy()
    return frame.drop(column)[np.repeat(np.arange(frame.height), times)]

"""Columns outside the contract that a covariate needs: which ones, and whether they hold text or numbers.

A covariate NAME is a column NAME with one value for each vote, or two columns NAME_left and NAME_right (arena-style:
NAME_a and NAME_b) with one value for each of the two pictures or answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.votes.table import SCHEMA
from qsched.records import InputError

SIDES = (("_left", "_right"), ("_a", "_b"))
#: The model explains these; they cannot explain themselves.
_REFUSED = ("left_arm", "right_arm", "choice", "expected", "winner", "model_a", "model_b", "source", "row")


def covariate_columns(name: str, columns: Sequence[str], *, source: str) -> tuple[str, ...]:
    """(NAME,) or (NAME_left, NAME_right) as they are called in `columns`; InputError if neither is there."""
    if name in _REFUSED:
        raise InputError(f"--covariate {name}: this column is what the model explains. Name another one.")
    if name in columns:
        return (name,)
    for left, right in SIDES:
        if name + left in columns and name + right in columns:
            return (name + left, name + right)
    raise InputError(
        f"--covariate {name}: {source} has neither a column {name!r} nor {name}_left and {name}_right; "
        f"it has {', '.join(columns)}."
    )


def extra_columns(names: Sequence[str], columns: Sequence[str], *, source: str) -> tuple[str, ...]:
    """The columns that the covariates need and the contract does not have."""
    found = (
        column
        for name in names
        if name not in SCHEMA
        for column in covariate_columns(name, columns, source=source)
        if column not in SCHEMA
    )
    return tuple(dict.fromkeys(found))


def number_or_text(series: pl.Series) -> pl.Series:
    """Numbers if every value is one, else text; empty text is a missing value."""
    text = series.cast(pl.String)
    text = text.set(text == "", None)
    numbers = text.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == text.null_count() else text

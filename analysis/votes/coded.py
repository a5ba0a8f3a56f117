"""Text columns as codes: the sorted distinct values, and each row's index among them; no string is made per row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from qsched.records import InputError

IntArray = NDArray[np.int64]
#: Rows in which the values of a column are looked for first.
_HEAD = 4096
#: So many values or fewer are looked for one by one.
_FEW = 4
#: Sorted distinct values, and each row's index among them.
Coded: TypeAlias = tuple[tuple[str, ...], IntArray]


def codes(series: pl.Series) -> Coded:
    """The codes of a text column; InputError if a value is empty."""
    refuse_empty(series)
    if len(series) == 0:
        return (), np.zeros(0, dtype=np.int64)
    coded = _categories(series)
    physical = coded.to_physical().to_numpy()
    present, rows = _a_row_of_each(physical)
    labels = coded.gather(rows).cast(pl.String).to_list()
    order = sorted(range(len(labels)), key=labels.__getitem__)
    lookup = np.full(int(present.max()) + 1, -1, dtype=np.int64)
    lookup[present[order]] = np.arange(len(order))
    return tuple(labels[place] for place in order), lookup.take(physical)


def distinct(series: pl.Series) -> pl.Series:
    """The distinct texts of a categorical column, in no order and without nulls; by code, not by hashing rows."""
    given = series.drop_nulls() if series.null_count() else series
    if len(given) == 0:
        return pl.Series(series.name, [], dtype=pl.String)
    _, rows = _a_row_of_each(given.to_physical().to_numpy())
    return given.gather(rows).cast(pl.String)


def _a_row_of_each(physical: NDArray[np.integer]) -> tuple[IntArray, IntArray]:
    """The codes that occur, and a row of each."""
    head, first = np.unique(physical[:_HEAD], return_index=True)
    # Comparing a whole column with one value takes a tenth of the time of counting all its values.
    if len(head) <= _FEW and sum(np.count_nonzero(physical == code) for code in head) == len(physical):
        return head.astype(np.int64), first.astype(np.int64)
    present = np.flatnonzero(np.bincount(physical))
    row = np.zeros(int(present[-1]) + 1, dtype=np.uint32)
    # The first rows have all the codes of a column with few values.
    for part in (physical[:_HEAD], physical):
        row[part] = np.arange(len(part), dtype=np.uint32)
        rows = row[present].astype(np.int64)
        if (physical[rows] == present).all():
            break
    return present, rows


def mapped(series: pl.Series, names: Mapping[str, str]) -> pl.Series:
    """A text column as categories, with some values called otherwise; two values may get one name."""
    return _of_each_value(series, lambda value: names.get(value, value), pl.Categorical())


def is_any_of(series: pl.Series, words: Collection[str]) -> pl.Series:
    """Whether each text is one of `words`; null for null."""
    return _of_each_value(series, lambda value: value in words, pl.Boolean())


def _of_each_value(series: pl.Series, answer: Callable[[str], object], dtype: pl.DataType) -> pl.Series:
    """`answer` of each row's text, asked once for each distinct text."""
    coded = _categories(series)
    given = coded.drop_nulls() if coded.null_count() else coded
    if len(given) == 0:
        return pl.Series(series.name, [None] * len(series), dtype=dtype)
    present, rows = _a_row_of_each(given.to_physical().to_numpy())
    answers: list[object] = [None] * (int(present.max()) + 1)
    for code, value in zip(present.tolist(), given.gather(rows).cast(pl.String).to_list(), strict=True):
        answers[code] = answer(value)
    return pl.Series(series.name, answers, dtype=dtype).gather(coded.to_physical())


def _categories(series: pl.Series) -> pl.Series:
    return series if series.dtype == pl.Categorical else series.cast(pl.String).cast(pl.Categorical)


def refuse_empty(series: pl.Series) -> None:
    """InputError if a row has no value."""
    if series.null_count():
        raise InputError(f"Column {series.name!r} has {series.null_count()} empty values; every vote needs one.")

"""Text columns as codes: the sorted distinct values, and each row's index among them, without a string a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from qsched.records import InputError, MissingExtraError

if TYPE_CHECKING:
    import pyarrow

IntArray = NDArray[np.int64]
#: Sorted distinct values, and each row's index among them.
Coded: TypeAlias = tuple[tuple[str, ...], IntArray]


def codes(series: pl.Series) -> Coded:
    """The codes of a text column; InputError where a value is empty."""
    _refuse_empty(series.name, series.null_count())
    if len(series) == 0:
        return (), np.zeros(0, dtype=np.int64)
    coded = series if series.dtype == pl.Categorical else series.cast(pl.String).cast(pl.Categorical)
    physical = coded.to_physical().to_numpy()
    present, rows = _a_row_of_each(physical)
    values = np.full(int(physical.max()) + 1, None, dtype=object)
    values[present] = coded.gather(rows).cast(pl.String).to_list()
    return _in_order(values.tolist(), physical)


def distinct(series: pl.Series) -> pl.Series:
    """The distinct texts of a categorical column, in no order and without nulls; by code, not by hashing rows."""
    given = series.drop_nulls()
    if len(given) == 0:
        return pl.Series(series.name, [], dtype=pl.String)
    _, rows = _a_row_of_each(given.to_physical().to_numpy())
    return given.gather(rows).cast(pl.String)


def codes_of_parquet(path: Path, columns: Sequence[str]) -> dict[str, Coded]:
    """The codes of text columns of a parquet file, which mostly keeps them as such: nothing is hashed row by row.

    Raises InputError where a value is empty or has blanks around it, or the file cannot be read.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingExtraError("pyarrow", "analysis") from error
    try:
        with ParquetFile(path, read_dictionary=list(columns)) as file:
            table = file.read(columns=list(columns))
        coded = {name: _codes_of_arrow(name, table.column(name)) for name in columns}
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    for name, (labels, _) in coded.items():
        padded = next((label for label in labels if label != label.strip()), None)
        if padded is not None:
            raise InputError(f"{path}: {name} is {padded!r}; it has blanks around it; remove them.")
    return coded


def _a_row_of_each(physical: NDArray[np.integer]) -> tuple[IntArray, IntArray]:
    """The codes that occur, and a row of each: whichever comes last."""
    row = np.zeros(int(physical.max()) + 1, dtype=np.uint32)
    row[physical] = np.arange(len(physical), dtype=np.uint32)
    present = np.flatnonzero(physical[row] == np.arange(len(row)))
    return present, row[present].astype(np.int64)


def relabel(coded: Coded, names: Mapping[str, str]) -> Coded:
    """The same column with some values called otherwise; two values may get one name."""
    labels, code = coded
    return _in_order([names.get(label, label) for label in labels], code)


def join_codes(parts: Sequence[Coded]) -> Coded:
    """One column below the other."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(labels) for labels, _ in parts)])
    values = [label for labels, _ in parts for label in labels]
    return _in_order(values, np.concatenate([code + start for (_, code), start in zip(parts, starts, strict=False)]))


def _codes_of_arrow(name: str, column: pyarrow.ChunkedArray) -> Coded:
    import pyarrow
    from pyarrow.compute import array_sort_indices

    if pyarrow.types.is_floating(column.type):
        # 1.0 is the name 1, as `cast_column` has it; what is not whole is an error here.
        column = column.cast(pyarrow.int64())
    if pyarrow.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    if not pyarrow.types.is_dictionary(column.type) or not _is_plain(column):
        column = column.cast(pyarrow.string()).dictionary_encode().unify_dictionaries()
    _refuse_empty(name, column.null_count)
    if not len(column):
        return (), np.zeros(0, dtype=np.int64)
    # DLPack and a list, because `to_numpy` and `pyarrow.array` would import pandas, a quarter of a second.
    physical = np.concatenate([np.from_dlpack(chunk.indices) for chunk in column.chunks]).astype(np.int64, copy=False)
    values = column.chunk(0).dictionary.cast(pyarrow.string())
    used = np.bincount(physical, minlength=len(values)) > 0
    # The order of UTF-8 bytes is that of code points, so this is Python's order of the strings.
    order = np.from_dlpack(array_sort_indices(values))
    order = order[used[order]]
    lookup = np.full(len(values), -1, dtype=np.int64)
    lookup[order] = np.arange(len(order))
    labels = values.to_pylist()
    return tuple(labels[place] for place in order.tolist()), lookup[physical]


def _is_plain(column: pyarrow.ChunkedArray) -> bool:
    """Whether each value of the dictionary is there once and none is empty, as a writer should leave it."""
    from pyarrow.compute import count_distinct

    if column.num_chunks == 0:
        return True
    values = column.chunk(0).dictionary
    return bool(values.null_count == 0 and count_distinct(values).as_py() == len(values))


def _in_order(values: Sequence[str | None], physical: NDArray[np.integer]) -> Coded:
    """Codes by sorted value from codes by any list of values: some may be unused or equal, and None if unused."""
    used = np.flatnonzero(np.bincount(physical, minlength=len(values))).tolist()
    labels = sorted({str(values[i]) for i in used})
    place = {label: index for index, label in enumerate(labels)}
    lookup = np.full(len(values), -1, dtype=np.int64)
    lookup[used] = [place[str(values[i])] for i in used]
    return tuple(labels), lookup[physical]


def _refuse_empty(name: str, n: int) -> None:
    if n:
        raise InputError(f"Column {name!r} has {n} empty values; every vote needs one.")

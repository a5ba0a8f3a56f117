"""Columns of numbers as texts are the same, character by character, as one number after the other."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analysis.report.document import _indented
from analysis.report.kit.escape import csv_cell
from analysis.report.kit.numbers import SHORT_COLUMN, float_texts
from analysis.report.kit.table import Column, DataTable, table_csv

FLOATS = st.floats(allow_nan=True, allow_infinity=True)
#: Where polars and Python write the same digits in another form, and their neighbours.
EDGES = [
    0.0,
    -0.0,
    1e-4,
    math.nextafter(1e-4, 0),
    1e16,
    math.nextafter(1e16, 0),
    5e-324,
    -1e22,
    0.1,
    1.0,
    1e-7,
    -2.5e-5,
]
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8)


@given(st.lists(FLOATS | st.none(), min_size=1, max_size=30))
@example(EDGES)
def test_a_long_column_of_floats_reads_as_repr_does(values: list[float | None]) -> None:
    column = values * (SHORT_COLUMN // len(values) + 1)
    assert float_texts(column, missing="-") == ["-" if value is None else repr(value) for value in column]
    assert float_texts(values, missing="-") == ["-" if value is None else repr(value) for value in values]


@given(
    st.lists(
        st.tuples(FLOATS, FLOATS | st.none(), TEXTS, st.integers() | FLOATS | st.booleans() | st.none() | TEXTS),
        min_size=1,
        max_size=8,
    )
)
@example([(1.0, None, 'a, "b"\n', "=1+1")])
def test_a_table_is_written_as_by_the_csv_module(rows: list[tuple[object, ...]]) -> None:
    table = tuple(rows * SHORT_COLUMN)
    columns = tuple(Column(name, "") for name in ("one", "two, three", "text", "any"))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for row in table:
        writer.writerow([_as_before(value) for value in row])
    assert table_csv(DataTable("t", "", columns, table)) == buffer.getvalue()  # type: ignore[arg-type]


def _as_before(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return csv_cell(value) if isinstance(value, str) else value


def test_a_carriage_return_in_a_cell_is_quoted() -> None:
    table = DataTable("t", "", (Column("a", ""), Column("b", "")), (("x\ry", 1),))
    assert list(csv.reader(io.StringIO(table_csv(table), newline=""))) == [["a", "b"], ["x\ry", "1"]]


def test_an_empty_cell_of_the_only_column_is_a_row_too() -> None:
    text = table_csv(DataTable("t", "", (Column("a", ""),), ((1.5,), (None,), ("",))))
    assert list(csv.reader(io.StringIO(text))) == [["a"], ["1.5"], [""], [""]]


FINITE = st.floats(allow_nan=False, allow_infinity=False)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "a %s": FINITE,
            "b": FINITE | st.none(),
            "c": st.integers(),
            "d": st.text(max_size=5) | st.booleans() | st.none(),
            "e": FINITE | st.integers() | st.booleans(),
        }
    ),
    min_size=1,
    max_size=8,
)


@given(RECORDS)
@example(
    [{"a %s": 1e-5, "b": None, "c": 0, "d": "%d \u2028", "e": True}, {"a %s": 1.0, "b": 1.0, "c": 1, "d": True, "e": 1}]
)
def test_many_records_are_written_as_by_json_dumps(records: list[dict[str, object]]) -> None:
    table = {"rows": records * SHORT_COLUMN}
    assert _indented(table, "\n") == json.dumps(table, indent=1)


def test_many_records_with_other_fields_are_written_one_by_one() -> None:
    table = [{"a": 1.5}, {"b": 2.5}] * SHORT_COLUMN
    assert _indented(table, "\n") == json.dumps(table, indent=1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_long_column_with_a_number_that_json_does_not_have_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not"):
        _indented([{"a": 1.0}, {"a": value}] * SHORT_COLUMN, "\n")

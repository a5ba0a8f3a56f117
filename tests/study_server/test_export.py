"""The export: it blocks nobody, and its checks by column are those of the record."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from qsched.errors import IntegrityError
from qsched.records import COLUMNS, Vote
from study_server.db.statements import Statement
from study_server.export.check import check_batch
from study_server.export.formats import TIME

GOOD = {
    "study": "s",
    "question": "overall",
    "pair_id": "p0/0",
    "prompt_id": "p0",
    "category": None,
    "left_arm": "a",
    "right_arm": "b",
    "choice": "left",
    "annotator": "x",
    "session": "y",
    "served_at": datetime(2026, 1, 1, tzinfo=UTC),
    "answered_at": datetime(2026, 1, 1, 0, 0, 9, tzinfo=UTC),
    "response_ms": 900,
    "kind": "task",
    "expected": None,
    "simulated": False,
    "sample_index": 0,
    "strength": None,
    "selection_probability": None,
}
SCHEMA = {name: pl.String for name in COLUMNS} | {
    "served_at": TIME,
    "answered_at": TIME,
    "response_ms": pl.Int64,
    "simulated": pl.Boolean,
    "sample_index": pl.Int64,
    "strength": pl.Int64,
    "selection_probability": pl.Float64,
}
TEXT = st.sampled_from(["", "a", "b", "left", "x" * 200, "x" * 201, None])
NUMBER = st.sampled_from([None, -1, 0, 1, 2, 3])
ODD = {
    **{name: TEXT for name, dtype in SCHEMA.items() if dtype is pl.String},
    "choice": st.sampled_from(["left", "right", "tie", "skip", "LEFT", "", None]),
    "kind": st.sampled_from(["task", "repeat", "gold", "practice", "warmup", "instructed", "", None]),
    "expected": st.sampled_from([None, "left", "tie", "both"]),
    "response_ms": NUMBER,
    "sample_index": NUMBER,
    "strength": NUMBER,
    "simulated": st.sampled_from([True, False, None]),
    "selection_probability": st.sampled_from([None, 0.0, 0.3, 1.0, 1.5, -0.1]),
}


@given(changed=st.lists(st.sampled_from(sorted(ODD)), max_size=3, unique=True), data=st.data())
def test_a_row_passes_by_column_if_and_only_if_the_record_takes_it(changed, data):
    row = GOOD | {name: data.draw(ODD[name], label=name) for name in changed}
    frame = pl.DataFrame([GOOD, row, GOOD], schema=SCHEMA)
    try:
        Vote.model_validate(row)
    except ValidationError:
        with pytest.raises(IntegrityError, match="vote 11 breaks the contract"):
            check_batch(frame, study="s", first_row=10)
    else:
        check_batch(frame, study="s", first_row=10)


def test_while_a_snapshot_is_read_a_vote_is_written_at_once_and_the_snapshot_does_not_see_it(database, make_study):
    make_study()
    titles = Statement("SELECT title FROM studies")
    with database.snapshot() as reading:
        before = reading.all(titles)
        with database.transaction() as writing:
            if database.dialect == "sqlite":
                writing.command("PRAGMA busy_timeout = 0")
            writing.command("UPDATE studies SET title = 'changed'")
        assert reading.all(titles) == before
    with database.snapshot() as reading:
        assert reading.all(titles) == [("changed",)]


def test_a_snapshot_writes_nothing(database, make_study):
    make_study()
    if database.dialect == "postgresql":
        import psycopg

        with database.snapshot() as reading, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reading.command("UPDATE studies SET title = 'changed'")
    else:
        with database.snapshot() as reading, pytest.raises(sqlite3.OperationalError, match="readonly"):
            reading.command("UPDATE studies SET title = 'changed'")


@pytest.mark.parametrize("database_url", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_a_long_read_is_not_ended_by_the_limit_for_waiting_annotators(database, make_study):
    make_study()
    with database.snapshot() as reading:
        assert reading.one(Statement("SELECT current_setting('statement_timeout')")) == ("0",)


def test_rows_come_in_batches_from_both_databases(database, make_study):
    make_study()
    pairs = Statement("SELECT id FROM pairs ORDER BY id")
    with database.snapshot() as reading:
        whole = reading.all(pairs)
        pieces = list(reading.batches(pairs, 4))
    assert [row for piece in pieces for row in piece] == whole
    assert len(whole) > 8 and max(map(len, pieces)) == 4

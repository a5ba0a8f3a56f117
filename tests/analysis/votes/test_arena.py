"""An arena-style file loses no column of the contract: what it offers is kept, and checked like our own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analysis.stats import count_votes
from analysis.votes import arena, exclude, read_votes
from analysis.votes.table import SCHEMA
from qsched.records import InputError, RowError

SECOND = datetime(2026, 1, 1, tzinfo=UTC)


def row(**changes: Any) -> dict[str, Any]:
    return {"model_a": "x", "model_b": "y", "winner": "model_a", "judge": "j", "prompt_id": "p", **changes}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    frame = pl.DataFrame(rows, infer_schema_length=None)
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
    return path


def test_every_column_of_the_table_has_a_place_in_an_arena_file():
    made = {"choice", "both_bad", "source", "row"}
    assert set(arena.SYNONYMS) | made == set(SCHEMA)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_every_column_of_the_contract_that_an_arena_file_has_is_kept(tmp_path: Path, suffix: str):
    given = row(kind="gold", expected="model_b", served_at="2026-01-01T00:00:00Z", answered_at="2026-01-01T00:00:00Z")
    given |= {"sample_index": 3, "session": "s", "pair_id": "q", "category": "c", "response_ms": 900}
    given |= {
        "study": "faces",
        "question": "overall",
        "simulated": True,
        "both_bad": False,
        "anony": True,
        "doubt": None,
    }
    votes = read_votes(write(tmp_path / f"v{suffix}", given))
    assert votes.missing == () and set(votes.frame.columns) == set(SCHEMA)
    (kept,) = votes.frame.rows(named=True)
    assert (kept["kind"], kept["expected"], kept["sample_index"]) == ("gold", "right", 3)
    assert kept["served_at"] == kept["answered_at"] == SECOND and kept["simulated"]


def test_gold_trials_of_an_arena_file_never_enter_the_estimate(tmp_path: Path):
    gold = row(kind="gold", expected="tie (bothbad)", winner="tie")
    path = write(tmp_path / "v.csv", gold, row(kind="task", expected=None), row(kind="task", expected=None))
    kept, report = exclude(read_votes(path))
    assert kept.n_votes == 2 and report.n_excluded == 1
    with pytest.raises(InputError, match=r"kind: gold 1.*exclude"):
        count_votes(read_votes(path))


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("kind", "Gold", "kind is 'Gold'; it must be one of task"),
        ("kind", "gold", "kind is 'gold' but expected is empty"),
        ("expected", "model_c", "expected is 'model_c'"),
        ("served_at", "noon", "served_at is 'noon'; it must be a time"),
        ("sample_index", "-1", "sample_index is '-1'"),
        ("both_bad", "perhaps", "both_bad is 'perhaps'; it must be true or false"),
        ("judge", None, "judge is empty"),
    ],
)
def test_a_wrong_value_of_an_arena_file_is_named_as_the_file_names_it(tmp_path, column, value, words):
    good = {"served_at": "2026-01-01T00:00:00Z", "sample_index": "0", "both_bad": "false", "judge": "j"}
    good |= {"kind": "task", "expected": "model_a"}
    wrong = {**good, column: value, **({"expected": None} if value == "gold" else {})}
    with pytest.raises(RowError) as caught:
        read_votes(write(tmp_path / "v.csv", row(**good), row(**wrong)))
    assert str(caught.value).startswith(f"{tmp_path}/v.csv:3: {words}")


def test_gold_with_an_empty_text_as_its_answer_is_an_error(tmp_path: Path):
    with pytest.raises(RowError, match="expected is empty"):
        read_votes(write(tmp_path / "v.parquet", row(kind="gold", expected="")))


def test_both_bad_is_remembered_from_the_winner_and_from_its_own_column(tmp_path: Path):
    rows = [row(winner="bothbad", both_bad=None), row(winner="tie", both_bad=True), row(winner="tie", both_bad=False)]
    votes = read_votes(write(tmp_path / "v.parquet", *rows))
    assert votes.frame["both_bad"].to_list() == [True, True, False]


@pytest.mark.parametrize("value", ["2026-01-01T00:00:00Z", "2026-01-01 00:00:00", SECOND])
def test_tstamp_is_the_time_of_the_answer_where_it_is_a_time(tmp_path: Path, value: object):
    frame = read_votes(write(tmp_path / "v.parquet", row(tstamp=None), row(tstamp=value))).frame
    assert frame["answered_at"].to_list() == [None, SECOND]


@pytest.mark.parametrize(("suffix", "value"), [(".parquet", 1.7e9), (".parquet", 1_700_000_000), (".csv", "1.7e9")])
def test_tstamp_that_holds_seconds_is_left_out_and_answered_at_named_missing(tmp_path: Path, suffix: str, value: Any):
    votes = read_votes(write(tmp_path / f"v{suffix}", row(tstamp=value)))
    assert "answered_at" in votes.missing and "answered_at" not in votes.frame.columns


def test_a_tstamp_of_another_form_than_the_first_is_an_error_with_its_row(tmp_path: Path):
    with pytest.raises(RowError, match=r"v\.csv:3: tstamp is 'later'; it must be a time"):
        read_votes(write(tmp_path / "v.csv", row(tstamp="2026-01-01T00:00:00Z"), row(tstamp="later")))


def test_a_number_is_no_time_and_never_becomes_the_year_1970(tmp_path: Path):
    with pytest.raises(RowError, match=r"answered_at is 1700000000; it must be a time"):
        read_votes(write(tmp_path / "v.parquet", row(answered_at=1_700_000_000)))

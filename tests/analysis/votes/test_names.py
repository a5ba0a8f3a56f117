"""One name stays one name: neither blanks nor floating point make two arms, persons or prompts of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.stats import count_votes
from analysis.votes import read_votes
from analysis.votes.coded import distinct
from qsched.records import RowError

ROW = {
    "study": "s",
    "question": "q",
    "pair_id": "k",
    "prompt_id": "p",
    "category": "c",
    "left_arm": "a",
    "right_arm": "b",
    "choice": "left",
    "annotator": "j",
    "session": "t",
}
NAMES = [column for column in ROW if column != "choice"]


def write(path: Path, *rows: dict[str, Any]) -> Path:
    frame = pl.DataFrame([{**ROW, **row} for row in rows], infer_schema_length=None)
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
    return path


@pytest.mark.parametrize("column", NAMES)
@pytest.mark.parametrize("value", [" x", "x ", "x\t", "\u00a0x", "   "])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_name_with_blanks_around_it_is_an_error_with_its_row(tmp_path: Path, column: str, value: str, suffix: str):
    path = write(tmp_path / f"v{suffix}", {}, {column: value}, {column: value})
    with pytest.raises(RowError) as caught:
        read_votes(path)
    line = 3 if suffix == ".csv" else 2
    assert str(caught.value).startswith(
        f"{path}:{line}: {column} is {value!r}; it has blanks around it; remove them (2 "
    )


def test_blanks_within_a_name_are_part_of_it(tmp_path: Path):
    assert read_votes(write(tmp_path / "v.csv", {"left_arm": "4 bit"})).values("left_arm") == ("4 bit",)


def test_whole_numbers_are_the_same_names_as_integers_floats_and_text(tmp_path: Path):
    texts = write(tmp_path / "text.csv", {"annotator": "1"}, {"annotator": "20"})
    integers = write(tmp_path / "int.parquet", {"annotator": 1}, {"annotator": 1})
    floats = write(tmp_path / "float.parquet", {"annotator": 1.0}, {"annotator": 1.0}, {"annotator": 20.0})
    votes = read_votes([texts, integers, floats])
    assert votes.values("annotator") == ("1", "20")
    assert count_votes(read_votes(floats)).clusters["annotator"].labels == ("1", "20")


def test_whole_numbers_beside_a_missing_one_stay_whole_and_missing(tmp_path: Path):
    votes = read_votes(write(tmp_path / "v.parquet", {"session": 7.0}, {"session": None}))
    assert votes.frame["session"].cast(pl.String).to_list() == ["7", None]
    with pytest.raises(RowError, match=r":2: annotator is empty"):
        read_votes(write(tmp_path / "v.parquet", {"annotator": 7.0}, {"annotator": None}))


@pytest.mark.parametrize("column", NAMES)
@pytest.mark.parametrize("value", [1.5, float("nan"), float("inf"), 2.0**60])
def test_a_number_that_is_not_whole_is_no_name(tmp_path: Path, column: str, value: float):
    path = write(tmp_path / "v.parquet", {column: 1.0}, {column: value})
    with pytest.raises(RowError) as caught:
        read_votes(path)
    assert str(caught.value).startswith(
        f"{path}:2: {column} is {value!r}; a number that serves as a name must be whole"
    )


@given(st.lists(st.none() | st.sampled_from(["a", "b", "", " c", "猫"])))
def test_distinct_values_by_code_are_the_distinct_values(values: list[str | None]):
    series = pl.Series("name", values, dtype=pl.Categorical)
    assert sorted(distinct(series).to_list()) == sorted({value for value in values if value is not None})

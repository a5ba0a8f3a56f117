"""A column with the number of votes of each row is never ignored silently; every column that is not used is named."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from analysis.stats import count_votes
from analysis.votes import exclude, read_votes
from qsched.records import InputError, RowError

ROWS = "model_a,model_b,winner,weight\na,b,model_a,30\na,b,model_b,20\nb,c,model_a,10\nb,c,tie,5\na,c,model_b,0\n"


def write(path: Path, text: str = ROWS) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_column_of_counts_is_refused_with_its_sum_and_both_remedies(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'weight' that adds up to 65 in 5 rows.*--weights weight.*--weights none"):
        read_votes(write(tmp_path / "v.csv"))


@pytest.mark.parametrize("name", ["Count", "n", "votes_weight"])
def test_only_columns_that_are_called_counts_are_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "v.csv", ROWS.replace("weight", name))
    if name == "votes_weight":
        assert read_votes(path).unused == (name,)
    else:
        with pytest.raises(InputError, match=name):
            read_votes(path)


def test_weights_that_are_asked_for_count_and_the_row_numbers_stay(tmp_path: Path) -> None:
    votes = read_votes(write(tmp_path / "v.csv"), weights="weight")
    assert votes.n_votes == 65 and votes.weights == "weight" and votes.unused == ()
    assert votes.frame["row"].unique().sort().to_list() == [2, 3, 4, 5]
    counts = count_votes(exclude(votes)[0])
    assert counts.outcomes.tolist() == [[30, 20, 0], [10, 0, 5]]


def test_weights_that_are_declined_make_each_row_one_vote_and_are_named_as_unused(tmp_path: Path) -> None:
    votes = read_votes(write(tmp_path / "v.csv"), weights="none")
    assert votes.n_votes == 5 and votes.unused == ("weight",)


def test_weights_of_one_need_no_choice(tmp_path: Path) -> None:
    ones = "model_a,model_b,winner,weight\na,b,model_a,1\na,b,model_b,1\n"
    assert read_votes(write(tmp_path / "v.csv", ones)).unused == ("weight",)


@pytest.mark.parametrize("value", ["2.5", "-1", "many", ""])
def test_a_weight_that_is_not_a_number_of_votes_is_an_error_with_its_row(tmp_path: Path, value: str) -> None:
    path = write(tmp_path / "v.csv", ROWS.replace("b,c,model_a,10", f"b,c,model_a,{value}"))
    with pytest.raises(RowError, match=r"v\.csv:4: weight is .*whole number of votes"):
        read_votes(path, weights="weight")


def test_weights_that_no_memory_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at most 100,000,000"):
        read_votes(write(tmp_path / "v.csv", ROWS.replace("30", "3000000000")), weights="weight")


@pytest.mark.parametrize("name", ["wieght", "winner", "choice"])
def test_weights_that_are_no_column_of_counts_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        read_votes(write(tmp_path / "v.csv"), weights=name)


def test_unused_columns_of_all_sources_are_named(tmp_path: Path) -> None:
    rows = {"left_arm": ["a", "b"], "right_arm": ["b", "a"], "choice": ["left", "left"]}
    pl.DataFrame({**rows, "turn": [1, 2], "row": [7, 8]}).write_parquet(tmp_path / "one.parquet")
    pl.DataFrame({**rows, "choice": ["tie", "tie"], "turn": [1, 2], "tokens": [3, 4]}).write_csv(tmp_path / "two.csv")
    assert read_votes([tmp_path / "one.parquet", tmp_path / "two.csv"]).unused == ("turn", "row", "tokens")
    assert "turn" not in read_votes(tmp_path / "one.parquet", covariates=["turn"]).unused

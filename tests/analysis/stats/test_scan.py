"""Counts straight from files equal the careful way, and wrong files are refused with their row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow
import pytest

from analysis.stats import count_votes, fit_bradley_terry, scan_counts, uncertainty_of
from analysis.votes import read_votes
from analysis.votes.coded import _codes_of_arrow, codes, codes_of_parquet
from qsched.records import InputError, RowError
from tests.analysis.conftest import draw_study


def arena_file(path: Path, **changes: list[str]) -> Path:
    study = draw_study()
    winner = [{"left": "model_a", "right": "model_b", "tie": "tie (bothbad)"}[c] for c in study["choice"]]
    columns = {"model_a": study["left"], "model_b": study["right"], "winner": winner}
    columns |= {"judge": study["annotator"], "prompt": study["prompt"], **changes}
    frame = pl.DataFrame(columns)
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_scanned_counts_equal_those_of_the_careful_way(tmp_path: Path, suffix: str):
    path = arena_file(tmp_path / f"v{suffix}")
    careful, fast, streamed = count_votes(read_votes(path)), scan_counts(path), scan_counts(path, clusters=False)
    for counts in (fast, streamed):
        assert counts.arms == careful.arms and np.array_equal(counts.outcomes, careful.outcomes)
    fits = [fit_bradley_terry(counts) for counts in (careful, fast)]
    one, two = (uncertainty_of(f, c, method="sandwich") for f, c in zip(fits, (careful, fast), strict=True))
    assert np.array_equal(one.covariance, two.covariance)
    assert not streamed.clusters


@pytest.mark.parametrize("clusters", [True, False])
def test_a_wrong_value_is_looked_up_with_its_row(tmp_path: Path, clusters: bool):
    study = draw_study()
    winner = ["model_a"] * len(study["choice"])
    winner[41] = "nobody"
    path = arena_file(tmp_path / "v.csv", winner=winner)
    with pytest.raises(RowError, match=r"v\.csv:43: winner is 'nobody'"):
        scan_counts(path, clusters=clusters)


@pytest.mark.parametrize("clusters", [True, False])
def test_votes_that_need_excluding_are_refused(tmp_path: Path, clusters: bool):
    rows = {"left_arm": ["a", "b"], "right_arm": ["b", "a"], "choice": ["left", "left"], "kind": ["task", "gold"]}
    pl.DataFrame({**rows, "expected": ["left", "left"]}).write_parquet(tmp_path / "v.parquet")
    with pytest.raises(InputError, match=r"kind 'gold'.*exclude"):
        scan_counts(tmp_path / "v.parquet", clusters=clusters)


def test_coded_columns_of_parquet_equal_those_of_a_table(tmp_path: Path):
    # Row groups have dictionaries of their own in orders of their own, and an id may be a number.
    values = ["m", "b", "z", "b", "a", "q", "z", "a", "a", "m"]
    numbers = [7, 10, 7, 2, 2, 30, 7, 10, 2, 7]
    frame = pl.DataFrame({"text": values, "number": numbers})
    frame.write_parquet(tmp_path / "v.parquet", row_group_size=3)
    read = codes_of_parquet(tmp_path / "v.parquet", ["text", "number"])
    for name in ("text", "number"):
        labels, code = codes(frame[name])
        assert labels == read[name][0] == tuple(sorted({str(value) for value in frame[name]}))
        assert [labels[i] for i in code] == [labels[i] for i in read[name][1]] == [str(v) for v in frame[name]]


def test_a_dictionary_that_repeats_or_lacks_a_value_is_read_as_its_words():
    pool = pyarrow.array(["b", "a", "b", "never used"])
    column = pyarrow.chunked_array([pyarrow.DictionaryArray.from_arrays(pyarrow.array([0, 1, 2, 0]), pool)])
    labels, code = _codes_of_arrow("judge", column)
    assert labels == ("a", "b") and code.tolist() == [1, 0, 1, 1]
    holed = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0, 1]), pyarrow.array(["a", None]))
    with pytest.raises(InputError, match=r"'judge' has 1 empty"):
        _codes_of_arrow("judge", pyarrow.chunked_array([holed]))


def test_several_files_are_counted_as_one(tmp_path: Path):
    study = draw_study()
    columns = {"left_arm": study["left"], "right_arm": study["right"], "choice": study["choice"]}
    frame = pl.DataFrame({**columns, "annotator": study["annotator"], "prompt_id": study["prompt"]})
    frame[:100].write_parquet(tmp_path / "one.parquet")
    frame[100:].write_csv(tmp_path / "two.csv")
    both, whole = scan_counts([tmp_path / "two.csv", tmp_path / "one.parquet"]), count_votes(frame)
    assert both.arms == whole.arms and np.array_equal(both.outcomes, whole.outcomes)
    for name in ("annotator", "prompt"):
        assert both.clusters[name].labels == whole.clusters[name].labels
        assert np.array_equal(both.clusters[name].counts, whole.clusters[name].counts)


@pytest.mark.parametrize("clusters", [True, False])
def test_an_arm_compared_with_itself_is_refused(tmp_path: Path, clusters: bool):
    rows = {"left_arm": ["a", "b"], "right_arm": ["b", "b"], "choice": ["left", "left"]}
    pl.DataFrame(rows).write_parquet(tmp_path / "v.parquet")
    with pytest.raises(InputError, match=r"itself|both .b."):
        scan_counts(tmp_path / "v.parquet", clusters=clusters)


@pytest.mark.parametrize("clusters", [True, False])
def test_an_empty_value_is_refused_with_its_row(tmp_path: Path, clusters: bool):
    rows = {"left_arm": ["a", "b"], "right_arm": ["b", None], "choice": ["left", "left"], "annotator": ["x", "y"]}
    pl.DataFrame(rows).write_parquet(tmp_path / "v.parquet")
    with pytest.raises(InputError, match=r":2: right_arm|right_arm.*empty"):
        scan_counts(tmp_path / "v.parquet", clusters=clusters)


@pytest.mark.parametrize("clusters", [True, False])
def test_gold_in_one_of_two_files_is_refused_though_the_other_has_no_kind(tmp_path: Path, clusters: bool):
    rows = {"left_arm": ["a", "b"], "right_arm": ["b", "a"], "choice": ["left", "left"]}
    pl.DataFrame(rows).write_parquet(tmp_path / "plain.parquet")
    other = {**rows, "choice": ["left", "right"], "kind": ["task", "gold"], "expected": [None, "left"]}
    pl.DataFrame(other).write_parquet(tmp_path / "g.parquet")
    with pytest.raises(InputError, match=r"kind 'gold'"):
        scan_counts([tmp_path / "plain.parquet", tmp_path / "g.parquet"], clusters=clusters)


def test_a_file_named_twice_is_not_counted_twice(tmp_path: Path):
    path = arena_file(tmp_path / "v.parquet")
    with pytest.raises(InputError, match="twice"):
        scan_counts([path, path])

"""Counts straight from files equal the careful way, and wrong files are refused with their row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis.stats import count_votes, fit_bradley_terry, scan_counts, uncertainty_of
from analysis.votes import read_votes
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

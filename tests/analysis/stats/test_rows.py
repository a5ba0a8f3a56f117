"""The strengths and pairs of an estimate print as tables and become polars frames."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from analysis.stats import Estimate, EstimateSettings, estimate, rebase
from tests.analysis.conftest import counts_of, draw_study


@pytest.fixture(scope="module")
def result() -> Estimate:
    return estimate(counts_of(draw_study()), EstimateSettings(method="sandwich"))


def test_frames_have_every_number_of_the_rows(result: Estimate) -> None:
    strengths, pairs = result.strengths.to_frame(), result.pairwise.to_frame()
    assert isinstance(strengths, pl.DataFrame) and strengths.height == 4 and pairs.height == 6
    for row, record in zip(strengths.iter_rows(named=True), result.strengths, strict=True):
        assert (row["arm"], row["quasi_high"]) == (record.arm, record.quasi_high)
        assert tuple(row["rank_chances"]) == record.rank_chances
    for row, pair in zip(pairs.iter_rows(named=True), result.pairwise, strict=True):
        assert (row["arm_b"], row["log_odds"], row["raw_low"]) == (pair.arm_b, pair.log_odds, pair.raw.low)
        assert (row["low"], row["raw_n_votes"]) == (pair.low, pair.raw.n_votes)
    assert rebase(result, "arm0").to_frame()["log_strength"].abs().min() == 0


def test_rows_print_as_a_table_with_one_line_for_each_record(result: Estimate) -> None:
    shown = repr(result.strengths)
    best = result.strengths[0]
    line = next(line for line in shown.splitlines() if best.arm in line)
    assert f"{best.log_strength:.4g}" in line and f"{best.quasi_low:.4g}" in line
    assert all(row.arm in shown for row in result.strengths) and "shape" not in shown and "…" not in shown
    pairs = repr(type(result.pairwise)(replace(pair, p_holm=1.234e-9) for pair in result.pairwise))
    assert f"{result.pairwise[0].log_odds:.4g}" in pairs and "1.234" in pairs, "a small p-value is not zero"


def test_a_notebook_shows_a_table_in_which_names_are_text(result: Estimate) -> None:
    hostile = type(result.strengths)(replace(row, arm="<script>x</script>") for row in result.strengths)
    page = hostile._repr_html_()
    assert "<table" in page and "<script>" not in page and "&lt;script&gt;" in page


def test_an_estimate_prints_as_a_heading_and_its_strengths(result: Estimate) -> None:
    heading, _, table = repr(result).partition("\n")
    assert heading == "600 votes, bradley-terry, 95 % intervals (two-way)" and table == repr(result.strengths)
    assert heading in result._repr_html_() and "<table" in result._repr_html_()

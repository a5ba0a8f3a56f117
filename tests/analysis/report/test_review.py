"""A second look at a leaderboard: what it claims, and what it refuses to."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from analysis import review
from analysis.report import ReportSettings, find
from analysis.report.review import Neighbours, find_neighbours, separated_pairs, time_test
from analysis.stats import Estimate, EstimateSettings, QuadraticTest
from analysis.votes import read_votes
from tests.analysis.report.simulated import simulated_votes

SANDWICH = EstimateSettings(method="sandwich")


def estimate_of(votes: pl.DataFrame) -> Estimate:
    found = find(read_votes(votes), ReportSettings(by="none", estimate=SANDWICH)).estimate
    assert found is not None
    return found


def test_votes_that_resemble_each_other_separate_fewer_pairs_than_leaderboards_claim() -> None:
    strengths = {f"m{i}": 0.08 * i for i in range(8)}
    estimate = estimate_of(simulated_votes(strengths, taste=0.8, n_prompts=8, votes_each=150))
    ours, theirs = separated_pairs(estimate)
    assert ours < theirs <= len(estimate.pairwise)


def test_neighbours_are_those_of_the_ranking_and_need_votes_only_if_they_are_not_separated() -> None:
    estimate = estimate_of(simulated_votes({"a": 2.0, "b": 0.0, "c": -0.02}, votes_each=60))
    order = [row.arm for row in estimate.strengths]
    rows = find_neighbours(estimate)
    assert [(row.first, row.second) for row in rows] == list(pairwise(order))
    far, near = rows
    assert far.separated and far.votes_needed is None
    assert not near.separated and isinstance(near, Neighbours) and near.votes_needed is not None
    (pair,) = [pair for pair in estimate.pairwise if {pair.arm_a, pair.arm_b} == {near.first, near.second}]
    assert near.votes_needed == pytest.approx(estimate.n_votes * ((1.959964 + 0.841621) * pair.se / pair.log_odds) ** 2)


def test_a_change_of_strengths_over_time_is_seen_and_its_absence_is_not_claimed_without_times() -> None:
    votes = simulated_votes({"a": 1.0, "b": 0.0, "c": -1.0}, votes_each=60)
    served = votes["served_at"].sort()
    late = pl.col("served_at") > served[len(served) // 2]
    swapped = pl.col("choice").replace({"left": "right", "right": "left"})
    turned = votes.with_columns(pl.when(late).then(swapped).otherwise("choice").alias("choice"))
    steady, changed = (time_test(read_votes(frame), SANDWICH) for frame in (votes, turned))
    assert isinstance(steady, QuadraticTest) and isinstance(changed, QuadraticTest)
    assert changed.p < 0.001 < steady.p
    assert time_test(read_votes(votes.drop("served_at", "answered_at")), SANDWICH) == "the votes have no times"


def test_the_command_writes_one_page_that_loads_nothing_and_hides_no_word(tmp_path: Path) -> None:
    path, out = tmp_path / "v.csv", tmp_path / "out"
    votes = simulated_votes({"<b>x</b>": 0.4, "y": 0.0, "z": -0.4})
    votes.write_csv(path)
    done = CliRunner().invoke(review.app, [str(path), "--out", str(out)])
    assert done.exit_code == 0, done.output
    page = (out / "review.html").read_text()
    assert "<b>x</b>" not in page and "&lt;b&gt;x&lt;/b&gt;" in page
    assert "What these votes support" in page and "earlier and the later half" in page
    assert not re.search(r"(src|href)=.?https?:|url\(http|<script", page)
    assert list(out.iterdir()) == [out / "review.html"]


def test_votes_without_an_estimate_give_a_page_that_says_why_and_exit_code_3(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    votes = pl.concat([simulated_votes({"a": 0.2, "b": 0.0}, seed=1), simulated_votes({"c": 0.5, "d": 0.0}, seed=2)])
    votes.write_csv(path)
    done = CliRunner().invoke(review.app, [str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 3
    assert "There is no estimate of strengths" in (tmp_path / "out" / "review.html").read_text()


def test_a_number_of_votes_is_rounded_to_what_it_is_worth() -> None:
    from analysis.report.review import _roughly

    assert _roughly(256_867.0) == "260,000" and _roughly(math.inf) == "over 10,000,000"

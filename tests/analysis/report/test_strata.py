"""Strata: by category unasked, by another column on request, and not at all with --by none."""

from __future__ import annotations

import polars as pl

from analysis.stats.results import EstimateSettings
from tests.analysis.report.conftest import MakeReport
from tests.analysis.report.simulated import CATEGORIES, simulated_votes


def test_a_few_categories_are_estimated_each_without_being_asked(make_report: MakeReport) -> None:
    strata = make_report(simulated_votes()).document["strata"]
    assert [row["name"] for row in strata["strata"]] == sorted(CATEGORIES)
    assert sum(row["n_votes"] for row in strata["strata"]) == 960
    assert len(strata["contrasts"]) == 3 * 6  # pairs of categories times pairs of arms


def test_none_switches_strata_off_and_one_category_makes_none(make_report: MakeReport) -> None:
    assert make_report(simulated_votes(votes_each=20), by="none").document["strata"] is None
    single = simulated_votes(votes_each=20).with_columns(pl.lit("all").alias("category"))
    assert make_report(single).document["strata"] is None


def test_with_a_baseline_only_its_contrasts_are_compared(make_report: MakeReport) -> None:
    contrasts = make_report(simulated_votes(), baseline="fp32").document["strata"]["contrasts"]
    assert len(contrasts) == 3 * 3
    assert all("fp32" in (row["arm_a"], row["arm_b"]) for row in contrasts)


def test_a_category_without_an_estimate_is_named_and_the_others_are_still_compared(make_report: MakeReport) -> None:
    votes = simulated_votes(votes_each=60)
    food = pl.col("category") == "food"
    lost = pl.when(pl.col("left_arm") == "w4a4").then(pl.lit("right")).otherwise(pl.lit("left"))
    involved = (pl.col("left_arm") == "w4a4") | (pl.col("right_arm") == "w4a4")
    one_sided = votes.with_columns(pl.when(food & involved).then(lost).otherwise(pl.col("choice")).alias("choice"))
    made = make_report(one_sided, drawn=True)
    by_name = {row["name"]: row for row in made.document["strata"]["strata"]}
    assert by_name["food"]["strengths"] == [] and "w4a4" in by_name["food"]["problem"]
    assert by_name["city"]["strengths"] and made.document["estimate"]
    assert "no estimate" in made.page


def test_a_category_with_a_single_annotator_does_not_cost_the_report(make_report: MakeReport) -> None:
    votes = simulated_votes(votes_each=60)
    others = pl.col("annotator") != "anno-000"
    votes = votes.filter(~((pl.col("category") == "food") & others))
    made = make_report(votes, estimate=EstimateSettings(intervals="annotator", resamples=200))
    by_name = {row["name"]: row for row in made.document["strata"]["strata"]}
    assert "only 1 annotator" in by_name["food"]["problem"] and by_name["food"]["strengths"] == []
    assert by_name["city"]["strengths"] and made.document["estimate"]
    assert {(r["stratum_a"], r["stratum_b"]) for r in made.document["strata"]["contrasts"]} == {("animals", "city")}


def test_a_planted_difference_between_categories_is_found(make_report: MakeReport) -> None:
    even = simulated_votes({"x": 0.0, "y": 0.0}, taste=0.0, votes_each=60, side=0.0)
    x_left = pl.col("left_arm") == "x"
    x_wins = pl.when(x_left).then(pl.lit("left")).otherwise(pl.lit("right"))
    planted = even.with_row_index("i").with_columns(
        pl.when((pl.col("category") == "food") & (pl.col("i") % 2 == 0))
        .then(x_wins)
        .otherwise("choice")
        .alias("choice")
    )
    contrasts = make_report(planted.drop("i")).document["strata"]["contrasts"]
    p = {(row["stratum_a"], row["stratum_b"]): row["p_holm"] for row in contrasts}
    assert p["city", "food"] < 0.01 and p["animals", "food"] < 0.01
    assert p["animals", "city"] > 0.05

"""winrates.json: it keeps its schema, and its simple numbers are those a reader would count by hand."""

from __future__ import annotations

import json
import math
from itertools import combinations

import jsonschema
import polars as pl
import pytest

from analysis.report import SCHEMA_PATH, ReportSettings
from analysis.stats import EstimateSettings
from analysis.stats.results import Model
from tests.analysis.report.conftest import QUICK, MakeReport, Report
from tests.analysis.report.simulated import simulated_votes

SCHEMA = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))


def check_schema(document: object) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(document, SCHEMA)


def test_the_document_follows_its_schema(report: Report) -> None:
    check_schema(report.document)


def test_the_schema_notices_a_missing_and_an_unknown_field(report: Report) -> None:
    document = report.document
    del document["strengths"][0]["elo"]
    with pytest.raises(jsonschema.ValidationError, match="elo"):
        check_schema(document)
    with pytest.raises(jsonschema.ValidationError, match="surprise"):
        check_schema({**report.document, "surprise": 1})


def test_counts_and_raw_win_rates_are_those_of_the_votes(report: Report) -> None:
    arms = sorted({*report.votes["left_arm"], *report.votes["right_arm"]})
    rows = {frozenset((row["arm_a"], row["arm_b"])): row for row in report.document["pairwise"]}
    assert set(rows) == {frozenset(pair) for pair in combinations(arms, 2)}
    for row in rows.values():
        wins_a = wins_b = ties = 0
        for vote in report.votes.iter_rows(named=True):
            if {vote["left_arm"], vote["right_arm"]} != {row["arm_a"], row["arm_b"]}:
                continue
            if vote["choice"] == "tie":
                ties += 1
            elif vote[f"{vote['choice']}_arm"] == row["arm_a"]:
                wins_a += 1
            else:
                wins_b += 1
        assert (row["wins_a"], row["wins_b"], row["ties"]) == (wins_a, wins_b, ties)
        assert row["win_rate"] == pytest.approx((wins_a + ties / 2) / (wins_a + wins_b + ties))
        assert row["low"] < row["win_rate"] < row["high"]


def test_ties_dropped_are_left_out_of_the_rate_and_still_counted(make_report: MakeReport) -> None:
    estimate = EstimateSettings(ties="drop", resamples=200)
    row = make_report(simulated_votes(), estimate=estimate).document["pairwise"][0]
    assert row["ties"] > 0
    assert row["win_rate"] == pytest.approx(row["wins_a"] / (row["wins_a"] + row["wins_b"]))
    assert row["low"] < row["win_rate"] < row["high"]


def test_strengths_sum_to_zero_and_solve_the_likelihood_equations(report: Report) -> None:
    strengths = {row["arm"]: row["log_strength"] for row in report.document["strengths"]}
    assert sum(strengths.values()) == pytest.approx(0, abs=1e-9)
    # At the maximum every arm's wins (a tie is half of one) equal its expected wins.
    for arm, theta in strengths.items():
        wins = expected = 0.0
        for row in report.document["pairwise"]:
            n = row["n_votes"]
            if arm == row["arm_a"]:
                wins += row["wins_a"] + row["ties"] / 2
                expected += n / (1 + math.exp(strengths[row["arm_b"]] - theta))
            elif arm == row["arm_b"]:
                wins += row["wins_b"] + row["ties"] / 2
                expected += n / (1 + math.exp(strengths[row["arm_a"]] - theta))
        assert wins == pytest.approx(expected, abs=1e-5)


def test_elo_is_a_thousand_plus_four_hundred_points_a_factor_of_ten(report: Report) -> None:
    for row in report.document["strengths"]:
        for scale, natural in (("elo", "log_strength"), ("elo_low", "low"), ("elo_high", "high")):
            assert row[scale] == pytest.approx(1000 + 400 * row[natural] / math.log(10))


def test_pairs_put_the_stronger_estimate_first_and_agree_with_the_strengths(report: Report) -> None:
    strengths = {row["arm"]: row["log_strength"] for row in report.document["strengths"]}
    for row in report.document["pairwise"]:
        assert row["log_odds"] == pytest.approx(strengths[row["arm_a"]] - strengths[row["arm_b"]])
        assert row["log_odds"] >= 0
        assert row["log_odds_low"] <= row["log_odds"] <= row["log_odds_high"]
        assert row["log_odds_low_all"] <= row["log_odds_low"]
        assert row["model_win_rate"] == pytest.approx(1 / (1 + math.exp(-row["log_odds"])))
        assert row["p"] <= row["p_holm"]


def test_every_vote_read_is_kept_or_excluded_under_a_reason(make_report: MakeReport) -> None:
    votes = simulated_votes().with_row_index("i")
    marked = votes.with_columns(
        pl.when(pl.col("i") < 30).then(pl.lit("practice")).otherwise(pl.col("kind")).alias("kind"),
        pl.when(pl.col("i").is_between(30, 49)).then(pl.lit("skip")).otherwise(pl.col("choice")).alias("choice"),
        pl.when(pl.col("i").is_between(50, 59)).then(20).otherwise(pl.col("response_ms")).alias("response_ms"),
    ).drop("i")
    document = make_report(marked).document
    excluded = document["excluded"]
    counted = {row["reason"]: row["n_votes"] for row in excluded["rows"]}
    assert counted["kind: practice"] == 30
    assert counted["skip"] == 20
    assert counted["too fast"] == 10
    assert excluded["n_read"] == marked.height == excluded["n_kept"] + sum(counted.values())
    assert sum(row["n_votes"] for row in document["pairwise"]) == excluded["n_kept"] == document["n_votes"]


def test_the_estimate_with_exclusions_put_back_is_shown_beside_the_reported_one(make_report: MakeReport) -> None:
    votes = simulated_votes().with_row_index("i")
    hasty = votes.with_columns(
        pl.when(pl.col("i") % 3 == 0).then(20).otherwise(pl.col("response_ms")).alias("response_ms")
    ).drop("i")
    document = make_report(hasty).document
    rows = {row["name"]: row for row in document["sensitivity"]}
    assert rows["as reported"]["n_votes"] == document["n_votes"] == 640
    assert rows["exclusions by conduct put back"]["n_votes"] == 960
    assert any("excluded by rules of conduct" in warning for warning in document["warnings"])


def test_position_effect_and_tie_parameter_are_there_when_asked_for(make_report: MakeReport) -> None:
    plain = make_report(simulated_votes()).document
    assert plain["position_effect"] is None and plain["tie_parameter"] is None
    assert plain["position_check"]["log_odds"] != 0
    estimate = EstimateSettings(model="davidson", position_effect=True, resamples=200)
    full = make_report(simulated_votes(side=0.5), estimate=estimate).document
    check_schema(full)
    assert full["position_effect"]["log_odds"] == pytest.approx(0.5, abs=0.3)
    assert full["position_effect"]["se"] > 0
    assert full["tie_parameter"]["nu"] > 0 and full["tie_parameter"]["se"] > 0


def test_the_settings_of_the_run_are_in_the_document(report: Report) -> None:
    settings = report.document["settings"]
    assert settings["seed"] == QUICK.seed and settings["resamples"] == QUICK.resamples
    assert settings["baseline"] == "fp32" and settings["by"] == "category"
    assert settings["confidence"] == ReportSettings().estimate.confidence


@pytest.mark.parametrize("model", ["davidson", "rao-kupper"])
def test_as_reported_among_the_other_choices_is_the_reported_model(make_report: MakeReport, model: Model) -> None:
    document = make_report(simulated_votes(), estimate=EstimateSettings(model=model, resamples=200)).document
    shown = {row["name"]: row["strengths"] for row in document["sensitivity"]}["as reported"]
    reported = {row["arm"]: row["log_strength"] for row in document["strengths"]}
    assert shown == pytest.approx(reported, abs=1e-8)


def test_votes_without_a_tie_make_a_report_that_says_which_choice_has_no_estimate(make_report: MakeReport) -> None:
    untied = simulated_votes().filter(pl.col("choice") != "tie")
    document = make_report(untied, drawn=True).document
    rows = {row["name"]: row for row in document["sensitivity"]}
    davidson = rows["Davidson's model of ties"]
    assert davidson["strengths"] is None and "tie" in davidson["problem"]
    refitted = rows["annotators weighted by reliability"]["strengths"]
    reported = {row["arm"]: row["log_strength"] for row in document["strengths"]}
    assert refitted == pytest.approx(reported, abs=0.3)


def test_where_ties_are_dropped_the_decided_votes_are_counted(make_report: MakeReport) -> None:
    votes = simulated_votes()
    decided = votes.filter(pl.col("choice") != "tie").height
    half = {row["name"]: row["n_votes"] for row in make_report(votes).document["sensitivity"]}
    assert half["as reported"] == 960 and half["ties dropped"] == decided < 960
    document = make_report(votes, estimate=EstimateSettings(ties="drop", resamples=200)).document
    drop = {row["name"]: row["n_votes"] for row in document["sensitivity"]}
    assert drop["as reported"] == drop["with a position effect"] == decided
    assert drop["ties as half a win"] == drop["Davidson's model of ties"] == 960
    assert not any("put back" in name for name in drop)
    assert sum(row["n_votes"] for row in document["strengths"]) == 2 * decided


def test_the_file_of_contrasts_has_every_scale_of_the_json(report: Report) -> None:
    rows = pl.read_csv(report.folder / "contrasts.csv").to_dicts()
    names = ("log_odds", "log_odds_se", "log_odds_low", "log_odds_high", "log_odds_low_all", "log_odds_high_all")
    pairs = {(row["arm_a"], row["arm_b"]): row for row in report.document["pairwise"]}
    assert len(rows) == len(pairs)
    for row in rows:
        pair = pairs[row["arm_a"], row["arm_b"]]
        for name in (*names, "elo_difference", "prob_superior", "model_win_rate"):
            assert row[name] == pytest.approx(pair[name], abs=1e-12), name
    assert "P(stronger)" in report.page
    assert "P(stronger)" in (report.folder / "tables" / "contrasts.tex").read_text(encoding="utf-8")

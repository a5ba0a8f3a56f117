"""Votes that determine no strengths: the report appears, says so at the top, and prints no strength."""

from __future__ import annotations

import re

import polars as pl
import pytest

from analysis.report import SCHEMA_PATH
from analysis.report.prose.methods import methods_paragraphs
from analysis.report.prose.summary import summary_points
from analysis.stats import EstimateSettings, parse_penalty
from analysis.stats.results import Model
from tests.analysis.report.conftest import MakeReport, Report
from tests.analysis.report.simulated import simulated_votes
from tests.analysis.report.test_document import check_schema


@pytest.fixture(scope="module")
def halves(make_report: MakeReport) -> Report:
    """Two groups of arms that were never compared with each other."""
    one = simulated_votes({"a": 0.2, "b": 0.0}, seed=1)
    two = simulated_votes({"c": 0.5, "d": 0.0}, seed=2).with_columns(pl.col("session") + "-2", pl.col("pair_id") + "-2")
    return make_report(pl.concat([one, two]), drawn=True)


@pytest.fixture(scope="module")
def never_won(make_report: MakeReport) -> Report:
    votes = simulated_votes({"a": 0.2, "b": 0.0, "loser": -9.0}, tie_share=0.0, taste=0.0)
    lost = pl.col("left_arm").eq("loser"), pl.col("right_arm").eq("loser")
    choice = pl.when(lost[0]).then(pl.lit("right")).when(lost[1]).then(pl.lit("left")).otherwise(pl.col("choice"))
    return make_report(votes.with_columns(choice.alias("choice")), drawn=True)


def test_the_document_says_no_estimate_and_still_follows_its_schema(halves: Report) -> None:
    assert SCHEMA_PATH.exists()
    document = halves.document
    check_schema(document)
    assert document["estimate"] is False
    assert document["strengths"] == [] and document["claims"] == []
    assert document["no_estimate"]["problems"] and document["no_estimate"]["remedies"]
    assert all(row["p_holm"] is None and row["log_odds"] is None for row in document["pairwise"])
    assert sum(row["n_votes"] for row in document["pairwise"]) == document["n_votes"]


def test_the_page_says_it_at_the_top_and_keeps_the_counts(halves: Report) -> None:
    page = halves.page
    assert page.index("NO ESTIMATE") < page.index("Summary")
    assert 'id="pairs"' in page and "wins of" not in page
    assert "was preferred to" not in page
    assert not (halves.folder / "figures" / "strengths.svg").exists()
    assert (halves.folder / "figures" / "winrates.svg").exists()


def test_pairs_that_were_never_compared_have_no_win_rate(halves: Report) -> None:
    across = [row for row in halves.document["pairwise"] if {row["arm_a"], row["arm_b"]} == {"a", "c"}]
    assert len(across) == 1
    assert across[0]["n_votes"] == 0 and across[0]["win_rate"] is None and across[0]["low"] is None


def test_an_arm_that_never_won_is_named_and_the_others_are_estimated(never_won: Report) -> None:
    document = never_won.document
    check_schema(document)
    assert document["estimate"] and {row["arm"] for row in document["strengths"]} == {"a", "b"}
    (warning,) = (text for text in document["warnings"] if "'loser'" in text)
    n = never_won.votes.filter((pl.col("left_arm") == "loser") | (pl.col("right_arm") == "loser")).height
    assert f"never won, so its strength is minus infinity (0 wins in {n:,} votes" in warning
    assert re.search("loser", never_won.page.split("Summary")[0])
    counted = {row["reason"]: row["n_votes"] for row in document["excluded"]["rows"]}
    assert counted["arm without estimate"] == n and document["n_votes"] == never_won.votes.height - n


def test_with_the_arm_that_never_won_as_baseline_there_is_no_estimate(
    make_report: MakeReport, never_won: Report
) -> None:
    document = make_report(never_won.votes, baseline="loser").document
    assert document["estimate"] is False and document["no_estimate"]["never_won"] == ["loser"]


def test_a_penalty_gives_an_estimate_with_the_arm_that_never_won(make_report: MakeReport, never_won: Report) -> None:
    firth = EstimateSettings(penalty=parse_penalty("firth"), resamples=200)
    document = make_report(never_won.votes, estimate=firth).document
    assert {row["arm"] for row in document["strengths"]} == {"a", "b", "loser"}


def test_the_strengths_file_has_a_header_and_no_rows(halves: Report) -> None:
    lines = (halves.folder / "strengths.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 and lines[0].startswith("arm,log_strength,se,low,high,elo")


@pytest.mark.parametrize("model", ["davidson", "rao-kupper"])
@pytest.mark.parametrize(("tie_share", "cause"), [(0.0, "here is no tie"), (1.1, "very vote is a tie")])
def test_a_model_of_ties_without_an_estimate_blames_the_ties_and_not_the_graph(
    make_report: MakeReport, model: Model, tie_share: float, cause: str
) -> None:
    votes = simulated_votes(tie_share=tie_share, votes_each=20)
    made = make_report(votes, drawn=True, estimate=EstimateSettings(model=model, resamples=200))
    check_schema(made.document)
    paragraphs, references = methods_paragraphs(made.found)
    for text in (" ".join(summary_points(made.found)), " ".join(paragraphs)):
        assert cause in text
        assert "connect" not in text and "ranking" not in text
    assert "--model bradley-terry" in " ".join(summary_points(made.found))
    assert (
        not any("Ford" in reference for reference in references)
        and ("Davidson" if model == "davidson" else "Kupper") in references[0]
    )


def test_arms_on_one_side_only_blame_the_position_effect(make_report: MakeReport) -> None:
    votes = simulated_votes({"a": 0.2, "b": 0.0}).filter(pl.col("left_arm") == "a")
    made = make_report(votes, drawn=True, estimate=EstimateSettings(position_effect=True, resamples=200), by="none")
    assert "position effect" in summary_points(made.found)[0]
    methods = " ".join(methods_paragraphs(made.found)[0])
    assert "effect of the left position" in methods and "strongly connected" not in methods


def test_groups_that_were_never_compared_still_blame_the_graph(halves: Report) -> None:
    assert "do not connect the arms" in summary_points(halves.found)[0]
    assert "strongly connected" in " ".join(methods_paragraphs(halves.found)[0])

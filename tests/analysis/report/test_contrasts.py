"""The forest plot of contrasts and what is printed beside it: the fit of pairs and strata, and groups of arms."""

from __future__ import annotations

import json
import math

import matplotlib
import numpy as np
import polars as pl
import pytest
from matplotlib.lines import Line2D

from analysis.report.document import report_document, report_json
from analysis.report.kit.style import PAPER, RC
from analysis.report.subjects.contrasts import contrasts_table, draw_contrasts, of_baseline
from analysis.stats import Estimate, log_odds
from tests.analysis.report.conftest import MakeReport, Report
from tests.analysis.report.simulated import simulated_votes


def estimate_of(report: Report) -> Estimate:
    assert report.found.estimate is not None
    return report.found.estimate


def test_the_baseline_comes_second_in_every_one_of_its_contrasts(report: Report) -> None:
    estimate = estimate_of(report)
    rows = of_baseline(estimate.pairwise, "fp32")
    assert {row.arm_a for row in rows} == {"w4a8", "w4a8+qsched", "w4a4"}
    assert {row.arm_b for row in rows} == {"fp32"}
    strength = dict(zip(estimate.fit.arms, estimate.fit.log_strengths, strict=True))
    for row in rows:
        assert row.log_odds == pytest.approx(strength[row.arm_a] - strength["fp32"])
        assert row.low_all < row.low < row.log_odds < row.high < row.high_all
        assert row.raw.arm_a == row.arm_a
    assert len(contrasts_table(estimate, baseline="fp32").rows) == 3
    assert len(contrasts_table(estimate).rows) == 6


def test_each_row_of_the_figure_has_its_own_two_intervals_and_is_filled_only_if_detected(report: Report) -> None:
    estimate = estimate_of(report)
    rows = of_baseline(estimate.pairwise, "fp32")
    with matplotlib.rc_context(RC):
        draft = draw_contrasts(rows, estimate=estimate, margin=0.03, name="contrasts-baseline", which="each")
    axes = draft.figure.axes[0]
    thin, thick = (bars.get_segments() for bars in axes.collections)
    markers = {
        (x, y): line.get_markerfacecolor()
        for line in axes.lines
        if isinstance(line, Line2D) and line.get_marker() == "o"
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }
    assert len(markers) == len(rows)
    for index, (place, row) in enumerate(zip(range(len(rows) - 1, -1, -1), rows, strict=True)):
        assert np.array_equal(thick[index], [(row.low, place), (row.high, place)])
        assert np.array_equal(thin[index], [(row.low_all, place), (row.high_all, place)])
        assert (markers[row.log_odds, place] == PAPER) == (row.p_holm >= 0.05)
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert "50 %" in ticks and axes.get_xticks()[ticks.index("50 %")] == 0.0
    assert log_odds(0.53) == pytest.approx(axes.patches[0].get_extents().transformed(axes.transData.inverted()).x1)


def test_the_contrasts_are_the_first_section_and_their_figure_is_written(report: Report) -> None:
    page = report.page
    assert page.index('id="contrasts"') < page.index('id="strengths"') < page.index('id="pairs"')
    assert {path.stem for path in (report.folder / "figures").iterdir()} >= {"contrasts", "contrasts-baseline"}


def test_residuals_are_those_of_a_hand_count_and_turn_sign_with_the_pair(report: Report) -> None:
    estimate = estimate_of(report)
    strength = dict(zip(estimate.fit.arms, estimate.fit.log_strengths, strict=True))
    rows = report.document["model_fit"]["residuals"]
    assert len(rows) == 6
    by_pair = {(pair.arm_a, pair.arm_b): pair for pair in estimate.pairwise}
    csv = pl.read_csv(report.folder / "winrates.csv")
    for row in csv.iter_rows(named=True):
        raw = by_pair[row["arm_a"], row["arm_b"]].raw
        expected = 1 / (1 + math.exp(strength[row["arm_b"]] - strength[row["arm_a"]]))
        assert raw.win_rate is not None
        assert row["excess"] == pytest.approx(raw.win_rate - expected)
        (own,) = [r for r in rows if {r["arm_a"], r["arm_b"]} == {row["arm_a"], row["arm_b"]}]
        sign = 1 if own["arm_a"] == row["arm_a"] else -1
        assert row["excess"] == pytest.approx(sign * own["excess"])


def test_strata_state_their_fit_and_one_test_of_all_differences(report: Report) -> None:
    strata = report.document["strata"]
    assert 0 <= strata["omnibus_p"] <= 1
    assert all(0 <= stratum["fit_p"] <= 1 for stratum in strata["strata"])
    assert "One test of all strengths together: p" in report.page


def test_groups_without_a_common_estimate_are_estimated_each_by_itself_and_marked(make_report: MakeReport) -> None:
    one, two = simulated_votes({"a": 0.2, "b": 0.0}, seed=1), simulated_votes({"c": 0.5, "d": 0.0}, seed=2)
    two = two.with_columns(pl.col("session") + "-2", pl.col("pair_id") + "-2")
    both, alone = make_report(pl.concat([one, two])), make_report(one)
    assert both.found.estimate is None
    groups = {tuple(sorted(group["arms"])): group for group in both.document["groups"]}
    assert set(groups) == {("a", "b"), ("c", "d")}
    assert groups["a", "b"]["n_votes"] == one.height
    assert groups["a", "b"]["strengths"] == alone.document["strengths"]
    assert "numbers of different groups cannot be compared" in both.page
    assert alone.document["groups"] == []
    assert "there is an estimate, each by itself: a, b; c, d" in both.page or "c, d; a, b" in both.page


def test_what_was_collected_is_counted_and_dated(make_report: MakeReport) -> None:
    votes = simulated_votes(n_annotators=3, votes_each=40).head(100)
    made = make_report(votes, wording="Which picture is better?")
    found = made.document["collected"]
    spread = {row["of"]: row for row in found["spreads"]}
    assert (spread["Annotator"]["n"], spread["Annotator"]["least"], spread["Annotator"]["most"]) == (3, 20, 40)
    assert spread["Annotator"]["median"] == 40
    per_prompt = votes.group_by("prompt_id").len()["len"]
    assert (spread["Prompt"]["least"], spread["Prompt"]["most"]) == (per_prompt.min(), per_prompt.max())
    assert found["first"].startswith("2026-03-02") and "from 2026" not in made.page
    assert "as annotators read it: “Which picture is better?”" in made.page


def test_the_text_of_the_document_is_that_of_json_dumps(report: Report) -> None:
    expected = json.dumps(report_document(report.found), indent=1, allow_nan=False, ensure_ascii=True)
    assert report_json(report.found) == expected + "\n"


def test_long_tables_are_folded_and_short_ones_are_not(make_report: MakeReport) -> None:
    page = make_report(simulated_votes({f"arm{i}": 0.1 * i for i in range(8)}, votes_each=60)).page
    folded = page.split("<details>")[1:]
    assert any("28 rows" in part.split("</summary>")[0] for part in folded)
    assert 'id="caption-strengths"' not in "".join(part.split("</details>")[0] for part in folded)

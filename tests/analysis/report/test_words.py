"""No sentence claims more than its interval allows."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from analysis.report.prose.summary import summary_points
from analysis.report.subjects.claims import headline, judge_pair
from analysis.stats import ContrastRow, RawPair, win_probability
from tests.analysis.report.conftest import MakeReport, Report
from tests.analysis.report.simulated import simulated_votes

# Words that claim sameness, or a winner, beyond what an undetected difference allows.
CLAIMS_TOO_MUCH = re.compile(
    r"\b(equal|equally|same as|as good as|identical|no difference between|there is no difference|indistinguishable|"
    r"best|worst|better|worse|significant|proves?|proven)\b",
    re.IGNORECASE,
)


def pair(log_odds: float, se: float, p_holm: float, *, p: float | None = None, wide: float = 2.6) -> ContrastRow:
    raw = RawPair("a", "b", 100, 50, 40, 10, 0.55, 0.45, 0.65, 0.05, 0.55, 0.1, 10, 10, "clustered")
    low, high = log_odds - 2 * se, log_odds + 2 * se
    return ContrastRow(
        arm_a="a",
        arm_b="b",
        raw=raw,
        log_odds=log_odds,
        se=se,
        low=low,
        high=high,
        low_all=log_odds - wide * se,
        high_all=log_odds + wide * se,
        win_probability=win_probability(log_odds),
        win_probability_low=win_probability(low),
        win_probability_high=win_probability(high),
        elo_difference=0.0,
        df=20.0,
        p=p_holm if p is None else p,
        p_holm=p_holm,
        prob_superior=0.5,
        design_effect=1.0,
        detectable=3 * se,
    )


def sentence(row: ContrastRow, margin: float | None = None) -> str:
    return judge_pair(row, alpha=0.05, confidence=0.95, n_pairs=3, margin=margin).sentence


def test_an_undetected_difference_names_the_difference_that_would_have_been_detected() -> None:
    text = sentence(pair(0.05, 0.1, 0.8))
    assert "No difference was detected between a and b" in text
    assert "Differences larger than 57.4\u00a0% against 42.6\u00a0% would have been detected" in text
    assert not CLAIMS_TOO_MUCH.search(text)
    assert "equivalent" not in text


def test_a_study_that_detects_nothing_does_not_claim_to_detect_differences_beyond_100_percent() -> None:
    text = sentence(pair(0.05, 4.0, 0.8))
    assert "larger than" not in text and "Hardly any difference, however large, would have been detected" in text


@pytest.mark.parametrize("log_odds", [0.6, -0.6])
def test_a_detected_difference_names_the_preferred_arm_and_its_own_win_rate(log_odds: float) -> None:
    text = sentence(pair(log_odds, 0.1, 0.001))
    winner, loser = ("a", "b") if log_odds > 0 else ("b", "a")
    assert text.startswith(f"{winner} was preferred to {loser}: estimated win rate 64.6\u00a0%")
    assert "interval 59.9\u00a0% to 69.0\u00a0%" in text


def test_a_difference_that_holm_takes_back_is_not_detected_and_the_sentence_says_so() -> None:
    text = sentence(pair(0.25, 0.1, 0.09, p=0.03))
    assert text.startswith("No difference was detected")
    assert "after allowing for all 3 comparisons it is not a detected difference" in text


def test_equivalence_needs_a_margin_and_an_interval_for_all_pairs_inside_it() -> None:
    narrow = pair(0.01, 0.02, 0.9)
    assert "equivalent" not in sentence(narrow)
    assert "equivalent within the margin of ±3 percentage points" in sentence(narrow, 0.03)
    # The pointwise interval (±2 SE, to 52.2 %) fits into this margin, the one for all pairs (±6 SE) does not.
    assert "Equivalence within the margin" in sentence(pair(0.01, 0.02, 0.9, wide=6.0), 0.03)
    assert "was not shown" in sentence(pair(0.01, 0.02, 0.9, wide=6.0), 0.03)


def test_a_detected_difference_inside_the_margin_is_called_smaller_than_the_margin() -> None:
    text = sentence(pair(0.06, 0.01, 0.001), 0.05)
    assert text.startswith("a was preferred to b") and "smaller than the margin of ±5" in text


def test_the_headline_counts_and_leaves_the_rest_open() -> None:
    yes = judge_pair(pair(0.6, 0.1, 0.001), alpha=0.05, confidence=0.95, n_pairs=2, margin=None)
    no = judge_pair(pair(0.0, 0.1, 0.9), alpha=0.05, confidence=0.95, n_pairs=2, margin=None)
    assert headline((yes, no)) == ("A difference was detected in 1 of 2 pairs of arms; for the others it remains open.")
    assert headline((no, no)) == "No difference was detected in any of the 2 pairs of arms."


def test_no_summary_of_arms_without_a_difference_claims_sameness_or_a_winner(make_report: MakeReport) -> None:
    alike = simulated_votes({"x": 0.0, "y": 0.0, "z": 0.0}, taste=0.0, seed=3)
    found = make_report(alike).found
    assert all(not claim.detected for claim in found.claims)
    for point in summary_points(found):
        assert not CLAIMS_TOO_MUCH.search(point), point
    many = make_report(simulated_votes({f"arm{i}": 0.0 for i in range(6)}, seed=5)).found
    for point in summary_points(many):
        assert not CLAIMS_TOO_MUCH.search(point), point


def test_vote_level_intervals_carry_their_warning_into_the_summary(make_report: MakeReport, report: Report) -> None:
    estimate = replace(report.found.settings.estimate, intervals="vote")
    points = summary_points(make_report(simulated_votes(), estimate=estimate).found)
    assert any("take every vote as independent" in point for point in points)
    assert not any("take every vote as independent" in point for point in summary_points(report.found))


def test_simulated_votes_are_called_simulated_before_anything_else(report: Report) -> None:
    assert summary_points(report.found)[0].startswith("The votes were given by simulated annotators.")


def test_one_annotator_and_one_prompt_are_too_few_and_not_without_ids(make_report: MakeReport) -> None:
    made = make_report(simulated_votes(n_annotators=1, n_prompts=1, votes_each=60, seed=4), drawn=True)
    text = " ".join(summary_points(made.found))
    assert "1 annotator and 1 prompt are too few to show it" in text and "no ids" not in text

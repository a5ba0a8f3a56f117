"""The methods paragraphs cite what they use, and list what they cite."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from analysis.report.prose.methods import methods_paragraphs
from analysis.stats import EstimateSettings
from tests.analysis.report.conftest import MakeReport
from tests.analysis.report.simulated import simulated_votes

CHOICES = [
    EstimateSettings(resamples=200),
    EstimateSettings(resamples=200, intervals="vote", model="davidson", position_effect=True),
    EstimateSettings(intervals="prompt", method="sandwich", model="rao-kupper"),
    EstimateSettings(intervals="model"),
]


@pytest.mark.parametrize("estimate", CHOICES, ids=lambda choice: f"{choice.model} {choice.intervals}")
def test_references_are_numbered_as_first_cited_and_none_is_uncited(
    make_report: MakeReport, estimate: EstimateSettings
) -> None:
    paragraphs, references = methods_paragraphs(make_report(simulated_votes(votes_each=20), estimate=estimate).found)
    cited = [
        int(number) for group in re.findall(r"\[([\d, ]+)\]", " ".join(paragraphs)) for number in group.split(", ")
    ]
    assert list(dict.fromkeys(cited)) == list(range(1, len(references) + 1))


def test_the_paragraphs_say_which_intervals_which_model_and_what_is_ignored(make_report: MakeReport) -> None:
    votes = simulated_votes(votes_each=20)
    text = " ".join(methods_paragraphs(make_report(votes, estimate=CHOICES[2]).found)[0])
    assert "Rao and Kupper's model" in text and "sandwich" in text and "bootstrap" not in text
    assert "These intervals ignore differences between annotators" in text
    default = " ".join(methods_paragraphs(make_report(votes, estimate=replace(CHOICES[0], seed=5)).found)[0])
    assert "200 resamples (seed 5)" in default and "480 votes by 24 annotators on 20 prompts" in default

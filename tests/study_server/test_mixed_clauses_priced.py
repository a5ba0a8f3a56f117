"""`qsched study check`: arms whose clauses go through one map are priced together."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from analysis.planning import fidelity_mixed
from analysis.planning.fidelity_price import Price, PriceAssumptions
from qsched.cli.study_fidelity import _attention_text, _counts_through_map, _mean_text
from qsched.records.registration import Clauses, MeanPlan

CLAUSES = Clauses(arm="w4a4", mean=MeanPlan(evidence="mixed"))


@pytest.fixture
def priced(monkeypatch):
    asked = []

    def mixed(limit, assumed, *, arms=1):
        asked.append(arms)
        return Price("mixed", 300.0, 650.0)

    monkeypatch.setattr(fidelity_mixed, "mixed_price", mixed)
    monkeypatch.setattr(fidelity_mixed, "map_check_price", lambda assumed: Price("check", 1800.0, 800.0))
    return asked


@pytest.mark.parametrize(
    ("given", "words"), [(949, "too few"), (950, "only with the votes of an earlier study"), (3550, "gives 3,550$")]
)
def test_votes_are_compared_with_what_all_arms_and_the_check_of_the_map_take(priced, given: int, words: str):
    text = _mean_text(CLAUSES, PriceAssumptions(), 0, through_map=given, arms=8)
    assert priced == [8]
    assert "950 votes for all 8 arms with such clauses together and 2,600 to check the map (once)" in text
    assert re.search(words, text)


def test_an_arms_own_plain_votes_say_nothing_about_its_map():
    def pair(shown: str, *arms: str) -> SimpleNamespace:
        first, second = arms
        return SimpleNamespace(
            first_arm=first, second_arm=second, triplet=SimpleNamespace(presentation=SimpleNamespace(value=shown))
        )

    assert _counts_through_map(pair("boosted", "fp16", "w4a4"), ["w4a4"])
    assert _counts_through_map(pair("plain", "fp16", "rung"), ["w4a4"])
    assert not _counts_through_map(pair("plain", "fp16", "w4a4"), ["w4a4"])


@pytest.mark.parametrize(("guess", "votes", "noticed"), [(2.2, "6.0", True), (1.0, "0.0", False)])
def test_plain_votes_on_strong_arms_are_counted_for_each_person(guess: float, votes: str, noticed: bool):
    fidelity = SimpleNamespace(guess={"w3": guess})
    pair = SimpleNamespace(
        first_arm="fp16",
        second_arm="w3",
        triplet=SimpleNamespace(presentation=SimpleNamespace(value="plain"), reference_arm="fp16"),
    )
    design = SimpleNamespace(votes_of=lambda shown, arms: 30)
    text = _attention_text(design, fidelity, [pair], SimpleNamespace(annotators=5))
    assert text.startswith(f"{votes} plain votes of each person")
    assert ("may not be noticed" in text) is not noticed

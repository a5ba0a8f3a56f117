"""The benchmark of dropping arms looks as `qsched study look` does, and judges claims by the truth."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.stats import count_codes
from analysis.stats.scales import win_probability
from analysis.stats.stopping import look_at_arms
from benchmarks import dropping, rankings_dropped
from benchmarks.dropping import ARMS, BORDERS, PAIRS, RANKINGS, WAYS, People, claims, run_dropping


@pytest.mark.parametrize("way", [PAIRS, RANKINGS, WAYS[2]], ids=lambda way: way.name)
def test_a_look_finds_what_the_command_s_analysis_finds(way, monkeypatch):
    people, seen = People(way, BORDERS, prompts=3000, seed=3), []
    real = people.counts.add
    monkeypatch.setattr(people.counts, "add", lambda *votes: seen.append(votes) or real(*votes))
    people.vote(700)
    people.vote(600, (2, 3, 5, 7))
    for number, votes in enumerate(seen[1:], start=1):
        votes[0][...] += 700 * number  # people of a later call are others
    person, prompt, first, second, wins = (np.concatenate(part) for part in zip(*seen, strict=True))
    swap = np.arange(len(first)) % 3 == 0  # which of the two is on the left means nothing
    counts = count_codes(
        np.where(swap, second, first),
        np.where(swap, first, second),
        np.where(wins ^ swap, 0, 1),
        arms=ARMS,
        annotator=person,
        prompt=prompt,
    )
    theirs = look_at_arms(counts, way.rule, look=9, arms=7, undecided=ARMS[1:])
    ours = claims(way, *people.counts.differences(), look=9)
    for (decision, low, high), arm, votes in zip(ours, theirs, people.counts.votes_of_arms()[1:], strict=True):
        assert win_probability(low) == pytest.approx(arm.low, abs=5e-4)
        assert win_probability(high) == pytest.approx(arm.high, abs=5e-4)
        assert (decision, votes) == (arm.decision, arm.votes)


def test_simulated_people_prefer_as_often_as_the_truth_says():
    people = People(PAIRS, BORDERS, prompts=20_000, seed=1)
    people.vote(12_000)
    difference, spread = people.counts.differences()
    for d, se, rate in zip(difference, spread.shown, BORDERS, strict=True):
        assert abs(d - np.log(rate / (1 - rate))) < 4 * se and se < 0.02


def test_an_arm_on_a_border_can_only_be_claimed_wrongly():
    judged = {
        (d, rate): dropping._judged(d, -1, 1, rate)["wrong"]
        for d in ("better", "worse", "equivalent", "open")
        for rate in (0.5, 0.53)
    }
    assert [judged[d, 0.5] for d in ("better", "worse", "equivalent", "open")] == [True, True, False, False]
    assert [judged[d, 0.53] for d in ("better", "worse", "equivalent", "open")] == [False, True, True, False]


def test_a_study_ends_when_every_arm_is_decided_or_the_last_look_is_over():
    way = dropping.replace(PAIRS, rule=PAIRS.rule.model_copy(update={"horizon": 900, "looks": 3}))
    found = run_dropping(way, dropping.WIN_RATES, prompts=200, seed=2)
    assert found["looks"] == 3 and found["tasks"] == {2: 10 * found["people"]}
    assert {arm["decision"] for arm in found["arms"]} >= {"open"}


def test_the_hours_of_a_fixed_study_are_the_least_that_decide_as_often():
    rows = [{"hours": h, "all_decided": share} for h, share in ((80, 0.2), (100, 0.6), (120, 1.0), (140, 1.0))]
    found = [dropping.hours_to_decide(rows, share) for share in (0.1, 0.2, 0.4, 1.0)]
    assert found == [80, 80, 90, 120]
    assert dropping.hours_to_decide(rows[:2], 0.7) is None


def test_a_ranking_study_of_the_servers_sets_shrinks_them_with_the_open_arms():
    sets = rankings_dropped.plan(3)
    study = rankings_dropped.RankedStudy(sets, 3, seed=1)
    study.rank_until(40, rankings_dropped.VARIANTS)
    assert study.rankings * 6 == sum(study.of_arms.values()) and min(study.of_arms.values()) >= 40
    assert max(study._load) == 1, "nothing twice before all once"
    before = study.rankings
    last = rankings_dropped.VARIANTS[-1:]
    study.rank_until(study.of_arms[last[0]] + 50, last)
    assert study.rankings - before == 50, "two pictures are one vote"
    assert study.counts().n_votes == before * 3 + 50

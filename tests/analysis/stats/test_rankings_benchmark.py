"""The benchmark of rankings hands sets out as the server does, and ranks by the truth that it judges by."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from analysis.stats import fit_bradley_terry
from benchmarks import rankings
from benchmarks.human_hours import ARMS, WIN_RATES


@pytest.mark.parametrize("pictures", [3, 4])
def test_every_set_gets_its_rankings_and_nobody_sees_one_twice(pictures: int):
    sets = rankings.plan(pictures, "s")
    each = -(-len(sets) * rankings.VOTES_PER_SET // rankings.PEOPLE)
    shown = rankings.hand_out(sets, each, random.Random(1))
    assert len(shown) >= 0.97 * len(sets) * rankings.VOTES_PER_SET
    assert max(Counter((person, number) for person, number, _ in shown).values()) == 1
    assert max(Counter(number for _, number, _ in shown).values()) == rankings.VOTES_PER_SET
    assert {len(places) for _, _, places in shown} == {pictures}


def test_contrasts_of_many_studies_have_the_win_rates_that_they_are_judged_by():
    found = []
    for seed in range(25):
        fit = fit_bradley_terry(rankings.rankings(rankings.World(seed), 4, seed))
        base = fit.log_strengths[fit.arms.index(ARMS[0])]
        found.append([1 / (1 + np.exp(base - fit.log_strengths[fit.arms.index(arm)])) for arm in ARMS[1:]])
    means, error = np.mean(found, axis=0), np.std(found, axis=0) / 5
    assert np.abs((means - WIN_RATES) / error).max() < 4

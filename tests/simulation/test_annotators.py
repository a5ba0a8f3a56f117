from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from qsched.errors import InputError
from qsched.records import Choice
from qsched.simulation import Population, choose, draw_annotators
from qsched.simulation.annotators import rank_pictures

ONE = draw_annotators(1, population=Population(), seed=0)[0]


def share(annotator, *, left, right, n=20_000, want=Choice.LEFT):
    rng = np.random.default_rng(5)
    return sum(choose(annotator, left=left, right=right, rng=rng) is want for _ in range(n)) / n


def test_without_ties_and_lapses_a_choice_is_bradley_terry_in_the_scores():
    exact = dataclasses.replace(ONE, sensitivity=4.0, side=0.3, lapse=0.0, tie_threshold=0.0)
    assert share(exact, left=0.8, right=0.5) == pytest.approx(1 / (1 + np.exp(-(4.0 * 0.3 + 0.3))), abs=0.012)


def test_a_lapse_is_a_coin_with_three_sides():
    asleep = dataclasses.replace(ONE, lapse=1.0)
    for choice in (Choice.LEFT, Choice.RIGHT, Choice.TIE):
        assert share(asleep, left=1.0, right=0.0, want=choice) == pytest.approx(1 / 3, abs=0.012)


def test_swapping_the_sides_swaps_the_choices_of_an_unbiased_annotator():
    fair = dataclasses.replace(ONE, side=0.0)
    assert share(fair, left=0.9, right=0.6) == pytest.approx(
        share(fair, left=0.6, right=0.9, want=Choice.RIGHT), abs=0.012
    )


def test_an_annotator_does_not_depend_on_how_many_are_drawn():
    few, many = (draw_annotators(n, population=Population(), seed=3) for n in (2, 9))
    assert few == many[:2]
    assert len({person.side for person in many}) == 9


@pytest.mark.parametrize("bad", [{"lapse_mean": 0.0}, {"tie_threshold": -1}, {"sensitivity_median": 0}])
def test_an_impossible_population_is_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        Population(**bad)


def test_a_ranking_compares_every_two_pictures_as_a_vote_does():
    """Rates at which the better of two is preferred: alone, and inside a set of four."""
    annotator = dataclasses.replace(
        draw_annotators(1, population=Population(), seed=1)[0], side=0.0, lapse=0.0, tie_threshold=0.0
    )
    rng = np.random.default_rng(4)
    scores = (0.5, 0.6, 0.4, 0.55)
    ahead = 0
    for _ in range(4000):
        groups = rank_pictures(annotator, scores, rng=rng)
        assert sorted(number for group in groups for number in group) == [0, 1, 2, 3]
        order = [number for group in groups for number in group]
        ahead += order.index(1) < order.index(2)
    wanted = 1 / (1 + np.exp(-annotator.sensitivity * 0.2))
    assert ahead / 4000 == pytest.approx(wanted, abs=4 * np.sqrt(wanted * (1 - wanted) / 4000))

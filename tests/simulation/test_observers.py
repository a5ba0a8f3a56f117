"""Simulated observers answer as the psychometric function says, and the worlds have the mean they claim."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from qsched.errors import InputError
from qsched.simulation.observers import (
    WORLDS,
    ObserverPopulation,
    Q,
    answer_triplets,
    draw_damage,
    draw_gains,
    draw_observers,
)

N = 200_000


def answers(population: ObserverPopulation, damage: float, *, boosted: bool = False, people: int = 1) -> np.ndarray:
    rng = np.random.default_rng(3)
    observers = draw_observers(people, population=population, rng=rng)
    found = answer_triplets(
        observers,
        person=np.arange(N) % people,
        left=np.zeros(N),
        right=np.full(N, damage),
        boosted=np.full(N, boosted),
        gain=np.full(N, population.gain),
        population=population,
        rng=rng,
    )
    return np.bincount(found, minlength=3) / N


EXACT = ObserverPopulation(sensitivity_log_sd=0, lapse_mean=0, side_sd=0, plain_threshold=0, boosted_threshold=0.5)


def test_one_jnd_is_named_by_three_quarters():
    assert answers(EXACT, 1.0)[2] == pytest.approx(0.75, abs=0.004)


def test_boosting_multiplies_the_difference_and_bends_it():
    population = ObserverPopulation(**EXACT.as_dict() | {"gain": 2.0, "exponent": 1.5})
    expected = ndtr(Q * 2 * 0.6**1.5 - 0.5)
    assert answers(population, 0.6, boosted=True)[2] == pytest.approx(expected, abs=0.004)


def test_lapses_and_careless_people_answer_evenly():
    population = ObserverPopulation(**EXACT.as_dict() | {"lapse_mean": 0.3, "careless": 0.5})
    found = answers(population, 20.0, people=4000)
    blind = 0.5 + 0.5 * 0.3
    assert found == pytest.approx([blind / 3, blind / 3, 1 - 2 * blind / 3], abs=0.02)


@pytest.mark.parametrize("world", WORLDS)
def test_every_world_has_the_mean_that_was_asked_for(world: str):
    damage = draw_damage(world, 0.4, N, rng=np.random.default_rng(1))
    assert damage.mean() == pytest.approx(0.4, abs=0.005)
    assert (damage >= 0).all()


def test_gains_vary_about_their_mean_and_sensitivities_about_one():
    population = ObserverPopulation(gain=3.0, gain_log_sd=0.3, sensitivity_log_sd=0.4)
    rng = np.random.default_rng(2)
    assert draw_gains(N, population=population, rng=rng).mean() == pytest.approx(3.0, abs=0.02)
    assert draw_observers(N, population=population, rng=rng).sensitivity.mean() == pytest.approx(1.0, abs=0.01)


def test_impossible_numbers_are_refused():
    with pytest.raises(InputError, match="lapse_mean is"):
        ObserverPopulation(lapse_mean=1.0)
    with pytest.raises(InputError, match="is not a known world"):
        draw_damage("flat", 0.3, 4, rng=np.random.default_rng(0))
    with pytest.raises(InputError, match="7 % of the prompts"):
        draw_damage("broken", 0.05, 4, rng=np.random.default_rng(0))

"""The set of equals: the best candidate stays, clear losers go, few prompts decide nothing."""

from __future__ import annotations

import numpy as np

from qsched.calibration.equals import set_of_equals


def world(seed: int, n: int, *, heavy: bool = False) -> np.ndarray:
    """41 candidates on a slope away from number 20; prompts have effects, candidates noise that grows outwards."""
    rng = np.random.default_rng(seed)
    place = np.linspace(-1, 1, 41)[:, None]
    noise = rng.standard_t(3, size=(41, n)) if heavy else rng.normal(size=(41, n))
    return -0.3 * np.abs(place) + rng.normal(size=(1, n)) + 0.1 * (1 + 3 * np.abs(place)) * noise


def test_the_truly_best_is_in_the_set_in_nearly_all_worlds_also_with_heavy_tails():
    for heavy in (False, True):
        for n in (5, 25):
            inside = [20 in set_of_equals(world(seed, n, heavy=heavy), seed=seed) for seed in range(60)]
            assert np.mean(inside) >= 0.93, (heavy, n)


def test_more_prompts_make_the_set_smaller_and_five_decide_next_to_nothing():
    sizes = {n: np.mean([len(set_of_equals(world(seed, n))) for seed in range(20)]) for n in (5, 25, 100)}
    assert sizes[5] > 30 > sizes[25] > sizes[100]


def test_a_candidate_that_is_worse_by_the_same_on_every_prompt_leaves():
    effect = np.array([0.0, 5.0, -3.0, 8.0, 1.0])
    assert set_of_equals(np.array([effect, effect - 0.1])) == [0]
    assert set_of_equals(np.array([effect, effect])) == [0, 1], "the same values are equal"


def test_one_prompt_or_one_candidate_leaves_everything_as_it_is():
    assert set_of_equals(np.array([[1.0], [9.0]])) == [0, 1] and set_of_equals(np.array([[1.0, 2.0]])) == [0]

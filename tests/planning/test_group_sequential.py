"""Wang and Tsiatis's bounds: published constants, and the level of a simulated path."""

from __future__ import annotations

import numpy as np
import pytest

from qsched.errors import InputError
from qsched.planning import wang_tsiatis_bounds

# Jennison and Turnbull (2000), Group Sequential Methods, tables 2.1, 2.3 and 2.9: alpha = .05, K looks.
PUBLISHED = [(2, 0.0, 1.977), (5, 0.0, 2.040), (10, 0.0, 2.087), (2, 0.5, 2.178), (5, 0.5, 2.413), (10, 0.5, 2.555)]


@pytest.mark.parametrize(("looks", "shape", "constant"), PUBLISHED)
def test_the_constants_of_pocock_and_of_obrien_and_fleming_are_the_published_ones(looks, shape, constant):
    assert wang_tsiatis_bounds(looks, 0.05, shape=shape)[-1] == pytest.approx(constant, abs=1e-3)


def test_a_path_without_a_difference_leaves_the_bounds_as_often_as_the_level_says():
    rng = np.random.default_rng(5)
    looks, paths = 18, 40_000
    steps = rng.normal(size=(paths, looks)).cumsum(axis=1) / np.sqrt(np.arange(1, looks + 1))
    left = (np.abs(steps) > np.array(wang_tsiatis_bounds(looks, 0.05))).any(axis=1).mean()
    assert left == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / paths))


@pytest.mark.parametrize("part", [0.0, 0.4, 0.8])
def test_a_last_look_before_its_time_leaves_no_more_wrong_claims_than_the_look_in_time(part):
    """Look 11 of 18 with less information than planned, its own bound, and none after it."""
    rng = np.random.default_rng(6)
    looks, last, paths = 18, 11, 200_000
    bounds = np.array(wang_tsiatis_bounds(looks, 0.05))[:last]
    steps = rng.normal(size=(paths, last))
    times = np.arange(1, last + 1) / looks
    in_time = (np.abs(steps.cumsum(axis=1)) / np.sqrt(times * looks) > bounds).any(axis=1).mean()
    steps[:, -1] *= np.sqrt(part)
    times[-1] = (last - 1 + part) / looks
    early = (np.abs(steps.cumsum(axis=1)) / np.sqrt(times * looks) > bounds).any(axis=1).mean()
    assert early <= in_time + 4 * np.sqrt(in_time / paths)


def test_one_look_is_the_usual_test_and_no_level_beyond_one_half_is_taken():
    assert wang_tsiatis_bounds(1, 0.05) == pytest.approx((1.95996,), abs=1e-4)
    with pytest.raises(InputError, match="looks is 0"):
        wang_tsiatis_bounds(0, 0.05)
    with pytest.raises(InputError, match=r"level is 0\.5"):
        wang_tsiatis_bounds(3, 0.5)

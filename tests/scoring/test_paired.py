"""The interval of a mean gain: its two parts, its coverage where a few prompts break, its counts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from qsched.errors import InputError
from qsched.scoring.paired import hall_bounds, mean_interval, paired_difference, skewness, student_bounds


@pytest.mark.parametrize("skew", [-3.0, -0.5, 0.0, 1.2])
def test_halls_bounds_invert_the_transformation_as_the_paper_writes_it(skew):
    n, level = 30, 0.95
    a = skew / np.sqrt(n)

    def g(t):
        return t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6

    for bound, quantile in zip(hall_bounds(skew, n, level), student_bounds(n, level), strict=True):
        assert bound == pytest.approx(brentq(lambda t, q=quantile: g(t) - q, -1e4, 1e4), rel=1e-6)


def test_skewness_is_scipys_unbiased_one_and_zero_without_spread():
    values = np.random.default_rng(0).exponential(size=40)
    assert skewness(values) == pytest.approx(stats.skew(values, bias=False))
    assert skewness(np.full(9, 0.1)) == 0.0 == skewness(np.array([1.0, 2.0]))


def test_symmetric_differences_have_students_interval():
    d = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])
    found = paired_difference(d, np.zeros(5))
    low, high = stats.t.interval(0.95, 4, loc=0, scale=stats.sem(d))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.above, found.below, found.counts()) == (2, 2, "2 prompts better, 2 worse, 1 equal")
    assert found.counts(higher_is_better=False) == "2 prompts better, 2 worse, 1 equal"


def test_a_few_broken_prompts_do_not_make_a_gain_and_students_t_would():
    """5 % of prompts lose 19 times what the others gain: the true mean is 0."""
    rng = np.random.default_rng(0)
    false, false_student = 0, 0
    for _ in range(1500):
        d = np.where(rng.random(100) < 0.05, -0.19, 0.01) + 0.01 * rng.normal(size=100)
        false += paired_difference(d, np.zeros(100)).is_gain
        false_student += d.mean() - stats.t.ppf(0.975, 99) * stats.sem(d) > 0
    assert false / 1500 < 0.025 < 0.06 < false_student / 1500


def test_heavy_tails_alike_on_both_sides_keep_students_coverage():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(1500, 25)) * np.exp(0.8 * rng.normal(size=(1500, 25)))
    found = [paired_difference(d, np.zeros(25)) for d in draws]
    assert np.mean([one.low <= 0 <= one.high for one in found]) > 0.94


@pytest.mark.parametrize(
    ("n", "level", "is_gain"), [(2, 0.95, False), (5, 0.95, False), (6, 0.95, True), (5, 0.9, True)]
)
def test_equal_differences_are_a_gain_only_if_chance_does_not_make_so_many(n, level, is_gain):
    """Two prompts that both gained a quarter had the interval [0.25, 0.25], and that was a gain."""
    ours, theirs = 0.35 + 0.1 * np.arange(n), 0.1 + 0.1 * np.arange(n)  # equal but for the last bits
    found, lost = paired_difference(ours, theirs, level=level), paired_difference(theirs, ours, level=level)
    assert found.is_gain is is_gain and found.mean == pytest.approx(found.high) == pytest.approx(0.25)
    assert found.low == pytest.approx(0.25 if is_gain else 0.0, abs=1e-9) == pytest.approx(-lost.high, abs=1e-9)
    assert found.above == n == lost.below


def test_equal_values_of_one_arm_have_no_width_and_one_pair_no_interval():
    alike = mean_interval([10.0, 10.0])
    assert (alike.low, alike.high) == (10.0, 10.0), "a mean is not held against 0"
    with pytest.raises(InputError, match="1 pair"):
        paired_difference([1.0], [0.0])

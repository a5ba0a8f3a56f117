"""The difference of contrasts of two independent vote sets: its interval covers, and says what it cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from qsched.bench.compare import difference
from qsched.bench.results import MetricEstimate, Preference


def preference(contrast: float | None, se: float | None, df: float = math.inf) -> Preference:
    q = stats.t.ppf(0.975, df) if math.isfinite(df) else stats.norm.ppf(0.975)
    one = None if contrast is None else MetricEstimate(contrast, contrast - q * (se or 0), contrast + q * (se or 0))
    return Preference("s", MetricEstimate(0.5, 0.4, 0.6), 10, 5, False, one, se, {})


def test_the_interval_is_that_of_two_independent_contrasts() -> None:
    found = difference(preference(0.2, 0.3), preference(0.7, 0.4))
    assert found is not None and found.value == pytest.approx(0.5)
    assert found.low == pytest.approx(0.5 - 1.959964 * 0.5) and found.high == pytest.approx(0.5 + 1.959964 * 0.5)


def test_it_covers_where_the_sets_have_few_and_unequal_degrees_of_freedom() -> None:
    rng = np.random.default_rng(5)
    for n_a, n_b, sd_a, sd_b in ((5, 30, 1.0, 1.0), (6, 6, 0.5, 2.0), (40, 40, 1.0, 1.0), (4, 60, 3.0, 0.5)):
        hits = 0
        for _ in range(2000):
            a, b = rng.normal(0.0, sd_a, n_a), rng.normal(0.3, sd_b, n_b)
            one = preference(a.mean(), a.std(ddof=1) / math.sqrt(n_a), n_a - 1)
            other = preference(b.mean(), b.std(ddof=1) / math.sqrt(n_b), n_b - 1)
            found = difference(one, other)
            assert found is not None and found.low is not None and found.high is not None
            hits += found.low <= 0.3 <= found.high
        # Never too narrow: Monte Carlo error is .005.
        assert hits / 2000 >= 0.935, (n_a, n_b)


def test_without_a_standard_error_there_is_no_interval() -> None:
    whole = preference(0.2, 0.3)
    for broken in (preference(None, None), preference(0.2, None), preference(0.2, 0.0), preference(0.2, math.inf)):
        assert difference(whole, broken) is None and difference(broken, whole) is None

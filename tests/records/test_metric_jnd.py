"""Values of a metric as JND and back: identical pictures are 0, limits are careful and never beyond what was judged."""

from __future__ import annotations

import math

import pytest

from qsched.errors import InputError
from qsched.records.metric_jnd import MetricMap, MetricReading, difference_form

EXACT = {"variance_log_a": 0.0, "variance_b": 0.0, "covariance": 0.0}


def make_map(**values) -> MetricMap:
    fields = {
        "metric": "flip",
        "version": "flip 1",
        "form": "lower",
        "log_a": math.log(10),
        "b": 1.0,
        "spread": 0.3,
        "t": 1.7,
        "low": 0.001,
        "high": 0.5,
        "pictures": 50,
        "log_likelihood": -100.0,
        **EXACT,
    }
    return MetricMap(**(fields | values))


@pytest.mark.parametrize(
    ("metric", "higher", "perfect", "worse"),
    [
        ("flip", False, 0.0, 0.2),
        ("cvvdp", True, 10.0, 8.5),
        ("ssimulacra2", True, 100.0, 70.0),
        ("psnr", True, 100.0, 30.0),
    ],
)
def test_identical_pictures_have_no_difference_and_values_come_back(metric, higher, perfect, worse):
    form, best = difference_form(metric, higher_is_better=higher)
    reading = MetricReading(metric=metric, form=form, best=best)
    assert reading.difference(perfect) == 0
    assert reading.difference(worse) > 0
    assert reading.value(reading.difference(worse)) == pytest.approx(worse)


def test_a_metric_whose_best_value_nobody_knows_is_refused():
    with pytest.raises(InputError, match="not known"):
        difference_form("pyiqa:vif", higher_is_better=True)


def test_a_limit_is_where_the_upper_bound_meets_it():
    exact, unsure = make_map(), make_map(variance_log_a=0.04)
    assert exact.limit_at(0.5) == pytest.approx(0.05, rel=0.01)
    assert unsure.limit_at(0.5) == pytest.approx(0.05 * math.exp(-1.7 * 0.2), rel=0.01)
    assert unsure.damage(unsure.limit_at(0.5))[1] <= 0.5


def test_a_limit_is_never_beyond_what_people_judged():
    assert make_map().limit_at(50.0) == pytest.approx(0.5)
    with pytest.raises(InputError, match="smallest difference that people judged"):
        make_map(low=0.1).limit_at(0.5)


def test_a_limit_of_a_metric_of_which_more_is_better():
    cvvdp = make_map(metric="cvvdp", form="from", best=10.0, low=0.01, high=4.0, log_a=0.0)
    assert cvvdp.limit_at(0.5) == pytest.approx(9.5, rel=0.001)

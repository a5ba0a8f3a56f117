"""Agreement of a metric with votes: closed forms, slow twins, and intervals that account for people and prompts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.stats.metric_agreement import (
    agreement_with_votes,
    ceiling,
    clustered_mean,
    kendall_tau,
    paired_difference,
)


def test_agreement_and_auc_are_what_counting_by_hand_gives() -> None:
    margin = np.array([2.0, -1.0, 0.0, 3.0, -2.5, 0.5])
    found = agreement_with_votes(margin, {}, confidence=0.95)
    assert found.agreement.value == pytest.approx((3 + 0.5) / 6)
    slow = np.mean([[(a + b > 0) + (a + b == 0) / 2 for b in margin] for a in margin])
    assert found.auc.value == pytest.approx(slow)
    # Each vote seen from both sides: the ordinary statistic of Mann and Whitney.
    u = stats.mannwhitneyu(margin, -margin).statistic / len(margin) ** 2
    assert found.auc.value == pytest.approx(u)


def test_a_metric_that_knows_all_is_right_always_and_one_that_knows_nothing_half_of_the_time() -> None:
    rng = np.random.default_rng(1)
    sure = agreement_with_votes(rng.random(500) + 0.1, {}, confidence=0.95)
    assert sure.agreement.value == 1.0 and sure.auc.value == 1.0
    nothing = agreement_with_votes(rng.normal(size=4000), {}, confidence=0.95)
    assert nothing.agreement.low is not None and nothing.agreement.high is not None
    assert nothing.agreement.low < 0.5 < nothing.agreement.high
    assert nothing.auc.low is not None and nothing.auc.high is not None and nothing.auc.low < 0.5 < nothing.auc.high


def test_the_two_way_variance_is_the_slow_sum() -> None:
    rng = np.random.default_rng(2)
    x = rng.random(60)
    clusters = {"annotator": rng.integers(0, 6, 60), "prompt_id": rng.integers(0, 5, 60)}
    e = x - x.mean()

    def squares(labels: list[object]) -> float:
        return sum(float(e[[at for at, each in enumerate(labels) if each == one]].sum()) ** 2 for one in set(labels))

    a, p = clusters["annotator"].tolist(), clusters["prompt_id"].tolist()
    total = squares(a) * 6 / 5 + squares(p) * 5 / 4 - squares(list(zip(a, p, strict=True)))
    expected = math.sqrt(max(total, float((e**2).sum()))) / 60
    found = clustered_mean(x, e, clusters, confidence=0.95)
    assert found.se == pytest.approx(expected)
    assert found.high is not None and found.high - found.value == pytest.approx(stats.t.ppf(0.975, 4) * expected)


def test_intervals_of_agreement_and_auc_cover_when_people_and_prompts_differ() -> None:
    rng = np.random.default_rng(3)
    people, prompts, n = 40, 40, 1200
    covered = {"agreement": 0, "auc": 0, "by vote": 0}
    truth = {"agreement": [], "auc": []}
    results = []
    for _ in range(120):
        a, p = rng.integers(0, people, n), rng.integers(0, prompts, n)
        margin = 0.3 + rng.normal(0, 0.6, people)[a] + rng.normal(0, 0.6, prompts)[p] + rng.normal(size=n)
        found = agreement_with_votes(margin, {"annotator": a, "prompt_id": p}, confidence=0.95)
        single = agreement_with_votes(margin, {}, confidence=0.95)
        results.append((found, single))
        truth["agreement"].append(found.agreement.value)
        truth["auc"].append(found.auc.value)
    at = {name: float(np.mean(values)) for name, values in truth.items()}
    for found, single in results:
        for name, mean in (("agreement", found.agreement), ("auc", found.auc)):
            assert mean.low is not None and mean.high is not None
            covered[name] += mean.low <= at[name] <= mean.high
        assert single.agreement.low is not None and single.agreement.high is not None
        covered["by vote"] += single.agreement.low <= at["agreement"] <= single.agreement.high
    assert covered["agreement"] >= 108 and covered["auc"] >= 108  # 90 %: two and a half errors below 95 %
    assert covered["by vote"] < 84


def test_no_metric_of_pictures_passes_the_ceiling() -> None:
    rng = np.random.default_rng(4)
    p = rng.beta(2, 2, 20_000)
    same = float((p**2 + (1 - p) ** 2).mean())
    best = float(np.maximum(p, 1 - p).mean())
    assert best <= ceiling(same) < best + 0.05
    assert ceiling(0.5) == 0.5 and ceiling(1.0) == 1.0


def test_a_metric_compared_with_itself_is_not_behind() -> None:
    margin = np.random.default_rng(5).normal(0.2, 1, 200)
    clusters = {"annotator": np.arange(200) % 10, "prompt_id": np.arange(200) % 7}
    assert paired_difference(margin, margin, clusters, confidence=0.95)[0] == 0.0
    value, low, high = paired_difference(margin, -margin, clusters, confidence=0.95)
    assert low is not None and high is not None and low < value < high and value > 0


def test_tau_is_that_of_scipy() -> None:
    a, b = np.array([1.0, 2.0, 3.0, 4.0, 2.0]), np.array([1.0, 3.0, 2.0, 5.0, 3.0])
    assert kendall_tau(a, b) == pytest.approx(stats.kendalltau(a, b).statistic)
    assert math.isnan(kendall_tau(a, np.ones(5)))

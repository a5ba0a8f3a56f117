"""Differences between arms: pointwise and simultaneous intervals, Holm p-values, ranks.

- Simultaneous: the quantile of max |t| over all pairs, by simulation from the multivariate t with the estimated
  covariance (Hothorn, Bretz and Westfall 2008, Biometrical J. 50:346-363).
- Holm (1979, Scand. J. Statist. 6:65-70) adjusts the two-sided p-values of all pairs.
- Rank intervals: 1 + the number of arms that are better beyond doubt, to K less those that are worse beyond doubt, by
  the simultaneous intervals; they hold for all arms at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.stats.results import Array, Shape, Uncertainty
from qsched.records import InputError

_SIMULATIONS = 20_000
_BLOCK_ENTRIES = 4_000_000


@dataclass(frozen=True)
class PairContrasts:
    """All pairs i < j of arms, shape (M,) each: difference theta_i - theta_j, its se, bounds, p-values."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    difference: Array
    se: Array
    low: Array
    high: Array
    low_all: Array
    high_all: Array
    p: Array
    p_holm: Array
    critical: float
    critical_all: float


def quantile(confidence: float, df: float) -> float:
    """Two-sided t quantile; normal for df = inf."""
    if not 0.5 <= confidence < 1:
        raise InputError(f"The confidence is {confidence}; it must be at least 0.5 and below 1, such as 0.95.")
    tail = (1 + confidence) / 2
    return float(stats.norm.ppf(tail) if math.isinf(df) else stats.t.ppf(tail, df))


def two_sided_p(statistic: Array, df: float) -> Array:
    """Two-sided p-values of t statistics."""
    size = np.abs(statistic)
    return np.asarray(2 * (stats.norm.sf(size) if math.isinf(df) else stats.t.sf(size, df)))


def pair_contrasts(
    theta: Array, unc: Uncertainty, *, confidence: float = 0.95, seed: int = 0, shape: Shape = "t"
) -> PairContrasts:
    """All pairwise differences of strengths under one covariance."""
    k = len(theta)
    first, second = np.triu_indices(k, 1)
    v = unc.covariance[:k, :k]
    difference = theta[first] - theta[second]
    variance = v[first, first] + v[second, second] - 2 * v[first, second]
    se = np.sqrt(np.maximum(variance, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(se > 0, difference / se, np.where(difference == 0, 0.0, np.inf * np.sign(difference)))
    p = two_sided_p(statistic, unc.df)
    critical = quantile(confidence, unc.df)
    critical_all = max_t_quantile(v, first, second, se, unc.df, confidence=confidence, seed=seed)
    low, high = difference - critical * se, difference + critical * se
    if shape == "percentile":
        draws = percentile_draws(unc)
        low, high = percentile_bounds(draws[:, first] - draws[:, second], confidence)
    return PairContrasts(
        first=first,
        second=second,
        difference=difference,
        se=se,
        low=low,
        high=high,
        low_all=difference - critical_all * se,
        high_all=difference + critical_all * se,
        p=p,
        p_holm=holm(p),
        critical=critical,
        critical_all=critical_all,
    )


def percentile_draws(unc: Uncertainty) -> Array:
    """The bootstrap draws of a one-way interval; InputError where there are none to take percentiles of."""
    if unc.draws is None:
        raise InputError(
            f"Percentile intervals need the draws of a one-way bootstrap; this one is {unc.kind} by {unc.method}. "
            "Choose intervals annotator, prompt or vote with method bootstrap, or the t shape."
        )
    return unc.draws


def percentile_bounds(draws: Array, confidence: float) -> tuple[Array, Array]:
    """Equal-tailed percentiles over the first axis."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return low, high


def max_t_quantile(
    v: Array,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    se: Array,
    df: float,
    *,
    confidence: float,
    seed: int,
) -> float:
    """Quantile of the largest |t| over the pairs, never below the pointwise one (which it is for one pair)."""
    pointwise = quantile(confidence, df)
    real = se > 0
    if real.sum() <= 1:
        return pointwise
    values, vectors = np.linalg.eigh((v + v.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    rng = np.random.default_rng([seed, 3])
    first, second, scale = first[real], second[real], se[real]
    largest = []
    block = max(1, _BLOCK_ENTRIES // len(scale))
    for start in range(0, _SIMULATIONS, block):
        size = min(block, _SIMULATIONS - start)
        z = rng.standard_normal((size, len(v))) @ root.T
        top = np.abs((z[:, first] - z[:, second]) / scale).max(axis=1)
        if not math.isinf(df):
            top /= np.sqrt(rng.chisquare(df, size) / df)
        largest.append(top)
    return max(pointwise, float(np.quantile(np.concatenate(largest), confidence)))


def holm(p: Array) -> Array:
    """Holm's step-down adjusted p-values, in the order given."""
    order = np.argsort(p, kind="stable")
    m = len(p)
    adjusted = np.minimum(1.0, np.maximum.accumulate(p[order] * (m - np.arange(m))))
    result = np.empty(m)
    result[order] = adjusted
    return result


def rank_intervals(pairs: PairContrasts, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lowest and highest rank of each arm (1 is best) that the simultaneous intervals leave open."""
    better = np.zeros(k, dtype=np.int64)
    worse = np.zeros(k, dtype=np.int64)
    above, below = pairs.low_all > 0, pairs.high_all < 0
    np.add.at(worse, pairs.first, above)
    np.add.at(better, pairs.second, above)
    np.add.at(better, pairs.first, below)
    np.add.at(worse, pairs.second, below)
    return 1 + better, k - worse

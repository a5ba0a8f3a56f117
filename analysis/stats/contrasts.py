"""Differences between arms: pointwise and simultaneous intervals, Holm p-values, ranks.

- Simultaneous: the level at which all intervals hold together (`analysis.stats.simultaneous`).
- Holm (1979, Scand. J. Statist. 6:65-70) adjusts the two-sided p-values of all pairs.
- Rank intervals: 1 + the number of arms that are better beyond doubt, to K less those that are worse beyond doubt, by
  the simultaneous intervals; they hold for all arms at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.stats.results import Array, Shape, Uncertainty
from analysis.stats.simultaneous import joint_level
from analysis.stats.spread import Spread, spread_of
from qsched.records import InputError

#: Power at which `detectable` is stated.
POWER = 0.8


@dataclass(frozen=True)
class PairContrasts:
    """All pairs i < j of arms, shape (M,) each: difference theta_i - theta_j, its se, bounds, p-values."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    difference: Array
    se: Array
    df: Array
    low: Array
    high: Array
    low_all: Array
    high_all: Array
    p: Array
    p_holm: Array
    detectable: Array


def pair_contrasts(
    theta: Array, unc: Uncertainty, *, confidence: float = 0.95, seed: int = 0, shape: Shape = "t"
) -> PairContrasts:
    """All pairwise differences of strengths under one covariance."""
    k = len(theta)
    first, second = (index.astype(np.int64) for index in np.triu_indices(k, 1))
    difference = theta[first] - theta[second]
    spread = spread_of(unc, first, second)
    half = spread.half_width(confidence)
    low, high = difference - half, difference + half
    if shape == "percentile":
        draws = percentile_draws(unc)
        bounds = percentile_bounds(draws[:, first] - draws[:, second], confidence)
        low, high = (np.where(spread.collapsed, b, own) for own, b in zip(bounds, (low, high), strict=True))
    joint = joint_level(unc, first, second, spread, confidence=confidence, seed=seed)
    one = joint.alpha >= 1 - confidence  # there is nothing to allow for
    half_all = half if one else np.maximum(half, spread.half_width_at(joint.alpha, joint.normal))
    p = spread.p_value(difference)
    return PairContrasts(
        first=first,
        second=second,
        difference=difference,
        se=spread.shown,
        df=spread.df,
        low=low,
        high=high,
        low_all=difference - half_all,
        high_all=difference + half_all,
        p=p,
        p_holm=holm(p),
        detectable=_detectable(spread, confidence),
    )


def _detectable(spread: Spread, confidence: float) -> Array:
    """Found with 80 % power at Holm's first step: half-width at level alpha / M, plus 0.84 standard errors."""
    strict = 1 - (1 - confidence) / len(spread.se)
    return spread.half_width(strict) + float(special.ndtri(POWER)) * spread.shown


def percentile_draws(unc: Uncertainty) -> Array:
    """The bootstrap draws of a one-way interval; InputError if there are none."""
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

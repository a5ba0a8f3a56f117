"""From variances to standard errors, half-widths and p-values, with the floor of every clustered interval.

V_annotator + V_prompt - V_both is a noisy difference and can fall below the variance of independent votes, although
differences between annotators or prompts can only add to that. A one-way variance of few clusters can too: to nothing,
if the clusters happen to agree. So a clustered interval is the wider of two: its own with its t quantile, and the
vote-level one with the normal quantile. In simulations of independent votes this mends an undercoverage of the two-way
one of one to five points; where tastes differ it changes widths by 1 % or less (docs/coverage.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.stats.results import Array, Uncertainty
from qsched.records import InputError

Index: TypeAlias = NDArray[np.int64] | list[int]


@dataclass(frozen=True)
class Spread:
    """Standard errors of some quantities, shape (M,), the vote-level floor (zeros if there is none), and their degrees
    of freedom.

    `clusters_df` is for levels far below 5 %, of joint intervals and of early looks: where the tail of t hangs on the
    degrees of freedom most, only clusters count. None: `df`. Why: `docs/decisions`, known votes in degrees of freedom.
    """

    se: Array
    floor: Array
    df: Array
    clusters_df: Array | None = None

    @property
    def collapsed(self) -> NDArray[np.bool_]:
        """Whether its own standard error is nothing beside the floor."""
        return np.asarray(self.se <= 1e-6 * self.floor)

    @property
    def shown(self) -> Array:
        """The larger of the two standard errors."""
        return np.maximum(self.se, self.floor)

    def half_width(self, confidence: float) -> Array:
        """Half of a pointwise interval."""
        normal = quantile(confidence, math.inf)
        return np.asarray(np.maximum(t_quantile(1 - confidence, self.df) * self.se, normal * self.floor))

    @property
    def far_df(self) -> Array:
        """The degrees of freedom for levels far below 5 %."""
        return self.df if self.clusters_df is None else self.clusters_df

    def half_width_at(self, alpha: float, normal: float) -> Array:
        """Half of an interval at a level `alpha` far below 5 % of its own t, and at least `normal` floors."""
        return np.asarray(np.maximum(t_quantile(alpha, self.far_df) * self.se, normal * self.floor))

    def p_value(self, value: Array) -> Array:
        """Two-sided p-value of zero: below 1 - confidence exactly when the interval excludes zero."""
        return np.maximum(_p(value, self.se, self.df), _p(value, self.floor, np.full(len(self.se), np.inf)))


def _p(value: Array, se: Array, df: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.abs(np.where(se > 0, value / se, np.where(value == 0, 0.0, np.inf)))
    return t_tails(size, df)


def t_tails(size: Array, df: Array) -> Array:
    """Two-sided tail probabilities of Student's t; normal for df = inf."""
    normal = np.isinf(df)
    return np.asarray(np.where(normal, 2 * special.ndtr(-size), 2 * special.stdtr(np.where(normal, 1.0, df), -size)))


def t_quantile(alpha: float, df: Array) -> Array:
    """Two-sided quantiles of Student's t at level `alpha`; normal for df = inf."""
    normal = np.isinf(df)
    tail = 1 - alpha / 2
    return np.asarray(np.where(normal, special.ndtri(tail), special.stdtrit(np.where(normal, 1.0, df), tail)))


@cache
def quantile(confidence: float, df: float) -> float:
    """Two-sided t quantile; normal for df = inf."""
    if not 0.5 <= confidence < 1:
        raise InputError(f"The confidence is {confidence}; it must be at least 0.5 and below 1, such as 0.95.")
    return float(t_quantile(1 - confidence, np.array([df]))[0])


def spread_of(unc: Uncertainty, index: Index, minus: Index | None = None) -> Spread:
    """Spread of parameters beta[index], or of the differences beta[index] - beta[minus]."""
    floor = np.zeros(len(index)) if unc.floor is None else _se(unc.floor, index, minus)
    if unc.precision is None:
        return Spread(_se(unc.covariance, index, minus), floor, np.full(len(index), unc.df))
    i = np.asarray(index, dtype=np.int64)
    j = i if minus is None else np.asarray(minus, dtype=np.int64)
    own = unc.precision
    variance = own.variance[i, j]
    if minus is not None:
        variance = np.where(i == j, 0.0, variance)
    return Spread(np.sqrt(np.maximum(variance, 0.0)), floor, own.df[i, j], own.clusters_df[i, j])


def _se(v: Array, index: Index, minus: Index | None) -> Array:
    i = np.asarray(index, dtype=np.int64)
    variance = v[i, i]
    if minus is not None:
        j = np.asarray(minus, dtype=np.int64)
        variance = variance + v[j, j] - 2 * v[i, j]
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

"""Raw win rates of each pair of arms, ties as half a win or dropped, with clustered intervals that need no model.

    rate = sum y / n,  y in {1, 1/2, 0};    variance by cluster sums of (y - rate) / n, two-way as everywhere here;
    interval on the logit scale with t quantiles, never narrower than by vote.

Each pair has its own correction and degrees of freedom, from the numbers of votes n_g of its clusters: a cluster's sum
has variance in proportion to n_g + kappa n_g^2, kappa (the tastes) estimated over all pairs together
(`analysis.stats.small_samples`). If a few clusters gave most votes, both count them as few.

If all votes of a pair are alike the variance is zero by its formula and means nothing: the bounds are then those of
Clopper and Pearson (1934, Biometrika 26:404-413) for as many units as the smaller number of clusters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse, special

from analysis.stats.cluster_counts import INTERSECTION, Matrix
from analysis.stats.counts import VoteCounts
from analysis.stats.results import Array, IntervalKind, RawPair, Ties
from analysis.stats.scales import log_odds, win_probability
from analysis.stats.small_samples import MOST_FACTOR, Correction, ShareSums, correction_of
from analysis.stats.spread import Spread
from analysis.stats.together import Together
from analysis.stats.uncertainty import cluster_sizes, settle_kind

#: A standard error of a rate below this is rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Moments:
    """By pair, shape (M,): the variance of sum y - rate n by one kind of cluster, how many clusters have votes, and the
    degrees of freedom."""

    variance: Array
    clusters: Array
    df: Array


def raw_pairs(
    counts: VoteCounts,
    *,
    confidence: float = 0.95,
    intervals: IntervalKind = "two-way",
    ties: Ties = "half",
) -> tuple[RawPair, ...]:
    """One record for each unordered pair of arms, also without votes, in the order of `counts.arms`, over both sides.

    `ties`: "half" counts a tie as half a win in rate and interval; "drop" takes both of the decided votes alone.
    """
    kind = settle_kind(intervals, cluster_sizes(counts))[0]
    k = counts.n_arms
    first, second = np.triu_indices(k, 1)
    fold = _fold(counts)
    votes_M3 = np.asarray(counts.outcomes.ravel() @ fold).reshape(-1, 3)
    use = np.array([1.0, 1.0, 0.0 if ties == "drop" else 1.0])
    score = np.array([1.0, 0.0, 0.0 if ties == "drop" else 0.5])
    n = votes_M3 @ use
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(n > 0, votes_M3 @ score / n, np.nan)
        factor = np.where(n > 1, n / (n - 1), np.nan)
        residual = (score - rate[:, None]) * use
        by_vote = _Moments((votes_M3 * residual**2).sum(axis=1) * factor, n, np.full(len(n), np.inf))
    moments = {
        name: _clustered(part.counts, fold, use, score, rate, by_vote, votes_M3 if name == INTERSECTION else None)
        for name, part in counts.clusters.items()
    }
    if counts.together is not None:
        moments[INTERSECTION] = _counted_together(counts.together, fold, use, residual)
    spread, units = _spread(kind, moments, by_vote, n)
    decided_M, total_M = votes_M3[:, :2].sum(axis=1), votes_M3.sum(axis=1)
    rows = []
    for m, (i, j) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        one = Spread(spread.se[m : m + 1], spread.floor[m : m + 1], spread.df[m : m + 1])
        low, high, how = _bounds(float(rate[m]), one, float(units[m]), confidence)
        decided, total = float(decided_M[m]), float(total_M[m])
        rows.append(
            RawPair(
                arm_a=counts.arms[i],
                arm_b=counts.arms[j],
                n_votes=round(total),
                wins_a=round(float(votes_M3[m, 0])),
                wins_b=round(float(votes_M3[m, 1])),
                ties=round(float(votes_M3[m, 2])),
                win_rate=float(rate[m]) if n[m] > 0 else None,
                low=low,
                high=high,
                se=float(one.shown[0]) if how == "clustered" else None,
                win_rate_without_ties=float(votes_M3[m, 0]) / decided if decided else None,
                tie_rate=float(votes_M3[m, 2]) / total if total else None,
                n_annotators=int(moments["annotator"].clusters[m]) if "annotator" in moments else None,
                n_prompts=int(moments["prompt"].clusters[m]) if "prompt" in moments else None,
                interval=how,
            )
        )
    return tuple(rows)


def _fold(counts: VoteCounts) -> Matrix:
    """(3 C, 3 M): sums the slots of both sides of a pair into (a wins, b wins, tie)."""
    k, c = counts.n_arms, counts.n_cells
    low, high = np.minimum(counts.left, counts.right), np.maximum(counts.left, counts.right)
    pair = low * k - low * (low + 1) // 2 + high - low - 1
    swapped = counts.left > counts.right
    outcome = np.where(swapped[:, None], [1, 0, 2], [0, 1, 2])
    column = (pair[:, None] * 3 + outcome).ravel()
    entries = (np.ones(3 * c), (np.arange(3 * c), column))
    return sparse.csr_array(sparse.coo_array(entries, shape=(3 * c, 3 * (k * (k - 1) // 2))))


def _clustered(
    table: Matrix,
    fold: Matrix,
    use: Array,
    score: Array,
    rate: Array,
    by_vote: _Moments,
    votes_M3: Array | None,
) -> _Moments:
    """Moments by the clusters of a table; with `votes_M3`, all votes by pair, the others are clusters of one vote."""
    part = sparse.csr_array(sparse.csr_array(table) @ fold)
    m = len(rate)
    eye = sparse.eye_array(m, format="csr")
    n_GM = sparse.csr_array(part @ sparse.kron(eye, use[:, None], format="csr"))
    n_GM.eliminate_zeros()
    residual = (score - np.nan_to_num(rate)[:, None]) * use
    weights = sparse.csr_array((residual.ravel(), (np.arange(3 * m), np.repeat(np.arange(m), 3))), shape=(3 * m, m))
    sums_GM = part @ weights
    g = np.bincount(n_GM.indices, minlength=m).astype(np.float64)
    squares = np.asarray(sums_GM.multiply(sums_GM).sum(axis=0)).ravel()
    if votes_M3 is not None:
        single = np.maximum(votes_M3 - np.asarray(part.sum(axis=0)).reshape(-1, 3), 0.0)
        squares = squares + (single * residual**2).sum(axis=1)
        g = g + single @ use
        return _Moments(squares * g / np.maximum(g - 1, 1), g, np.full(m, np.inf))
    own = _correction(n_GM, squares, by_vote.variance)
    return _Moments(squares * own.factor, g, own.df)


def _counted_together(together: Together, fold: Matrix, use: Array, residual: Array) -> _Moments:
    """Moments by annotator and prompt together, from their sums of products."""
    k, m = len(together.of_pairs), len(residual)
    weights = sparse.csr_array((np.nan_to_num(residual).ravel(), (np.arange(3 * m), np.repeat(np.arange(m), 3))))
    squares = np.asarray(weights.multiply(fold.T @ together.products @ fold @ weights).sum(axis=0)).ravel()
    g = (together.of_pairs if use[2] else together.decided_of_pairs)[np.triu_indices(k, 1)]
    return _Moments(squares * g / np.maximum(g - 1, 1), g, np.full(m, np.inf))


def _correction(n_GM: Matrix, squares: Array, by_vote: Array) -> Correction:
    """Of the variance by clusters with n_GM votes in each pair, whose sums have these squares."""

    m = len(squares)
    n, n2, n3, n4, n5 = (
        np.bincount(n_GM.indices, n_GM.data**exponent, m).astype(np.float64) for exponent in range(1, 6)
    )
    sums = ShareSums(s10=n, s01=n2, s20=n2, s11=n3, s02=n4, s30=n3, s21=n4, s12=n5)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Tastes are what the squares exceed those of independent votes, in units of one vote's variance.
        single = by_vote / n
        excess = squares / np.maximum(1 - n2 / n**2, 1 / MOST_FACTOR) / single - n
    known = np.isfinite(excess)
    taste = max(0.0, float(excess[known].sum() / n2[known].sum())) if known.any() else 0.0
    return correction_of(sums, 1.0, taste)


def _spread(kind: IntervalKind, moments: dict[str, _Moments], by_vote: _Moments, n: Array) -> tuple[Spread, Array]:
    """Standard errors of the rates on the rate scale, and the number of independent units in each pair."""
    floor = np.zeros_like(n)
    units, df = by_vote.clusters, by_vote.df
    if kind == "two-way":
        a, p = moments["annotator"], moments["prompt"]
        both = moments.get(INTERSECTION, by_vote)
        variance = np.maximum(a.variance + p.variance - both.variance, 0.0)
        floor, units, df = by_vote.variance, np.minimum(a.clusters, p.clusters), np.minimum(a.df, p.df)
    elif kind in ("annotator", "prompt"):
        own = moments[kind]
        variance, floor, units, df = own.variance, by_vote.variance, own.clusters, own.df
    else:
        variance = by_vote.variance
    with np.errstate(divide="ignore", invalid="ignore"):
        se, least = np.sqrt(variance) / n, np.sqrt(floor) / n
    return Spread(np.nan_to_num(se), np.nan_to_num(least), df), units


def _bounds(rate: float, spread: Spread, units: float, confidence: float) -> tuple[float | None, float | None, str]:
    if math.isnan(rate) or units < 2:
        return None, None, "none"
    if rate in (0.0, 1.0) or spread.shown[0] <= _ROUNDING:
        tail = (1 - confidence) / 2
        wins = rate * units
        low = float(special.betaincinv(wins, units - wins + 1, tail)) if wins > 0 else 0.0
        high = float(special.betaincinv(wins + 1, units - wins, 1 - tail)) if wins < units else 1.0
        return low, high, "exact"
    half = float(spread.half_width(confidence)[0]) / (rate * (1 - rate))
    centre = log_odds(rate)
    return win_probability(centre - half), win_probability(centre + half), "clustered"

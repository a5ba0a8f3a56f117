"""Raw win rates of each pair of arms, ties as half a win, with clustered intervals that need no model.

    rate = sum y / n,  y in {1, 1/2, 0};    variance by cluster sums of (y - rate) / n, two-way as everywhere here;
    interval on the logit scale with t quantiles, clusters counted within the pair.

Where all votes of a pair are alike the variance is zero by its formula and means nothing: the bounds are then those of
Clopper and Pearson (1934) for as many units as the smaller number of clusters.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from analysis.stats.contrasts import quantile
from analysis.stats.counts import INTERSECTION, IntArray, VoteCounts
from analysis.stats.results import Array, IntervalKind, RawPair
from analysis.stats.scales import log_odds, win_probability
from analysis.stats.uncertainty import cluster_sizes, settle_kind


def raw_pairs(
    counts: VoteCounts, *, confidence: float = 0.95, intervals: IntervalKind = "two-way"
) -> tuple[RawPair, ...]:
    """One record for each unordered pair of arms, in the order of `counts.arms`; `wins_a` over both sides."""
    kind = settle_kind(intervals, cluster_sizes(counts))[0]
    rows = []
    for a in range(counts.n_arms):
        for b in range(a + 1, counts.n_arms):
            as_left = np.flatnonzero((counts.left == a) & (counts.right == b)).astype(np.int64)
            as_right = np.flatnonzero((counts.left == b) & (counts.right == a)).astype(np.int64)
            rows.append(_pair(counts, counts.arms[a], counts.arms[b], as_left, as_right, confidence, kind))
    return tuple(rows)


def _pair(
    counts: VoteCounts,
    arm_a: str,
    arm_b: str,
    as_left: IntArray,
    as_right: IntArray,
    confidence: float,
    kind: IntervalKind,
) -> RawPair:
    slots = np.concatenate([as_left[:, None] * 3 + [0, 1, 2], as_right[:, None] * 3 + [1, 0, 2]]).astype(np.int64)
    # Columns of `slots`: a wins, b wins, tie.
    votes = counts.outcomes.ravel()[slots].reshape(-1, 3).sum(axis=0)
    wins_a, wins_b, ties = (round(float(value)) for value in votes)
    n = float(votes.sum())
    sizes = {
        name: int((_columns(counts, name, slots.ravel()) > 0).sum()) for name in ("annotator", "prompt")
        if name in counts.clusters
    }
    decided = float(votes[0] + votes[1])
    rate = float((votes[0] + votes[2] / 2) / n) if n else None
    se = _standard_error(counts, slots, rate, n, kind) if rate is not None else None
    low, high, how = _bounds(rate, se, n, sizes, kind, confidence)
    return RawPair(
        arm_a=arm_a,
        arm_b=arm_b,
        n_votes=round(n),
        wins_a=wins_a,
        wins_b=wins_b,
        ties=ties,
        win_rate=rate,
        low=low,
        high=high,
        se=se,
        win_rate_without_ties=float(votes[0]) / decided if decided else None,
        tie_rate=float(votes[2]) / n if n else None,
        n_annotators=sizes.get("annotator"),
        n_prompts=sizes.get("prompt"),
        interval=how,
    )


def _columns(counts: VoteCounts, name: str, slots: IntArray) -> Array:
    return np.asarray(counts.clusters[name].counts[:, slots].sum(axis=1)).ravel()


def _standard_error(
    counts: VoteCounts, slots: IntArray, rate: float, n: float, kind: IntervalKind
) -> float | None:
    if n < 2:
        return None
    residual = np.tile(np.array([1.0, 0.0, 0.5]) - rate, len(slots))
    flat = slots.ravel()
    by_vote = float((counts.outcomes.ravel()[flat] * residual**2).sum()) * n / (n - 1)
    if kind in ("vote", "model"):
        return math.sqrt(by_vote) / n

    def variance(name: str) -> float:
        if name not in counts.clusters:
            return by_vote
        part = counts.clusters[name].counts[:, flat]
        sums = np.asarray(part @ residual).ravel()
        g = int((np.asarray(part.sum(axis=1)).ravel() > 0).sum())
        return float((sums**2).sum()) * g / max(g - 1, 1)

    if kind == "two-way":
        parts = variance("annotator"), variance("prompt"), variance(INTERSECTION)
        # A negative difference is noise: the larger one-way variance is then used.
        total = parts[0] + parts[1] - parts[2]
        return math.sqrt(total if total > 0 else max(parts[:2])) / n
    return math.sqrt(variance(kind)) / n


def _bounds(
    rate: float | None,
    se: float | None,
    n: float,
    sizes: dict[str, int],
    kind: IntervalKind,
    confidence: float,
) -> tuple[float | None, float | None, str]:
    if rate is None:
        return None, None, "none"
    relevant = ("annotator", "prompt") if kind == "two-way" else (kind,)
    units = min((sizes[name] for name in relevant if name in sizes), default=int(n))
    if se is None or units < 2:
        return None, None, "none"
    if se == 0.0 or rate in (0.0, 1.0):
        tail = (1 - confidence) / 2
        wins = rate * units
        low = float(stats.beta.ppf(tail, wins, units - wins + 1)) if wins > 0 else 0.0
        high = float(stats.beta.ppf(1 - tail, wins + 1, units - wins)) if wins < units else 1.0
        return low, high, "exact"
    df = math.inf if kind in ("vote", "model") else units - 1
    half = quantile(confidence, df) * se / (rate * (1 - rate))
    centre = log_odds(rate)
    return win_probability(centre - half), win_probability(centre + half), "clustered"

"""Krippendorff's alpha: agreement beyond chance of any number of judges, with missing judgements.

    alpha = 1 - D_o / D_e;  o_ck = sum over units of n_uc (n_uk - [c = k]) / (m_u - 1),   n_c = sum_k o_ck
    D_o = sum o_ck d_ck / n,  D_e = sum n_c n_k d_ck / (n (n - 1))

nominal: d = 1 for unlike values; ordinal: d_ck = (n_c/2 + n_{c+1} + ... + n_{k-1} + n_k/2)^2.
Source: Krippendorff 2013, Content Analysis, 3rd ed., section 12.3; Hayes and Krippendorff 2007, Commun. Methods Meas.
1:77-89.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from analysis.stats.annotator_results import AlphaResult
from analysis.stats.results import Array
from analysis.votes.coded import IntArray

Level = Literal["nominal", "ordinal"]


def krippendorff_alpha(
    values: Array,
    *,
    level: Level = "nominal",
    clusters: IntArray | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> AlphaResult:
    """Alpha of a table of counts, shape (units, values), values in order; units of fewer than two values do not count.

    The interval is by percentiles of a bootstrap of `clusters` (codes by unit, say prompts), else of the units.
    None if there is nothing to compare, or if all values are alike (alpha is 0/0).
    """
    counts = np.asarray(values, dtype=np.float64)
    paired = counts.sum(axis=1) >= 2
    counts = counts[paired]
    n_units, n_values = len(counts), int(counts.sum())
    if n_units == 0:
        return AlphaResult(level, None, None, None, 0, 0, "No item was judged twice.")
    by_unit = coincidences(counts)
    whole = _alpha(by_unit.sum(axis=0)[None], level)[0]
    if np.isnan(whole):
        return AlphaResult(level, None, None, None, n_units, n_values, "All judgements are alike: alpha is 0/0.")
    groups = np.arange(n_units, dtype=np.int64)
    if clusters is not None:
        groups = np.unique(clusters[paired], return_inverse=True)[1].ravel().astype(np.int64)
    draws = bootstrap_sums(by_unit.reshape(n_units, -1), groups, resamples=resamples, seed=seed)
    k = counts.shape[1]
    alphas = _alpha(draws.reshape(-1, k, k), level)
    known = alphas[~np.isnan(alphas)]
    if groups.max() < 1 or len(known) < resamples // 2:
        return AlphaResult(level, float(whole), None, None, n_units, n_values, "Too few units for an interval.")
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return AlphaResult(level, float(whole), float(low), float(high), n_units, n_values)


def coincidences(counts: Array) -> Array:
    """Coincidence matrix of each unit, (U, V) -> (U, V, V)."""
    m = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :]
    diagonal = np.arange(counts.shape[1])
    pairs[:, diagonal, diagonal] -= counts
    return np.asarray(pairs / (m - 1)[:, None, None])


def bootstrap_sums(by_unit: Array, groups: IntArray, *, resamples: int, seed: int) -> Array:
    """Sums over units of resampled groups: (U, M) -> (resamples, M)."""
    g = int(groups.max()) + 1
    totals = np.zeros((g, by_unit.shape[1]))
    np.add.at(totals, groups, by_unit)
    rng = np.random.default_rng([seed, 4])
    blocks = []
    block = max(1, 4_000_000 // g)
    for start in range(0, resamples, block):
        weights = rng.multinomial(g, np.full(g, 1 / g), size=min(block, resamples - start))
        blocks.append(weights @ totals)
    return np.concatenate(blocks)


def _alpha(o_BVV: Array, level: Level) -> Array:
    n_BV = o_BVV.sum(axis=2)
    n_B = n_BV.sum(axis=1)
    v = n_BV.shape[1]
    if level == "nominal":
        d = np.broadcast_to(1.0 - np.eye(v), o_BVV.shape)
    else:
        # Ranks between c and k: cumulative counts at the middles of the two values.
        middle = np.cumsum(n_BV, axis=1) - n_BV / 2
        d = (middle[:, :, None] - middle[:, None, :]) ** 2
    observed = (o_BVV * d).sum(axis=(1, 2))
    expected = (n_BV[:, :, None] * n_BV[:, None, :] * d).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, 1 - (n_B - 1) * observed / expected, np.nan)

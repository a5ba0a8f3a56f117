"""How likely each arm is to be the best, the second, ... given these votes: ranks of draws of the strengths.

    theta* = theta_hat + z / sqrt(x / nu),   z ~ N(0, V),  x ~ chi-square(nu)

V is the covariance of the report (two-way by default), each strength widened to its reported standard error, nu the
median degrees of freedom of the differences. The shares of draws are a confidence distribution, in Bayesian words the
posterior under a flat prior: they describe what these votes say, and promise nothing about the next study.
"""

from __future__ import annotations

import numpy as np

from analysis.stats.results import Array, Uncertainty
from analysis.stats.spread import spread_of

_DRAWS = 10_000
_ENTRIES = 4_000_000


def rank_chances(theta: Array, unc: Uncertainty, *, seed: int) -> Array:
    """Chance of each rank (columns, 0 = best) for each arm (rows), (K, K); rows and columns sum to one."""
    k = len(theta)
    if k == 1:
        return np.ones((1, 1))
    v = unc.covariance[:k, :k]
    spread = spread_of(unc, list(range(k)))
    if unc.floor is not None and spread.collapsed.any():
        v = unc.floor[:k, :k]
    values, vectors = np.linalg.eigh((v + v.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    own = np.sqrt(np.maximum(np.diagonal(v), 0.0))
    first, second = np.triu_indices(k, 1)
    nu = float(np.median(spread_of(unc, first.astype(np.int64), second.astype(np.int64)).df))
    rng = np.random.default_rng([seed, 5])
    draws = max(1000, min(_DRAWS, _ENTRIES // k))
    z = rng.standard_normal((draws, k)) @ root.T
    if (own > 0).all():
        z *= spread.shown / own
    if np.isfinite(nu):
        z /= np.sqrt(rng.chisquare(nu, (draws, 1)) / nu)
    order = np.argsort(-(theta + z), axis=1)
    chances = np.zeros((k, k))
    for place in range(k):
        chances[:, place] = np.bincount(order[:, place], minlength=k) / draws
    return chances

"""What the votes say of the ranking so far, and which comparisons would tell most. Pure functions of a tally.

Bradley-Terry strengths theta of K arms with a weak Gaussian prior and Laplace's approximation:

    eta = theta_i - theta_j,  P(i preferred) = 1 / (1 + exp(-eta)),  a tie half a win each,  theta ~ N(0, PRIOR_SD^2 I)
    theta | votes ~ N(mode, Sigma),  Sigma^-1 = I / PRIOR_SD^2 + (1/deff) sum n_ij p_ij (1 - p_ij) d_ij d_ij'

The votes of one person and of one prompt resemble each other, so n votes tell as much as n / deff independent ones.

How much a vote on d tells about who is ahead in the pair r: its difference delta ~ N(m, v), so z = m / sqrt(v) and
P(ahead) = Phi(z). A vote with information w takes (r' Sigma d)^2 w / (1 + w d' Sigma d) off v, and the entropy of who
is ahead falls by phi(z)^2 / (2 Phi(z) Phi(-z)) of that share of v (second order). The worth of a vote is the sum over
all pairs of arms: the expected information of Lindley (1956, Ann. Math. Statist. 27:986-1005), about orders instead of
strengths; for pairwise comparisons compare Chen, Bennett, Collins-Thompson and Horvitz (2013, WSDM).

A batch is planned at once: each next vote goes where it is worth most with Sigma as the earlier ones of the batch will
leave it. The shares of the batch are the probabilities with which comparisons are then drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pair = tuple[int, int]

PRIOR_SD = 2.0
STEPS = 100
TOLERANCE = 1e-9
# Beyond this many standard errors the order of two arms is settled; the formula would divide zero by zero.
SETTLED = 8.0


@dataclass(frozen=True, slots=True)
class Tally:
    """Votes of one comparison: how often the first arm, the second, and neither was preferred."""

    first: float = 0.0
    second: float = 0.0
    ties: float = 0.0


@dataclass(frozen=True)
class Posterior:
    """Strengths (K,) and their covariance (K, K), natural log-odds."""

    mean: Array
    covariance: Array


def fit_posterior(arms: int, tallies: Mapping[Pair, Tally], *, design_effect: float = 1.0) -> Posterior:
    """Mode and Laplace covariance of K = `arms` strengths; `tallies` by (first, second) arm number."""
    precision = np.eye(arms) / PRIOR_SD**2
    counted = {pair: tally for pair, tally in tallies.items() if tally.first + tally.second + tally.ties > 0}
    theta = np.zeros(arms)
    if not counted:
        return Posterior(theta, np.asarray(np.linalg.inv(precision), dtype=np.float64))
    d_CK = contrasts(list(counted), arms)
    n_C = np.array([t.first + t.second + t.ties for t in counted.values()]) / design_effect
    wins_C = np.array([t.first + t.ties / 2 for t in counted.values()]) / design_effect

    def log_posterior(at: Array) -> float:
        eta = d_CK @ at
        return float(wins_C @ eta - n_C @ np.logaddexp(0.0, eta) - at @ precision @ at / 2)

    value = log_posterior(theta)
    hessian = precision
    for _ in range(STEPS):
        p_C = 1 / (1 + np.exp(-(d_CK @ theta)))
        hessian = precision + (d_CK * (n_C * p_C * (1 - p_C))[:, None]).T @ d_CK
        step = np.linalg.solve(hessian, d_CK.T @ (wins_C - n_C * p_C) - precision @ theta)
        if np.abs(step).max() < TOLERANCE:
            break
        # The posterior is log-concave: halving ends at an improvement, and then Newton's steps are whole.
        while (following := log_posterior(theta + step)) < value and np.abs(step).max() > TOLERANCE:
            step = step / 2
        theta, value = theta + step, following
    return Posterior(theta, np.asarray(np.linalg.inv(hessian), dtype=np.float64))


def plan_batch(posterior: Posterior, comparisons: Sequence[Pair], *, votes: int) -> list[float]:
    """Share of each comparison in the next `votes` votes, each placed where it tells most about the ranking."""
    k = len(posterior.mean)
    ranked = contrasts([(i, j) for i in range(k) for j in range(i + 1, k)], k)
    offered = contrasts(comparisons, k)
    m_R = ranked @ posterior.mean
    v_R = np.einsum("rk,kl,rl->r", ranked, posterior.covariance, ranked)
    p_C = 1 / (1 + np.exp(-(offered @ posterior.mean)))
    w_C = p_C * (1 - p_C)
    # cross[r, c] = r' Sigma d_c and inner[c, e] = d_c' Sigma d_e are all that changes as votes are placed.
    cross_RC = ranked @ posterior.covariance @ offered.T
    inner_CC = offered @ posterior.covariance @ offered.T
    placed = np.zeros(len(comparisons))
    for _ in range(votes):
        weight_R = doubt(m_R / np.sqrt(v_R)) / v_R
        factor_C = w_C / (1 + w_C * np.diag(inner_CC))
        best = int(np.argmax((weight_R @ cross_RC**2) * factor_C))
        placed[best] += 1
        column_R, column_C, factor = cross_RC[:, best].copy(), inner_CC[:, best].copy(), factor_C[best]
        v_R = np.maximum(v_R - factor * column_R**2, 1e-12)
        cross_RC = cross_RC - factor * np.outer(column_R, column_C)
        inner_CC = inner_CC - factor * np.outer(column_C, column_C)
    return [float(share) for share in placed / placed.sum()]


def doubt(z: Array) -> Array:
    """phi(z)^2 / (2 Phi(z) Phi(-z)): what a share of variance is worth at z standard errors from a tie."""
    z = np.minimum(np.abs(z), SETTLED)
    tail = np.array([math.erfc(value / math.sqrt(2)) / 2 for value in z])
    return np.asarray(np.exp(-(z**2)) / (2 * math.pi) / (2 * tail * (1 - tail)))


def contrasts(pairs: Sequence[Pair], arms: int) -> Array:
    """(C, K): +1 for the first arm of each pair, -1 for the second."""
    d_CK = np.zeros((len(pairs), arms))
    rows = np.arange(len(pairs))
    d_CK[rows, [first for first, _ in pairs]] = 1.0
    d_CK[rows, [second for _, second in pairs]] = -1.0
    return d_CK

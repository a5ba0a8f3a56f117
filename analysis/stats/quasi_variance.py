"""Quasi-variances: one standard error for each arm that serves every comparison (Firth and de Menezes 2004).

    q_i + q_j ~ var(theta_i - theta_j) for all pairs,   q minimises sum_{i<j} (log(q_i + q_j) - log v_ij)^2

(Biometrika 91:65-80.) The variance of a strength that sums to zero over the arms contains that of every other arm: an
arm with three votes makes all of them wide, although no difference between the others has changed. Quasi-variances
depend on differences alone, so they do not: a rare arm gets a large one and leaves the others' as they are. Two arms
whose intervals theta_i -+ t sqrt(q_i) are drawn may be compared: the standard error of their difference is about
sqrt(q_i + q_j), exactly so for three arms and mostly within a few per cent (`error`). A quasi-variance can be negative
if an arm's errors are nearly those of another; it is then zero here, and `exist` is false: no interval of that arm
alone says how far it is from the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from analysis.stats.results import Array
from analysis.votes.coded import IntArray

#: Above this many arms the equations are solved on the scale of variances, which needs no iteration.
_MOST_ARMS = 60
#: A quasi-variance below this share of the median variance of a difference is one that would be zero or negative.
_LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class QuasiVariances:
    """`q` (K,), and by how much the worst standard error of a difference is off, as a share.

    `exist`: all are positive.
    """

    q: Array
    error: float
    exist: bool = True


def quasi_variances(pairs: Array) -> QuasiVariances:
    """From the variances of all differences, (K, K), the diagonal of no interest."""
    k = len(pairs)
    first, second = np.triu_indices(k, 1)
    v = np.maximum(pairs[first, second], 1e-300)
    if k == 2:
        return QuasiVariances(np.array([v[0] / 2, v[0] / 2]), 0.0)
    q = _linear(pairs)
    if 2 < k <= _MOST_ARMS:
        q = _on_logs(q, v, first, second)
    fitted = np.sqrt(np.maximum(q[first] + q[second], 0.0) / v)
    exist = bool(q.min() > _LEAST_SHARE * float(np.median(v)))
    return QuasiVariances(q, float(np.abs(fitted - 1).max()), exist)


def _linear(pairs: Array) -> Array:
    """Least squares of v_ij = q_i + q_j: q_i = (sum_j v_ij - T / (K - 1)) / (K - 2), T the sum of all pairs."""
    k = len(pairs)
    row = pairs.sum(axis=1) - np.diagonal(pairs)
    return np.asarray(np.maximum((row - row.sum() / 2 / (k - 1)) / (k - 2), 0.0))


def _on_logs(start: Array, v: Array, first: IntArray, second: IntArray) -> Array:
    scale = float(np.median(v))
    target = np.log(v / scale)
    m, k = len(v), len(start)

    def residuals(root: Array) -> Array:
        return np.asarray(np.log(root[first] ** 2 + root[second] ** 2 + 1e-12) - target)

    def slopes(root: Array) -> Array:
        total = root[first] ** 2 + root[second] ** 2 + 1e-12
        jacobian = np.zeros((m, k))
        jacobian[np.arange(m), first] = 2 * root[first] / total
        jacobian[np.arange(m), second] = 2 * root[second] / total
        return jacobian

    root = np.sqrt(np.maximum(start / scale, 1e-4))
    found = least_squares(residuals, root, jac=slopes, method="lm", xtol=1e-12, ftol=1e-12)
    return np.asarray(found.x**2 * scale)

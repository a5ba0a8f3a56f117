"""Davidson's model of ties (Davidson 1970, JASA 65:317-328), optionally with a position effect.

    P(i wins) : P(j wins) : P(tie) = exp(eta/2) : exp(-eta/2) : nu,    nu = exp(tau)

With eta = theta_i - theta_j and pi = exp(theta) that is pi_i : pi_j : nu sqrt(pi_i pi_j). With a position effect delta
in eta it is the model of Davidson and Beaver (1977, Biometrics 33:693-702), whose nu is ours times exp(-delta/2).
"""

from __future__ import annotations

import numpy as np

from analysis.stats.cells import CellTerms
from analysis.stats.results import Array


def davidson_terms(n: Array, eta: Array, tau: Array) -> CellTerms:
    """Log likelihood, scores and curvatures: n (..., C, 3) counts of left wins, right wins and ties; tau (..., 1)."""
    total = n[..., 0] + n[..., 1] + n[..., 2]  # numpy's own sum over so short an axis takes several times as long
    top = np.maximum(np.abs(eta) / 2, tau)
    left, right, tie = np.exp(eta / 2 - top), np.exp(-eta / 2 - top), np.exp(tau - top)
    z = left + right + tie
    p_left, p_right, p_tie = left / z, right / z, tie / z
    mean = (p_left - p_right) / 2
    half = (n[..., 0] - n[..., 1]) / 2
    return CellTerms(
        log_likelihood=half * eta + n[..., 2] * tau - total * (np.log(z) + top),
        score_eta=half - total * mean,
        score_tau=n[..., 2] - total * p_tie,
        curve_eta=total * ((p_left + p_right) / 4 - mean**2),
        curve_eta_tau=-total * mean * p_tie,
        curve_tau=total * p_tie * (p_left + p_right),
    )


def davidson_probabilities(eta: Array, tau: float | Array) -> Array:
    """P(left), P(right), P(tie), shape (..., C, 3)."""
    logs = np.stack([eta / 2, -eta / 2, np.broadcast_to(tau, eta.shape)], axis=-1)
    weights: Array = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))

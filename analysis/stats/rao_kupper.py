"""Rao and Kupper's model of ties (Rao and Kupper 1967, JASA 62:194-204), optionally with a position effect.

    P(i wins) = 1 / (1 + kappa exp(-eta)),  P(j wins) = 1 / (1 + kappa exp(eta)),    kappa = exp(tau) > 1
    P(tie) = (kappa^2 - 1) P(i wins) P(j wins)

A difference smaller than the threshold tau is not noticed and gives a tie.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_expit

from analysis.stats.cells import CellTerms
from analysis.stats.results import Array


def rao_kupper_terms(n: Array, eta: Array, tau: Array) -> CellTerms:
    """Log likelihood, scores and curvatures: n (..., C, 3) counts of left wins, right wins and ties; tau (..., 1)."""
    a, b, ties = n[..., 0] + n[..., 2], n[..., 1] + n[..., 2], n[..., 2]
    q_left, q_right = expit(tau - eta), expit(tau + eta)
    w_left, w_right = a * q_left * expit(eta - tau), b * q_right * expit(-eta - tau)
    grow = np.expm1(2 * tau)
    return CellTerms(
        log_likelihood=a * log_expit(eta - tau) + b * log_expit(-eta - tau) + ties * np.log(grow),
        score_eta=a * q_left - b * q_right,
        score_tau=-a * q_left - b * q_right + ties * 2 * (1 + 1 / grow),
        curve_eta=w_left + w_right,
        curve_eta_tau=w_right - w_left,
        curve_tau=w_left + w_right + ties / np.sinh(tau) ** 2,
    )


def rao_kupper_probabilities(eta: Array, tau: float | Array) -> Array:
    """P(left), P(right), P(tie), shape (..., C, 3)."""
    p_left, p_right = expit(eta - tau), expit(-eta - tau)
    return np.stack([p_left, p_right, np.expm1(2 * tau) * p_left * p_right], axis=-1)

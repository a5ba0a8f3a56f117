"""The Bradley-Terry model (Bradley and Terry 1952, Biometrika 39:324-345), optionally with a position effect.

    P(i wins) = 1 / (1 + exp(-eta)),  P(j wins) = 1 / (1 + exp(eta));  i on the left, j on the right

eta = theta_i - theta_j, plus the position effect delta if it is fitted (Davidson and Beaver 1977, Biometrics
33:693-702). A tie counts as half a win for each side, or is left out before.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_expit

from analysis.stats.cells import CellTerms
from analysis.stats.results import Array


def bradley_terry_terms(n: Array, eta: Array) -> CellTerms:
    """Log likelihood, score and curvature: n (..., C, 3) counts of left wins, right wins and ties; eta (..., C)."""
    wins, total = n[..., 0] + 0.5 * n[..., 2], n.sum(axis=-1)
    p = expit(eta)
    return CellTerms(
        log_likelihood=wins * log_expit(eta) + (total - wins) * log_expit(-eta),
        score_eta=wins - total * p,
        score_tau=None,
        curve_eta=total * p * expit(-eta),
        curve_eta_tau=None,
        curve_tau=None,
    )


def bradley_terry_probabilities(eta: Array) -> Array:
    """P(left), P(right) and 0 for a tie, shape (..., C, 3)."""
    return np.stack([expit(eta), expit(-eta), np.zeros_like(eta)], axis=-1)

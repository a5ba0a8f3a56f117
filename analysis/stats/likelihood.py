"""One way into the likelihoods of the three models, and what follows from them: scores of a vote, Fisher information.

A cell of the count table has a left arm i and a right arm j, log-odds eta = theta_i - theta_j + delta + x gamma and
counts n = (left wins, right wins, ties); the tie models have one log tie parameter tau for all cells. The equations are
in `bradley_terry`, `davidson` and `rao_kupper`. All functions broadcast over leading axes: eta (..., C), n (..., C, 3),
tau (..., 1).
"""

from __future__ import annotations

import numpy as np

from analysis.stats.bradley_terry import bradley_terry_probabilities, bradley_terry_terms
from analysis.stats.cells import CellTerms
from analysis.stats.davidson import davidson_probabilities, davidson_terms
from analysis.stats.rao_kupper import rao_kupper_probabilities, rao_kupper_terms
from analysis.stats.results import Array, Model


def cell_terms(model: Model, n: Array, eta: Array, tau: Array | None) -> CellTerms:
    """All terms of one model at eta and tau."""
    if model == "bradley-terry" or tau is None:
        return bradley_terry_terms(n, eta)
    return davidson_terms(n, eta, tau) if model == "davidson" else rao_kupper_terms(n, eta, tau)


def outcome_scores(model: Model, eta: Array, tau: float | Array | None) -> Array:
    """Score of a single vote by its outcome: eta (..., C), tau one number or (..., 1) -> (..., C, 3, d), d = 1 (eta) or
    2 (eta, tau)."""
    scores = []
    for outcome in range(3):
        one = np.zeros((*eta.shape, 3))
        one[..., outcome] = 1.0
        terms = cell_terms(model, one, eta, None if tau is None else np.atleast_1d(tau))
        parts = [terms.score_eta] if terms.score_tau is None else [terms.score_eta, terms.score_tau]
        scores.append(np.stack(parts, axis=-1))
    return np.stack(scores, axis=-2)


def outcome_probabilities(model: Model, eta: Array, tau: float | Array | None) -> Array:
    """P(left), P(right), P(tie), shape (..., C, 3); Bradley-Terry gives ties no probability."""
    if model == "bradley-terry" or tau is None:
        return bradley_terry_probabilities(eta)
    return davidson_probabilities(eta, tau) if model == "davidson" else rao_kupper_probabilities(eta, tau)


def information_and_slope(model: Model, eta: Array, tau: float | Array | None) -> tuple[Array, Array]:
    """Expected information of one vote, M (..., C, d, d), and its derivative by eta and tau, (..., C, d, d, d).

    With p the probabilities and g, h the first and second derivatives of log p:
    M_ab = sum p g_a g_b and dM_ab/dc = sum p (g_a g_b g_c + h_ac g_b + g_a h_bc).
    """
    p = outcome_probabilities(model, eta, tau)
    g = outcome_scores(model, eta, tau)
    h = _outcome_curves(model, eta, tau)
    if model == "bradley-terry":
        g, h = g[..., :2, :], h[..., :2, :, :]
        p = p[..., :2]
    information = np.einsum("...o,...oa,...ob->...ab", p, g, g)
    slope = (
        np.einsum("...o,...oa,...ob,...oe->...abe", p, g, g, g)
        + np.einsum("...o,...oae,...ob->...abe", p, h, g)
        + np.einsum("...o,...oa,...obe->...abe", p, g, h)
    )
    return information, slope


def _outcome_curves(model: Model, eta: Array, tau: float | Array | None) -> Array:
    """Second derivatives of log p by outcome, shape (..., C, 3, d, d)."""
    curves = []
    for outcome in range(3):
        one = np.zeros((*eta.shape, 3))
        one[..., outcome] = 1.0
        terms = cell_terms(model, one, eta, None if tau is None else np.atleast_1d(tau))
        if terms.curve_eta_tau is None or terms.curve_tau is None:
            curves.append(-terms.curve_eta[..., None, None])
            continue
        row1 = np.stack([terms.curve_eta, terms.curve_eta_tau], axis=-1)
        row2 = np.stack([terms.curve_eta_tau, terms.curve_tau], axis=-1)
        curves.append(-np.stack([row1, row2], axis=-2))
    return np.stack(curves, axis=-3)

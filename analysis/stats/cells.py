"""What one cell of the count table says: log likelihood, scores and curvatures of the three models.

A cell has a left arm i and a right arm j, log-odds eta = theta_i - theta_j + delta + x gamma, counts
n = (left wins, right wins, ties) and, in the tie models, one log tie parameter tau for all cells.

    Bradley and Terry (1952)  P(left) = 1 / (1 + exp(-eta)); a tie counts half a win for each side
    Davidson (1970)           P(left) : P(right) : P(tie) = exp(eta/2) : exp(-eta/2) : exp(tau),   nu = exp(tau)
    Rao and Kupper (1967)     P(left) = 1 / (1 + exp(tau - eta)), P(right) = 1 / (1 + exp(tau + eta)),
                              P(tie) = (kappa^2 - 1) P(left) P(right),                             kappa = exp(tau) > 1

With a position effect in every cell, Davidson's model is that of Davidson and Beaver (1977, Biometrics 33:693-702),
whose nu is ours times exp(-delta/2).
All functions broadcast over leading axes: eta (..., C), n (..., C, 3), tau (..., 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit

from analysis.stats.results import Array, Model


@dataclass(frozen=True)
class CellTerms:
    """Per cell: log likelihood, scores (eta, tau) and negative second derivatives; None where there is no tau."""

    log_likelihood: Array
    score_eta: Array
    score_tau: Array | None
    curve_eta: Array
    curve_eta_tau: Array | None
    curve_tau: Array | None


def cell_terms(model: Model, n: Array, eta: Array, tau: Array | None) -> CellTerms:
    """All terms of one model at eta and tau."""
    if model == "bradley-terry" or tau is None:
        return _bradley_terry(n, eta)
    return _davidson(n, eta, tau) if model == "davidson" else _rao_kupper(n, eta, tau)


def _bradley_terry(n: Array, eta: Array) -> CellTerms:
    wins, total = n[..., 0] + 0.5 * n[..., 2], n.sum(axis=-1)
    p = expit(eta)
    value = wins * log_expit(eta) + (total - wins) * log_expit(-eta)
    return CellTerms(value, wins - total * p, None, total * p * expit(-eta), None, None)


def _davidson(n: Array, eta: Array, tau: Array) -> CellTerms:
    total = n.sum(axis=-1)
    top = np.maximum(np.abs(eta) / 2, tau)
    left, right, tie = np.exp(eta / 2 - top), np.exp(-eta / 2 - top), np.exp(tau - top)
    z = left + right + tie
    p_left, p_right, p_tie = left / z, right / z, tie / z
    mean = (p_left - p_right) / 2
    half = (n[..., 0] - n[..., 1]) / 2
    value = half * eta + n[..., 2] * tau - total * (np.log(z) + top)
    return CellTerms(
        log_likelihood=value,
        score_eta=half - total * mean,
        score_tau=n[..., 2] - total * p_tie,
        curve_eta=total * ((p_left + p_right) / 4 - mean**2),
        curve_eta_tau=-total * mean * p_tie,
        curve_tau=total * p_tie * (p_left + p_right),
    )


def _rao_kupper(n: Array, eta: Array, tau: Array) -> CellTerms:
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
        return np.stack([expit(eta), expit(-eta), np.zeros_like(eta)], axis=-1)
    if model == "davidson":
        logs = np.stack([eta / 2, -eta / 2, np.full_like(eta, tau)], axis=-1)
        logs -= logs.max(axis=-1, keepdims=True)
        weights: Array = np.exp(logs)
        return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
    p_left, p_right = expit(eta - tau), expit(-eta - tau)
    return np.stack([p_left, p_right, np.expm1(2 * tau) * p_left * p_right], axis=-1)


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

"""The log likelihood of counted triplet votes, pooled or integrated over prompts, with gradient and information.

Counts are (P, C, 3): prompts, patterns (presentation, left, right), answers. The pooled model is the same code with one
node z = 0 and all prompts added up. Integrated over a prompt's z by Gauss-Hermite quadrature (N nodes):

    log L = sum_p log sum_n v_n exp( sum_c,a counts_pca log P_ca(z_n) )
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.stats.jnd.model import Array, Codes, ParameterLayout, Patterns, Terms, nodes_of, terms
from analysis.triplets import TripletCodes

_LEAST_SHARE = 1e-12


@dataclass(frozen=True)
class TripletCounts:
    """Votes counted by prompt (or in one row, pooled), pattern and answer; `vote_pattern` finds each vote's pattern."""

    patterns: Patterns
    counts: Array
    row: Codes
    vote_pattern: Codes


@dataclass(frozen=True)
class Value:
    """Log likelihood, gradient (m,), an information (m, m) for Newton's step, posterior weights of the nodes (P, N)."""

    log_likelihood: float
    gradient: Array
    information: Array
    posterior: Array
    terms: Terms


def count_triplets(codes: TripletCodes, *, by_prompt: bool) -> TripletCounts:
    """Count votes; one row for each prompt, or one row in all."""
    pictures = len(codes.pictures)
    key = (codes.presentation * pictures + codes.left) * pictures + codes.right
    found, vote_pattern = np.unique(key, return_inverse=True)
    patterns = Patterns(found // pictures**2, found // pictures % pictures, found % pictures)
    row = codes.prompt if by_prompt else np.zeros(codes.n_votes, dtype=np.int64)
    rows = len(codes.prompts) if by_prompt else 1
    flat = (row * len(found) + vote_pattern) * 3 + codes.answer
    counts = np.bincount(flat, minlength=rows * len(found) * 3).astype(np.float64)
    return TripletCounts(patterns, counts.reshape(rows, len(found), 3), row, vote_pattern)


def evaluate(theta: Array, layout: ParameterLayout, counted: TripletCounts, *, lapse: Array, nodes: int) -> Value:
    """The likelihood at theta; `lapse` (2,) by presentation. One node: the pooled model."""
    z, weight = nodes_of(nodes)
    at = terms(theta, layout, counted.patterns, lapse=lapse, z=z)
    rows, cells, _ = counted.counts.shape
    flat = counted.counts.reshape(rows, cells * 3)
    m = layout.n
    log_p = at.log_probability.transpose(0, 2, 1).reshape(cells * 3, nodes)
    by_node = flat @ log_p + np.log(weight)
    top = by_node.max(axis=1, keepdims=True)
    posterior = np.exp(by_node - top)
    total = posterior.sum(axis=1, keepdims=True)
    posterior = posterior / total
    log_likelihood = float((np.log(total) + top).sum())
    shares = flat.T @ posterior  # (C * 3, N): how many votes each node answers for
    slope = at.derivative.transpose(0, 2, 1, 3).reshape(cells * 3, nodes, m)
    gradient = shares.ravel() @ slope.reshape(-1, m)
    votes = shares.reshape(cells, 3, nodes).sum(axis=1)
    weighted = np.maximum(at.probability, _LEAST_SHARE) * votes[:, :, None]
    tall = at.derivative.reshape(-1, m)
    information = (tall * weighted.reshape(-1, 1)).T @ tall
    if nodes > 1:
        by_row = (flat @ slope.reshape(cells * 3, nodes * m)).reshape(rows, nodes, m)
        mean = (posterior[:, None, :] @ by_row)[:, 0]
        deviation = (by_row - mean[:, None, :]) * np.sqrt(posterior)[..., None]
        tall = deviation.reshape(-1, m)
        missing = tall.T @ tall
        lessened = information - missing
        information = lessened if _is_positive(lessened) else information
    return Value(log_likelihood, gradient, information, posterior, at)


def _is_positive(matrix: Array) -> bool:
    try:
        np.linalg.cholesky(matrix + 1e-9 * np.eye(len(matrix)))
    except np.linalg.LinAlgError:
        return False
    return True


def vote_scores(value: Value, counted: TripletCounts, answer: Codes) -> Array:
    """Each vote's score, (V, m): the posterior mean over z of d log P / d theta."""
    slope = value.terms.derivative[counted.vote_pattern, :, answer]
    return np.asarray((value.posterior[counted.row][:, None, :] @ slope)[:, 0])

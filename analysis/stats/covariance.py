"""Sandwich covariances: by vote, by annotator, by prompt, and by annotator and prompt together.

    V_g = A^-1 ( sum_g u_g u_g' ) A^-1 * G/(G-1) * (n-1)/(n-p),   u_g: the sum of the scores of cluster g's votes
    V   = V_annotator + V_prompt - V_both                 (Cameron, Gelbach and Miller 2011, JBES 29:238-249)

A is the observed information, n the votes, p the free parameters (the factors of Stata and statsmodels). V_both is by
intersection of annotator and prompt: by vote if nobody judged a prompt twice. The difference need not be positive
semi-definite; negative eigenvalues are then set to zero (their section 2.3) and the result says so. Clusters without
votes do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from analysis.stats.cluster_counts import INTERSECTION, Matrix
from analysis.stats.counts import VoteCounts
from analysis.stats.errors import AnalysisError
from analysis.stats.fit import Design, bread, make_design
from analysis.stats.likelihood import cell_terms, outcome_scores
from analysis.stats.results import Array, PairwiseFit
from qsched.records import InputError

#: Scores of clusters are multiplied in blocks of about this many.
_BLOCK_ENTRIES = 4_000_000


@dataclass(frozen=True)
class FittedDesign:
    """A fit with what its covariances need: the counts it used, the design, A^-1 (P, P) and the scores by vote kind.

    `scores` (3 C, P), dense or csr: the score of one vote in each slot of the count table.
    """

    fit: PairwiseFit
    counts: VoteCounts
    design: Design
    bread: Array
    scores: Matrix


def prepare(fit: PairwiseFit, counts: VoteCounts) -> FittedDesign:
    """Scores and information of a fit on the counts it was fitted to."""
    if counts.arms != fit.arms:
        raise InputError(f"The fit has arms {', '.join(fit.arms)}, the counts {', '.join(counts.arms)}.")
    used = counts.without_ties() if fit.ties == "drop" else counts
    design = make_design(used, model=fit.model, position_effect=fit.has_position)
    beta = fit.parameters
    eta, tau = design.eta(beta), design.tau(beta)
    terms = cell_terms(fit.model, used.outcomes, eta, tau)
    by_outcome = outcome_scores(fit.model, eta, None if tau is None else float(tau[0]))
    return FittedDesign(fit, used, design, bread(design, terms, fit.penalty, beta), _score_rows(design, by_outcome))


def _score_rows(design: Design, by_outcome: Array) -> Matrix:
    """(C, 3, d) -> (3 C, P): the score of eta times the design row, then the score of tau."""
    eta_scores = by_outcome[:, :, 0].ravel()
    if sparse.issparse(design.x):
        repeated = sparse.csr_array(design.x)[np.repeat(np.arange(design.x.shape[0]), 3)]
        rows = repeated.multiply(eta_scores[:, None])
        if not design.has_tau:
            return sparse.csr_array(rows)
        return sparse.csr_array(sparse.hstack([rows, sparse.csr_array(by_outcome[:, :, 1].reshape(-1, 1))]))
    dense = np.repeat(np.asarray(design.x), 3, axis=0) * eta_scores[:, None]
    return np.column_stack([dense, by_outcome[:, :, 1].ravel()]) if design.has_tau else dense


def cluster_scores(ready: FittedDesign, name: str) -> Array:
    """Sums of scores by cluster, (G, P), clusters without votes left out."""
    part = ready.counts.clusters[name]
    return _dense(part.counts @ ready.scores)[part.present()]


def _dense(matrix: Matrix) -> Array:
    return np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix)


def small_sample_factor(ready: FittedDesign, n_clusters: float) -> float:
    """G / (G - 1) * (n - 1) / (n - p)."""
    n = ready.counts.n_votes
    free = ready.design.n_parameters - 1
    return n_clusters / max(n_clusters - 1, 1.0) * (n - 1) / max(n - free, 1.0)


def meat_by_cluster(ready: FittedDesign, name: str) -> Array:
    """Sum of outer products of cluster scores, with the small-sample factor."""
    part = ready.counts.clusters[name]
    g = int(part.present().sum())
    if g < 2:
        raise AnalysisError(
            f"There is only {g} {name}, so how much {name}s differ cannot be estimated. "
            f"Use --intervals vote, and say that the result is for this {name} alone."
        )
    return outer_products(part.counts, ready.scores) * small_sample_factor(ready, g)


def outer_products(counts: Matrix, scores: Matrix) -> Array:
    """sum_g u_g u_g' with u = counts @ scores, in blocks: there may be as many clusters as votes."""
    p = scores.shape[1]
    size = max(1, _BLOCK_ENTRIES // p)
    total = np.zeros((p, p))
    for start in range(0, counts.shape[0], size):
        u_GP = _dense(counts[start : start + size] @ scores)
        total += u_GP.T @ u_GP
    return total


def meat_by_vote(ready: FittedDesign) -> Array:
    """Sum over votes of the outer products of their scores, with the small-sample factor."""
    n = ready.counts.outcomes.ravel()
    weighted = ready.scores.multiply(n[:, None]) if sparse.issparse(ready.scores) else ready.scores * n[:, None]
    return _dense(ready.scores.T @ weighted) * small_sample_factor(ready, float(n.sum()))


def meat_by_intersection(ready: FittedDesign) -> Array:
    """As by cluster, for annotator and prompt together."""
    products, number = products_by_intersection(ready.counts, ready.scores)
    return products * small_sample_factor(ready, number)


def products_by_intersection(counts: VoteCounts, scores: Matrix) -> tuple[Array, float]:
    """sum_g u_g u_g' over the intersections of annotator and prompt, and how many there are.

    Those of a single vote are not in the table of clusters, so they are what the others leave of all votes.
    """
    if counts.together is not None:
        return counts.together.meat(scores), counts.together.number
    part = counts.clusters.get(INTERSECTION)
    single = counts.outcomes.ravel()
    if part is not None:
        single = np.maximum(single - np.asarray(part.counts.sum(axis=0)).ravel(), 0.0)
    column = single[:, None]
    weighted = scores.multiply(column) if sparse.issparse(scores) else scores * column
    products = _dense(scores.T @ weighted)
    if part is None:
        return products, float(single.sum())
    return outer_products(part.counts, scores) + products, float(part.present().sum() + single.sum())


def sandwich(ready: FittedDesign, meat: Array) -> Array:
    """A^-1 meat A^-1."""
    return ready.bread @ meat @ ready.bread


def mend(covariance: Array) -> tuple[Array, bool]:
    """Set negative eigenvalues to zero; True if one was more than rounding."""
    symmetric = (covariance + covariance.T) / 2
    values, vectors = np.linalg.eigh(symmetric)
    largest = float(np.abs(values).max())
    if values.min() >= -1e-10 * largest:
        return symmetric, False
    return (vectors * np.maximum(values, 0.0)) @ vectors.T, True

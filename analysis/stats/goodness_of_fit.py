"""Does the model fit? Deviance, the residual of every pair of arms, and one clustered test of all of them.

One strength for each arm says that preferences are transitive and that no pair has a story of its own. Give each pair m
a parameter of its own, added to the log-odds of its votes; the score of these parameters at the fit is

    r_m = sum over the votes of pair m of (outcome - expectation),   oriented from the first arm to the second

and its sum by cluster, less what the fitted parameters absorb, e_g = (score of m) - J B u_g (J: the information that m
shares with the parameters, B: the bread), gives its covariance by annotator + by prompt - by both. Each residual has a
standard error and a p-value (adjusted by Holm); all of them together a test of fit (`analysis.stats.quadratic_test`).

A small p-value says that strengths are a projection: the best single scale for preferences that do not fit on one (a
beats b, b beats c, c beats a). They still order the arms by average win rate, and raw win rates hold without any model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from analysis.stats.contrasts import holm
from analysis.stats.counts import VoteCounts
from analysis.stats.covariance import FittedDesign, outer_products, prepare, products_by_intersection
from analysis.stats.likelihood import cell_terms, outcome_scores
from analysis.stats.quadratic_test import QuadraticTest, quadratic_test
from analysis.stats.results import Array, IntervalKind, PairwiseFit
from analysis.stats.spread import t_tails
from analysis.stats.uncertainty import cluster_sizes, effective_clusters, settle_kind
from analysis.votes.coded import IntArray

#: With more arms the pairs are too many for one matrix; then there is a deviance and no test.
MOST_ARMS = 40


@dataclass(frozen=True)
class PairResidual:
    """A pair's votes against the model: `excess` is the mean score of `arm_a` less its expectation (share of votes)."""

    arm_a: str
    arm_b: str
    n_votes: int
    excess: float
    se: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class ModelFit:
    """`deviance` with its degrees of freedom (not a test: votes are dependent); `test` is None with `why` in words."""

    deviance: float
    deviance_df: int
    test: QuadraticTest | None
    residuals: tuple[PairResidual, ...]
    why: str = ""

    def words(self, alpha: float = 0.05) -> str:
        """What a reader must know if a misfit was detected; empty otherwise."""
        if self.test is None or self.test.p >= alpha:
            return ""
        worst = self.residuals[0]
        more, less = (worst.arm_a, worst.arm_b) if worst.excess > 0 else (worst.arm_b, worst.arm_a)
        return (
            f"One strength for each arm does not fit these votes (test of fit: p = {self.test.p:.2g}): strengths are "
            "here a projection of preferences that do not fit on one scale. They order the arms by their average; for "
            f"a single pair see the raw win rates. Furthest from the model: {more} against {less}, which wins "
            f"{100 * abs(worst.excess):.1f} points more than its strength says."
        )


def model_fit(fit: PairwiseFit, counts: VoteCounts, *, intervals: IntervalKind = "two-way") -> ModelFit:
    """Deviance, residuals of all pairs that have votes (largest first), and the test of fit."""
    ready = prepare(fit, counts)
    used = ready.counts
    k = used.n_arms
    by_cell = used.outcomes.sum(axis=1)
    free = len(fit.parameters) - 1
    deviance_df = int((by_cell > 0).sum()) * (1 if fit.model == "bradley-terry" else 2) - free
    if k > MOST_ARMS:
        return ModelFit(fit.deviance, deviance_df, None, (), f"tested for up to {MOST_ARMS} arms, not {k}")
    pair, first, second = _pairs(used)
    own = _own_scores(ready, pair, len(first))
    kind = settle_kind(intervals, cluster_sizes(used))[0]
    covariance, df = _covariance(ready, own, kind)
    votes = np.bincount(pair, by_cell, len(first))
    by_vote = np.asarray(used.outcomes.ravel() @ own**2)
    r = np.asarray(used.outcomes.ravel() @ own)
    test, why = None, "there are no more pairs than the strengths need"
    if len(first) > k - 1:
        test = quadratic_test(r, covariance, by_vote, df=df, rank=len(first) - k + 1)
        why = "" if test is not None else "the votes do not vary around the fit"
    variance = np.maximum(np.diagonal(covariance), by_vote)
    se = np.sqrt(np.where(variance > 1e-9 * variance.max(initial=0.0), variance, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = t_tails(np.where(se > 0, np.abs(r) / se, 0.0), np.full(len(r), df))
    adjusted = holm(p)
    rows = [
        PairResidual(
            arm_a=used.arms[first[m]],
            arm_b=used.arms[second[m]],
            n_votes=round(float(votes[m])),
            excess=float(r[m] / votes[m]),
            se=float(se[m] / votes[m]),
            p=float(p[m]),
            p_holm=float(adjusted[m]),
        )
        for m in range(len(first))
        if votes[m] > 0
    ]
    ordered = tuple(sorted(rows, key=lambda row: (row.p, row.arm_a, row.arm_b)))
    return ModelFit(fit.deviance, deviance_df, test, ordered, why)


def _pairs(counts: VoteCounts) -> tuple[IntArray, IntArray, IntArray]:
    """The pair of each cell, and the two arms of each pair."""
    low, high = np.minimum(counts.left, counts.right), np.maximum(counts.left, counts.right)
    keys, pair = np.unique(low * counts.n_arms + high, return_inverse=True)
    return pair.ravel().astype(np.int64), keys // counts.n_arms, keys % counts.n_arms


def _own_scores(ready: FittedDesign, pair: IntArray, n_pairs: int) -> Array:
    """Score of one vote for the pairs' own parameters, less what the fit absorbs, by slot of the table: (3 C, M)."""
    counts, fit, design = ready.counts, ready.fit, ready.design
    c = counts.n_cells
    eta, tau = design.eta(fit.parameters), design.tau(fit.parameters)
    sign = np.where(counts.left < counts.right, 1.0, -1.0)
    by_outcome = outcome_scores(fit.model, eta, None if tau is None else float(tau[0]))[:, :, 0]
    own = np.zeros((3 * c, n_pairs))
    own[np.arange(3 * c), np.repeat(pair, 3)] = (by_outcome * sign[:, None]).ravel()
    terms = cell_terms(fit.model, counts.outcomes, eta, tau)
    x = design.x.toarray() if sparse.issparse(design.x) else np.asarray(design.x)
    shared = np.zeros((n_pairs, design.n_parameters))
    np.add.at(shared[:, : x.shape[1]], pair, (sign * terms.curve_eta)[:, None] * x)
    if terms.curve_eta_tau is not None:
        np.add.at(shared[:, -1], pair, sign * terms.curve_eta_tau)
    scores = ready.scores.toarray() if sparse.issparse(ready.scores) else np.asarray(ready.scores)
    return np.asarray(own - scores @ (ready.bread @ shared.T))


def _covariance(ready: FittedDesign, own: Array, kind: IntervalKind) -> tuple[Array, float]:
    """Covariance of the residuals and the degrees of freedom of its clusters."""
    counts = ready.counts
    by_vote = (own * counts.outcomes.ravel()[:, None]).T @ own
    if kind in ("vote", "model"):
        return by_vote, np.inf
    names = ("annotator", "prompt") if kind == "two-way" else (kind,)
    effective = effective_clusters(counts)
    total = np.zeros_like(by_vote)
    for name in names:
        part = counts.clusters[name]
        g = int(part.present().sum())
        total += outer_products(part.counts, own) * g / max(g - 1, 1)
    if kind == "two-way":
        total -= products_by_intersection(counts, own)[0]
    return total, max(min(effective[name] for name in names) - 1, 1.0)

"""Newton's method on the count table, for every model: analytic gradient and Hessian, step halving, diagnostics.

Parameters beta = [theta (K, summing to zero), delta?, gamma..., tau?]. The likelihood does not change when a constant
is added to theta; the matrix of ones J added to the theta block of the negative Hessian makes it invertible and keeps
every step in the sum-zero space. All three log likelihoods are concave (Rao and Kupper's in tau > 0: Burridge 1981).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import dpotrf, dpotrs
from scipy.special import xlogy

from analysis.stats.cells import CellTerms
from analysis.stats.cluster_counts import Matrix
from analysis.stats.counts import VoteCounts
from analysis.stats.errors import NoEstimateError, NotConvergedError
from analysis.stats.existence import examine
from analysis.stats.likelihood import cell_terms, information_and_slope
from analysis.stats.penalty import parse_penalty, smooth_penalty
from analysis.stats.results import Array, Model, PairwiseFit, Penalty, Ties
from qsched.records import InputError

#: Newton stops when no parameter moves by more than this.
STEP_TOLERANCE = 1e-11
MAX_ITERATIONS = 200
_DENSE_ARMS = 32


@dataclass(frozen=True)
class Design:
    """The linear predictor: eta = x @ beta[:x.shape[1]]; `x` (C, P') dense for few arms, csr for many."""

    x: Matrix
    k: int
    has_tau: bool

    @property
    def n_linear(self) -> int:
        """Parameters of eta, P'."""
        return int(self.x.shape[1])

    @property
    def n_parameters(self) -> int:
        """P."""
        return self.n_linear + int(self.has_tau)

    def eta(self, beta: Array) -> Array:
        """(..., P) -> (..., C)."""
        linear = beta[..., : self.n_linear]
        return np.asarray((self.x @ linear.T).T, dtype=np.float64)

    def tau(self, beta: Array) -> Array | None:
        """(..., P) -> (..., 1), or None."""
        return beta[..., -1:] if self.has_tau else None

    def pull_back(self, score_eta: Array, score_tau: Array | None) -> Array:
        """Scores by cell (..., C) -> gradient (..., P)."""
        linear = np.asarray((self._turned @ score_eta.T).T)
        if score_tau is None:
            return linear
        return np.concatenate([linear, score_tau.sum(axis=-1)[..., None]], axis=-1)

    def hessian(self, terms: CellTerms) -> Array:
        """Negative Hessian (P, P) of one data set."""
        if sparse.issparse(self.x):
            linear = np.asarray(self._squares @ terms.curve_eta).reshape(self.n_linear, self.n_linear)
        else:
            linear = np.asarray((self.x * terms.curve_eta[:, None]).T @ self.x)
        if terms.curve_eta_tau is None or terms.curve_tau is None:
            return np.asarray(linear)
        full = np.zeros((self.n_parameters, self.n_parameters))
        full[:-1, :-1] = linear
        full[:-1, -1] = full[-1, :-1] = self._turned @ terms.curve_eta_tau
        full[-1, -1] = terms.curve_tau.sum()
        return full

    @cached_property
    def _turned(self) -> Matrix:
        """x.T, kept: a sparse matrix is copied to turn it."""
        return sparse.csr_array(self.x.T) if sparse.issparse(self.x) else self.x.T

    @cached_property
    def _squares(self) -> sparse.csr_array:
        """(P' P', C), of a sparse `x`: what the curvature of each cell gives to each entry of x' diag(curvature) x."""
        x = sparse.csr_array(self.x)
        entries = np.diff(x.indptr)
        # Each entry of a row meets all entries of that row.
        one = np.repeat(np.arange(x.nnz), np.repeat(entries, entries))
        cell = np.repeat(np.arange(x.shape[0]), entries)[one]
        step = np.arange(len(one)) - np.repeat(np.cumsum(entries**2) - entries**2, entries**2)
        other = x.indptr[cell] + step % entries[cell]
        places = x.indices[one].astype(np.int64) * self.n_linear + x.indices[other]
        shape = (self.n_linear**2, x.shape[0])
        return sparse.csr_array(sparse.coo_array((x.data[one] * x.data[other], (places, cell)), shape=shape))

    def anchored(self, hessian: Array) -> Array:
        """The matrix with J added to its strengths block."""
        full = hessian.copy()
        full[..., : self.k, : self.k] += 1.0 / self.k
        return full


def make_design(counts: VoteCounts, *, model: Model, position_effect: bool) -> Design:
    """Design matrix: +1 for the left arm, -1 for the right arm, then position and covariates."""
    c, k = counts.n_cells, counts.n_arms
    rows = np.concatenate([np.arange(c), np.arange(c)])
    columns = np.concatenate([counts.left, counts.right])
    values = np.concatenate([np.ones(c), -np.ones(c)])
    strengths = sparse.csr_array(sparse.coo_array((values, (rows, columns)), shape=(c, k)))
    extras = np.hstack([counts.position[:, None] if position_effect else np.zeros((c, 0)), counts.covariates])
    x = sparse.csr_array(sparse.hstack([strengths, sparse.csr_array(extras)])) if extras.shape[1] else strengths
    return Design(x.toarray() if k <= _DENSE_ARMS else x, k, has_tau=model != "bradley-terry")


def fit_model(
    counts: VoteCounts,
    *,
    model: Model = "bradley-terry",
    ties: Ties = "half",
    position_effect: bool = False,
    penalty: str | Penalty = "none",
) -> PairwiseFit:
    """Maximise the (penalised) likelihood. Raises NoEstimateError if no finite, unique maximum exists."""
    if model not in ("bradley-terry", "davidson", "rao-kupper"):
        raise InputError(f"Model {model!r} is not known. Choose bradley-terry, davidson or rao-kupper.")
    if ties not in ("half", "drop"):
        raise InputError(f"Ties {ties!r} is not known. Choose half or drop.")
    if model != "bradley-terry" and ties == "drop":
        raise InputError(f"The model {model} is a model of ties; do not drop them (ties='half', the default).")
    chosen = parse_penalty(penalty)
    used = counts.without_ties() if ties == "drop" else counts
    diagnosis = examine(counts, model=model, ties=ties, position_effect=position_effect, penalty=chosen)
    if not diagnosis.exists:
        raise NoEstimateError(diagnosis)
    design = make_design(used, model=model, position_effect=position_effect)
    start = starting_values(used, design, model)
    beta, terms, gradient, iterations = newton(design, used.outcomes, model, chosen, start)
    likelihood = float(terms.log_likelihood.sum())
    return PairwiseFit(
        model=model,
        ties=ties,
        arms=counts.arms,
        parameters=beta,
        names=_names(counts, position_effect, model),
        covariance=inverse_information(design, terms, chosen, beta),
        log_likelihood=likelihood,
        deviance=2 * (_saturated(used.outcomes, model) - likelihood),
        penalty=chosen,
        iterations=iterations,
        converged=True,
        gradient=gradient,
        n_votes=used.n_votes,
        has_position=position_effect,
        covariates=counts.covariate_names,
    )


def fit_bradley_terry(
    counts: VoteCounts, *, ties: Ties = "half", position_effect: bool = False, penalty: str | Penalty = "none"
) -> PairwiseFit:
    """Maximum likelihood strengths of the Bradley-Terry model (natural log-odds, summing to zero).

    `ties`: half a win for each side, or left out. `penalty`: none, firth, ridge:X or gamma:A.
    Raises NoEstimateError, which names the arms, if the estimate is infinite or not unique.
    """
    return fit_model(counts, ties=ties, position_effect=position_effect, penalty=penalty)


def _names(counts: VoteCounts, position_effect: bool, model: Model) -> tuple[str, ...]:
    tie = {"bradley-terry": (), "davidson": ("log nu",), "rao-kupper": ("log kappa",)}[model]
    return (*counts.arms, *(("position",) if position_effect else ()), *counts.covariate_names, *tie)


def starting_values(counts: VoteCounts, design: Design, model: Model) -> Array:
    """Zeros, and the tie parameter that fits the overall tie rate between equal arms."""
    beta = np.zeros(design.n_parameters)
    if model != "bradley-terry":
        share = counts.outcomes[:, 2].sum() / counts.outcomes.sum()
        ratio = share / (1 - share)
        # Equal arms: Davidson P(tie) = nu / (2 + nu); Rao and Kupper P(tie) = (kappa - 1) / (kappa + 1).
        beta[-1] = np.log(2 * ratio) if model == "davidson" else np.log((1 + share) / (1 - share))
    return beta


def newton(
    design: Design, outcomes: Array, model: Model, penalty: Penalty, start: Array
) -> tuple[Array, CellTerms, float, int]:
    """The maximum, the cell terms there, the largest gradient and the number of iterations."""
    beta = start.copy()
    value, gradient, curve, terms = objective(design, outcomes, model, penalty, beta)
    for iteration in range(1, MAX_ITERATIONS + 1):
        try:
            step = _solved(design.anchored(curve), gradient)
        except LinAlgError as error:
            raise NotConvergedError(
                iterations=iteration, gradient=float(np.abs(gradient).max()), tolerance=STEP_TOLERANCE
            ) from error
        size = float(np.abs(step).max())
        scale = min(1.0, 5.0 / size) if size > 0 else 1.0
        for _ in range(60):
            trial = beta + scale * step
            if model != "rao-kupper" or trial[-1] > 0:
                new = objective(design, outcomes, model, penalty, trial)
                # Near the top the value changes by less than rounding; a tiny loss is then no reason to halve.
                if new[0] >= value - 1e-12 * (1 + abs(value)):
                    break
            scale /= 2
        else:
            raise NotConvergedError(
                iterations=iteration, gradient=float(np.abs(gradient).max()), tolerance=STEP_TOLERANCE
            )
        beta, (value, gradient, curve, terms) = trial, new
        if scale == 1.0 and size <= STEP_TOLERANCE * (1 + float(np.abs(beta).max())):
            return _centred(beta, design.k), terms, float(np.abs(gradient).max()), iteration
    raise NotConvergedError(iterations=MAX_ITERATIONS, gradient=float(np.abs(gradient).max()), tolerance=STEP_TOLERANCE)


def _solved(matrix: Array, vector: Array) -> Array:
    """The solution x of matrix @ x = vector; raises LinAlgError if `matrix` is not positive definite.

    These are the routines of scipy.linalg.cho_factor and cho_solve, whose checks take longer than a small system.
    """
    factor, failed = dpotrf(matrix, lower=False, clean=False)
    if failed:
        raise LinAlgError(f"The leading minor of order {failed} is not positive definite.")
    solution, _ = dpotrs(factor, vector, lower=False)
    return np.asarray(solution)


def _centred(beta: Array, k: int) -> Array:
    centred = beta.copy()
    centred[:k] -= centred[:k].mean()
    return centred


def objective(
    design: Design, outcomes: Array, model: Model, penalty: Penalty, beta: Array
) -> tuple[float, Array, Array, CellTerms]:
    """Penalised log likelihood, its gradient (P,), the curvature of Newton's step (P, P), and the cell terms."""
    terms = cell_terms(model, outcomes, design.eta(beta), design.tau(beta))
    value = float(terms.log_likelihood.sum())
    gradient = design.pull_back(terms.score_eta, terms.score_tau)
    curve = design.hessian(terms)
    if penalty.kind == "firth":
        extra, slope, information = firth_terms(design, outcomes.sum(axis=1), model, beta)
        return value + float(extra), gradient + slope, information, terms
    if penalty.kind != "none":
        extra_value, extra_gradient, extra_curve = smooth_penalty(penalty, beta[: design.k])
        value += float(extra_value)
        gradient[: design.k] += extra_gradient
        curve[: design.k, : design.k] += extra_curve
    return value, gradient, curve, terms


def firth_terms(design: Design, votes: Array, model: Model, beta: Array) -> tuple[Array, Array, Array]:
    """Half the log determinant of the expected information, its gradient (..., P), and that information (..., P, P).

    votes (..., C), beta (..., P). d/d beta_k of 1/2 log det I = 1/2 tr(I^-1 dI/d beta_k); with I a sum over cells this
    is a score by cell. Where I has no inverse the value and the gradient are not a number.
    """
    m, slope = information_and_slope(model, design.eta(beta), design.tau(beta))
    two = m.shape[-1] == 2
    x = design.x.toarray() if sparse.issparse(design.x) else np.asarray(design.x)
    lin = design.n_linear
    information = np.zeros((*beta.shape, beta.shape[-1]))
    information[..., :lin, :lin] = (x.T * (votes * m[..., 0, 0])[..., None, :]) @ x
    if two:
        information[..., :lin, -1] = information[..., -1, :lin] = (votes * m[..., 0, 1]) @ x
        information[..., -1, -1] = (votes * m[..., 1, 1]).sum(axis=-1)
    anchored = design.anchored(information)
    sign, log_determinant = np.linalg.slogdet(anchored)
    singular = ~((sign > 0) & np.isfinite(log_determinant))
    inverse = np.linalg.inv(np.where(singular[..., None, None], np.eye(beta.shape[-1]), anchored))
    # Q_c = X_c I^-1 X_c', the covariance of (eta, tau) in cell c.
    q = np.empty_like(m)
    q[..., 0, 0] = ((x @ inverse[..., :lin, :lin]) * x).sum(axis=-1)
    if two:
        q[..., 0, 1] = q[..., 1, 0] = inverse[..., -1, :lin] @ x.T
        q[..., 1, 1] = inverse[..., -1:, -1]
    by_cell = 0.5 * votes[..., None] * np.einsum("...ab,...abe->...e", q, slope)
    gradient = design.pull_back(by_cell[..., 0], by_cell[..., 1] if two else None)
    gradient = np.where(singular[..., None], np.nan, gradient)
    return np.where(singular, np.nan, 0.5 * log_determinant), gradient, information


def bread(design: Design, terms: CellTerms, penalty: Penalty, beta: Array) -> Array:
    """Inverse of the anchored negative Hessian (P, P), the J part taken out again."""
    curve = design.hessian(terms)
    if penalty.kind in ("ridge", "gamma"):
        curve[: design.k, : design.k] += smooth_penalty(penalty, beta[: design.k])[2]
    inverse = np.linalg.inv(design.anchored(curve))
    # Project on the sum-zero space: the anchor adds 1/K to every entry of the strengths block.
    project = np.eye(len(inverse))
    project[: design.k, : design.k] -= 1.0 / design.k
    return np.asarray(project @ inverse @ project)


def inverse_information(design: Design, terms: CellTerms, penalty: Penalty, beta: Array) -> Array:
    """Model-based covariance: the inverse of the observed (penalised) information."""
    return bread(design, terms, penalty, beta)


def _saturated(outcomes: Array, model: Model) -> float:
    """Log likelihood of a model that fits every cell perfectly (ties as half wins in Bradley-Terry)."""
    if model == "bradley-terry":
        wins = outcomes[:, 0] + outcomes[:, 2] / 2
        cells = np.stack([wins, outcomes.sum(axis=1) - wins], axis=1)
    else:
        cells = outcomes
    total = cells.sum(axis=1, keepdims=True)
    return float(xlogy(cells, cells / np.where(total > 0, total, 1)).sum())

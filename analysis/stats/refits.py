"""Many fits of one model to tables of the same cells: resamples of a bootstrap, or votes without one cluster.

All tables at once by chord iteration (the information of the original fit, factored once), those for which that is slow
one by one by Newton's method.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from analysis.stats.covariance import FittedDesign
from analysis.stats.errors import NotConvergedError
from analysis.stats.existence import examine
from analysis.stats.fit import firth_terms, newton
from analysis.stats.likelihood import cell_terms
from analysis.stats.penalty import smooth_penalty
from analysis.stats.results import Array

_CHORD_ITERATIONS = 40
_CHORD_TOLERANCE = 1e-9
#: With more cells than these, hundreds of arms of few votes each, steps may be a thousandth of a standard error.
_MANY_CELLS = 2000
_COARSE_TOLERANCE = 1e-4
#: Firth's term takes this many entries (tables, cells and parameters multiplied) at once.
_FIRTH_ENTRIES = 4_000_000


def refit(ready: FittedDesign, outcomes: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Refits, first steps (the linear parts), and which tables have an estimate. outcomes (B, C, 3 or 2)."""
    b = len(outcomes)
    beta = np.tile(ready.fit.parameters, (b, 1))
    linear = np.zeros_like(beta)
    votes = _votes_of(outcomes)
    ok = _determined(ready, votes > 0)
    active = np.flatnonzero(ok)
    current = _sufficient(ready, outcomes if ok.all() else outcomes[ok], votes if ok.all() else votes[ok])
    previous = np.full(len(active), np.inf)
    many = ready.counts.n_cells > _MANY_CELLS
    tolerance = _COARSE_TOLERANCE if many else _CHORD_TOLERANCE
    scale = _arm_scales(ready, votes) if many else None
    for iteration in range(_CHORD_ITERATIONS):
        if not len(active):
            break
        gradient = _chord_gradient(ready, current, beta[active])
        if iteration == 0:
            linear[active] = gradient @ ready.bread
        if ready.fit.penalty.kind == "firth":
            gradient += _firth_gradient(ready, current, beta[active])
        with np.errstate(invalid="ignore"):
            own = 1.0 if scale is None else scale[active]
            step = ((gradient * own) @ ready.bread) * own
        size = np.abs(step).max(axis=1)
        beta[active] += step
        going = size > tolerance
        worse = ~(size <= np.maximum(previous, 1.0))
        if worse.any():
            beta[active[worse]] = np.nan
            going &= ~worse
        active, previous = active[going], size[going]
        if not going.all():
            current = tuple(part[going] for part in current)
        if many and iteration == 0 and ready.fit.model == "bradley-terry":
            # The linear part has been taken exactly; steps of a thousandth of a standard error need no more digits.
            current = tuple(np.asfortranarray(part, dtype=np.float32) for part in current)
    slow = np.union1d(active, np.flatnonzero(np.isnan(beta).any(axis=1)))
    if scale is not None:  # scaled steps may move all strengths by a constant
        beta[:, : ready.design.k] -= beta[:, : ready.design.k].mean(axis=1, keepdims=True)
    if len(slow):
        _refit_one_by_one(ready, outcomes, slow, beta, ok)
    return beta, linear, ok


def _arm_scales(ready: FittedDesign, votes: Array) -> Array:
    """Of each table and parameter, 1 / sqrt(information of the arm's votes in the table over that in the fit), (B, P).

    With few votes for each arm a table's information differs from the fit's mostly in the arms' totals; scaled by them
    the chord takes a third of the iterations. Where it ends does not change.
    """
    counts, k = ready.counts, ready.design.k
    eta = ready.design.eta(ready.fit.parameters)
    weight = expit(eta) * expit(-eta)
    arms = sparse.coo_array(
        (np.tile(weight, 2), (np.tile(np.arange(counts.n_cells), 2), np.concatenate([counts.left, counts.right]))),
        shape=(counts.n_cells, k),
    ).tocsr()
    own = np.asarray(votes @ arms)
    fitted = np.asarray(counts.outcomes.sum(axis=-1) @ arms)
    scale = np.ones((len(votes), ready.design.n_parameters))
    scale[:, :k] = 1 / np.sqrt(np.clip(own / np.maximum(fitted, 1e-300), 0.1, 10.0))
    return scale


def _determined(ready: FittedDesign, has: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the cells that have votes, (B, C), determine every parameter of eta.

    Along a direction in which no vote speaks the gradient is zero: the chord would stay there and call it converged.
    """
    ok = np.ones(len(has), dtype=bool)
    fewer = np.flatnonzero((~has & (ready.counts.outcomes.sum(axis=-1) > 0)).any(axis=1))
    k, x = ready.design.k, ready.design.x
    held = ready.fit.penalty.kind in ("ridge", "gamma")
    if ready.design.n_linear == k:
        for row in [] if held else fewer.tolist():
            left, right = ready.counts.left[has[row]], ready.counts.right[has[row]]
            graph = sparse.coo_array((np.ones(len(left)), (left, right)), shape=(k, k))
            ok[row] = connected_components(graph, directed=False, return_labels=False) == 1
        return ok
    dense = x.toarray() if sparse.issparse(x) else np.asarray(x)
    anchor = np.eye(k) if held else np.full((k, k), 1.0 / k)
    for row in fewer.tolist():
        gram = dense[has[row]].T @ dense[has[row]]
        gram[:k, :k] += anchor
        values = np.linalg.eigvalsh(gram)
        ok[row] = values[0] > 1e-10 * values[-1]
    return ok


def _votes_of(outcomes: Array) -> Array:
    """Votes of each cell, (B, C); numpy's own sum over so short an axis takes several times as long."""
    votes = outcomes[..., 0] + outcomes[..., 1]
    return votes if outcomes.shape[-1] == 2 else votes + outcomes[..., 2]


def _sufficient(ready: FittedDesign, outcomes: Array, votes: Array) -> tuple[Array, ...]:
    """What the gradient needs of a table: (wins of the left arm, votes), (B, C) each; the table in tie models."""
    if ready.fit.model != "bradley-terry":
        return (outcomes,)
    if outcomes.shape[-1] == 2:
        return outcomes[..., 0].copy("K"), votes
    wins = outcomes[..., 0] + 0.5 * outcomes[..., 2]
    return wins, wins + outcomes[..., 1] + 0.5 * outcomes[..., 2]


def _chord_gradient(ready: FittedDesign, data: tuple[Array, ...], beta: Array) -> Array:
    design, fit = ready.design, ready.fit
    eta, tau = design.eta(beta), design.tau(beta)
    if fit.model == "bradley-terry":
        wins, votes = data
        eta = eta.astype(wins.dtype, copy=False)
        p = expit(eta, out=eta)
        gradient = design.pull_back(wins - np.multiply(votes, p, out=p), None)
    else:
        outcomes = data[0]
        # A chord step may leave Rao and Kupper's tau > 0; such a resample goes to Newton's method.
        with np.errstate(invalid="ignore", divide="ignore"):
            terms = cell_terms(fit.model, outcomes, eta, tau)
        gradient = design.pull_back(terms.score_eta, terms.score_tau)
    if fit.penalty.kind in ("ridge", "gamma"):
        gradient[:, : design.k] += smooth_penalty(fit.penalty, beta[:, : design.k])[1]
    return gradient


def _firth_gradient(ready: FittedDesign, data: tuple[Array, ...], beta: Array) -> Array:
    """Gradient (B, P) of half the log determinant of the information; not finite if the information is singular."""
    votes = data[1] if ready.fit.model == "bradley-terry" else data[0].sum(axis=-1)
    size = max(1, _FIRTH_ENTRIES // (votes.shape[1] * beta.shape[1]))
    parts = [
        firth_terms(ready.design, votes[start : start + size], ready.fit.model, beta[start : start + size])[1]
        for start in range(0, len(votes), size)
    ]
    return np.concatenate(parts)


def _refit_one_by_one(
    ready: FittedDesign, outcomes: Array, which: NDArray[np.int64], beta: Array, ok: NDArray[np.bool_]
) -> None:
    """Newton's method on the tables `which`, into `beta` and `ok`."""
    fit = ready.fit
    if outcomes.shape[-1] == 2:
        outcomes = np.concatenate([outcomes, np.zeros((*outcomes.shape[:-1], 1))], axis=-1)
    for index in which:
        counts = ready.counts.with_outcomes(outcomes[index])
        diagnosis = examine(counts, model=fit.model, position_effect=fit.has_position, penalty=fit.penalty)
        if not diagnosis.exists:
            ok[index] = False
            continue
        try:
            beta[index] = newton(ready.design, outcomes[index], fit.model, fit.penalty, fit.parameters)[0]
        except NotConvergedError:
            # Counted, reported, and an error when they are many: see `resample`.
            ok[index] = False

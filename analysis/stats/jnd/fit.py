"""Fit the scale: damages, thresholds, map and spread from task and bias votes, lapse rates from traps.

Two sets of estimating equations are solved together: the gradient of the task likelihood given the lapse rates, and the
score of the lapse rates from traps given the rest. Their joint Jacobian J (by central differences of the analytic
scores) carries the uncertainty of the lapse rate into every damage:

    V = J^-1 M J^-T,   M two-way: sums of scores by person, plus by prompt, minus by both (`jnd.variance`)
    V_model = J^-1 diag(information of the task likelihood, information of the traps) J^-T
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.stats.errors import AnalysisError
from analysis.stats.jnd.lapses import TrapCounts, attentive, count_traps, estimate_lapses, lapse_scores, spread_out
from analysis.stats.jnd.likelihood import TripletCounts, count_triplets, evaluate, vote_scores
from analysis.stats.jnd.model import Array, Codes, MapForm, ParameterLayout
from analysis.stats.jnd.newton import Maximum, maximise
from analysis.stats.jnd.variance import Clusters, cluster_votes, two_way
from analysis.triplets import BOOSTED, PLAIN, TripletCodes
from analysis.triplets.codes import TRAP

NODES = 11
_STEP = 1e-5
_ROUNDS = 30


@dataclass(frozen=True)
class JndFit:
    """Estimates with their two covariances, (m, m) over theta; entries of parameters at a bound are zero.

    `pictures` are the names of the damages in theta's order. `lapse` is by presentation (plain, boosted). A damage is
    in plain JND where `layout.form` is a map or all votes are plain, else in boosted JND.
    """

    layout: ParameterLayout
    pictures: tuple[str, ...]
    theta: Array
    lapse: Array
    covariance_two_way: Array
    covariance_model: Array
    free: NDArray[np.bool_]
    log_likelihood: float
    iterations: int
    gradient: float
    nodes: int
    clusters: Clusters
    n_votes: int
    n_traps: int
    notes: tuple[str, ...]

    @property
    def df(self) -> float:
        """Degrees of freedom of every t quantile: min(people, prompts) - 1."""
        return self.clusters.df

    def at(self, picture: str) -> int:
        """Place of a picture's damage in theta."""
        return self.pictures.index(picture)

    def damage(self, picture: str) -> float:
        """Estimated mean damage of a picture."""
        return float(self.theta[self.at(picture)])

    def variance(self, direction: Array) -> float:
        """max(two-way, model) variance of direction'theta: what every decision uses."""
        return float(
            max(direction @ self.covariance_two_way @ direction, direction @ self.covariance_model @ direction)
        )

    def se(self, place: int) -> float:
        """Standard error of one parameter, max(two-way, model)."""
        return float(np.sqrt(self.variance(np.eye(len(self.theta))[place])))


def fit_jnd(
    codes: TripletCodes,
    *,
    form: MapForm = "none",
    side: bool = False,
    nodes: int = 1,
    people_sd: float = 0.0,
    blind: float = 0.0,
) -> JndFit:
    """The scale of these votes; existence must have been examined (`analysis.stats.jnd.existence`).

    `form` is the map from plain to boosted JND, and `none` where there are votes of one presentation only. `nodes` = 1
    is the pooled model, 9 to 11 the hierarchical one. `blind` is a share of task votes that is assumed, on top of the
    traps' lapse rate, to have been cast at random. Raises AnalysisError where the iteration does not end.
    """
    task = codes.where(codes.kind != TRAP)
    shown = tuple(sorted(set(task.presentation.tolist())))
    if form == "none" and len(shown) > 1:
        raise AnalysisError(
            "Plain and boosted votes share no scale without a map: fit one presentation, or give a map."
        )
    if form != "none" and shown != (PLAIN, BOOSTED):
        raise AnalysisError("A map from plain to boosted JND needs votes of both presentations.")
    place = _places(task)
    layout = ParameterLayout(int(place.max()), shown, side, form, nodes > 1, people_sd)
    counted = count_task(codes, layout)
    traps = count_traps(codes.where(codes.kind == TRAP), place=place, layout=layout)
    found, lapse, rounds = _solve(layout, counted, traps, nodes=nodes, blind=blind)
    if not found.converged:
        raise AnalysisError(
            f"The JND scale did not converge after {rounds} iterations (largest gradient {found.gradient:.3g}). "
            "Look for a picture that nearly everybody names, or leave it out."
        )
    clusters = cluster_votes(codes)
    covariances = _covariances(layout, counted, traps, codes, found, lapse, nodes=nodes, clusters=clusters, blind=blind)
    pictures = tuple(codes.pictures[k] for k in np.flatnonzero(place))
    return JndFit(
        layout,
        pictures,
        found.theta,
        lapse,
        *covariances,
        found.free,
        found.value.log_likelihood,
        rounds,
        found.gradient,
        nodes,
        clusters,
        task.n_votes,
        codes.n_votes - task.n_votes,
        traps.notes,
    )


def count_task(codes: TripletCodes, layout: ParameterLayout) -> TripletCounts:
    """The task and bias votes counted as the fit takes them: pictures in the numbers of theta, prompts one by one in
    the hierarchical model."""
    task = codes.where(codes.kind != TRAP)
    return count_triplets(_renumber(task, _places(task)), by_prompt=layout.spread)


def _places(task: TripletCodes) -> Codes:
    """The number of each picture in theta, from 1; 0 for the reference and pictures without a comparing vote."""
    compared = task.left != task.right
    seen = np.unique(np.concatenate([task.left[compared], task.right[compared]]))
    place = np.zeros(len(task.pictures), dtype=np.int64)
    seen = seen[seen > 0]
    place[seen] = np.arange(1, len(seen) + 1)
    return place


def _renumber(codes: TripletCodes, place: Codes) -> TripletCodes:
    return replace(codes, left=place[codes.left], right=place[codes.right])


def _solve(
    layout: ParameterLayout, counted: TripletCounts, traps: TrapCounts, *, nodes: int, blind: float
) -> tuple[Maximum, Array, int]:
    """Alternate: theta given the lapse rates, lapse rates given theta, until the rates stand still."""
    votes = int(counted.counts.sum())
    theta, rounds = layout.start(), 0
    lapse = estimate_lapses(theta, layout, traps, nodes=nodes)
    if nodes > 1:  # from the pooled solution
        alone = replace(layout, spread=False)
        summed = TripletCounts(
            counted.patterns, counted.counts.sum(axis=0, keepdims=True), counted.row, counted.vote_pattern
        )
        pooled, lapse, rounds = _solve(alone, summed, traps, nodes=1, blind=blind)
        theta = np.append(pooled.theta, 0.4)
    for _ in range(_ROUNDS):
        rate = lapse

        def at(values: Array, rate: Array = rate):  # type: ignore[no-untyped-def]
            return evaluate(values, layout, counted, lapse=blind + (1 - blind) * rate, nodes=nodes)

        found = maximise(at, theta, bounds=layout.bounds(), votes=votes)
        rounds += found.iterations
        theta = found.theta
        lapse = estimate_lapses(theta, layout, traps, nodes=nodes)
        if np.abs(lapse - rate).max() < 1e-8:
            break
    return found, lapse, rounds


def _covariances(
    layout: ParameterLayout,
    counted: TripletCounts,
    traps: TrapCounts,
    codes: TripletCodes,
    found: Maximum,
    lapse: Array,
    *,
    nodes: int,
    clusters: Clusters,
    blind: float,
) -> tuple[Array, Array]:
    """Two-way and model covariance of theta (m, m)."""
    free, m = np.flatnonzero(found.free), layout.n
    rates = np.array([lapse[np.flatnonzero(traps.group == g)[0]] for g in range(traps.n_groups)])
    n = len(free)

    def scores(values: Array) -> Array:
        theta = found.theta.copy()
        theta[free] = values[:n]
        by_presentation = spread_out(values[n:], traps)
        seen = blind + (1 - blind) * by_presentation
        gradient = evaluate(theta, layout, counted, lapse=seen, nodes=nodes).gradient[free]
        if not traps.n_groups:
            return gradient
        h = attentive(theta, layout, traps, nodes=nodes)
        return np.concatenate([gradient, lapse_scores(by_presentation, h, traps)[1]])

    centre = np.concatenate([found.theta[free], rates])
    jacobian = np.empty((len(centre), len(centre)))
    for axis in range(len(centre)):
        step = np.zeros(len(centre))
        step[axis] = _STEP if axis < n else min(_STEP, centre[axis] / 2)
        jacobian[:, axis] = (scores(centre - step) - scores(centre + step)) / (2 * step[axis])
    inverse = np.linalg.pinv(jacobian)
    information = np.zeros_like(jacobian)
    information[:n, :n] = (jacobian[:n, :n] + jacobian[:n, :n].T) / 2
    information[n:, n:] = np.diag(np.diag(jacobian[n:, n:]))
    psi = np.zeros((codes.n_votes, len(centre)))
    is_task = codes.kind != TRAP
    psi[is_task, :n] = vote_scores(found.value, counted, codes.answer[is_task])[:, free]
    if traps.n_groups:
        slope, _ = lapse_scores(lapse, attentive(found.theta, layout, traps, nodes=nodes), traps)
        group = traps.group[codes.presentation[~is_task]]
        psi[np.flatnonzero(~is_task), n + group] = slope[traps.counted.vote_pattern, traps.answer]
    out = []
    for middle in (two_way(psi, clusters), information):
        whole = np.zeros((m, m))
        whole[np.ix_(free, free)] = (inverse @ middle @ inverse.T)[:n, :n]
        out.append(whole)
    return out[0], out[1]

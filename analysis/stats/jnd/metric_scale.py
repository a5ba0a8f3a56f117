"""A metric on the JND scale, fitted to plain triplets of the reference against a picture.

The damage of picture g with difference x_g by the metric is d_g = a x_g^b exp(s u_g - s^2/2), u_g standard normal: a
x^b is the mean damage of such pictures, s the spread of single ones. A vote has the three outcomes of `model`, with
people's sensitivity (sd of the log, assumed) integrated vote by vote and u_g over all votes on the picture:

    L_g = E_u prod_v E_e P(answer_v | Q e d_g(u)),     theta = (log a, log b, t, log s)

both by Gauss-Hermite. The score of a vote is the posterior mean over u of d log P_v / d theta, so that the errors can
be two-way over people and prompts; each variance is the larger of this and the model's own. The lapse rate is that of
the plain traps, taken as known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats
from scipy.special import logsumexp, ndtr

from analysis.stats.errors import AnalysisError
from analysis.stats.jnd.model import Array, Codes, Q, nodes_of
from analysis.stats.jnd.variance import Clusters, two_way

_PICTURE_NODES, _PEOPLE_NODES = 15, 5
_STEP = 1e-5
LEAST_PICTURES = 8


@dataclass(frozen=True)
class MetricVotes:
    """V plain votes: `answer` 0 the reference is named, 1 not sure, 2 the picture is named.

    `picture` numbers the G pictures, `x` (G,) are their differences by the metric, above 0.
    """

    answer: Codes
    picture: Codes
    x: Array
    clusters: Clusters


@dataclass(frozen=True)
class MetricFit:
    """theta = (log a, log b, t, log s), its covariance, log-likelihood, and one-sided t at the confidence."""

    theta: Array
    covariance: Array
    log_likelihood: float
    t: float

    @property
    def b(self) -> float:
        """The exponent."""
        return float(np.exp(self.theta[1]))

    @property
    def spread(self) -> float:
        """Spread of single pictures (sd of the log)."""
        return float(np.exp(self.theta[3]))


def fit_metric(votes: MetricVotes, *, lapse: float, people_sd: float, confidence: float) -> MetricFit:
    """Maximum likelihood; AnalysisError where the votes carry no such scale."""
    pictures, differ = len(votes.x), len(np.unique(votes.x))
    if pictures < LEAST_PICTURES or differ < 3:
        raise AnalysisError(
            f"{pictures} pictures with {differ} different values carry no scale; it takes {LEAST_PICTURES} and 3"
        )
    if len(np.unique(votes.answer)) == 1:
        raise AnalysisError("all votes agree: the differences are all far above, or all below, what people see")
    log_x = np.log(votes.x)
    start = np.array([-float(np.median(log_x)), 0.0, 0.3, np.log(0.4)])
    bounds = [(-40.0, 40.0), (np.log(0.05), np.log(8.0)), (0.0, 3.0), (np.log(0.02), np.log(3.0))]

    def loss(theta: Array) -> tuple[float, Array]:
        value, score = _likelihood(theta, votes, lapse=lapse, people_sd=people_sd)
        return -value, -score.sum(axis=0)

    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300})
    theta = np.asarray(found.x, dtype=np.float64)
    if not found.success or theta[1] <= bounds[1][0] + 1e-3 or theta[1] >= bounds[1][1] - 1e-3:
        raise AnalysisError("the votes do not rise with this metric: no scale was found")
    value, scores = _likelihood(theta, votes, lapse=lapse, people_sd=people_sd)
    # The spread and the threshold may lie on their borders; what is free there is left out of the errors.
    free = np.array([low + 1e-6 < at < high - 1e-6 for at, (low, high) in zip(theta, bounds, strict=True)])
    information = _information(theta, votes, lapse=lapse, people_sd=people_sd)[np.ix_(free, free)]
    try:
        model = np.linalg.inv(information)
    except np.linalg.LinAlgError as error:
        raise AnalysisError("the votes do not determine a scale of this metric") from error
    if (np.diag(model) <= 0).any():
        raise AnalysisError("the votes do not determine a scale of this metric")
    robust = model @ two_way(scores[:, free], votes.clusters) @ model
    covariance = np.zeros((4, 4))
    covariance[np.ix_(free, free)] = _larger(robust, model)
    return MetricFit(theta, covariance, value, float(stats.t.ppf(confidence, votes.clusters.df)))


def _larger(robust: Array, model: Array) -> Array:
    """The robust covariance with no variance below the model's, in the directions of their difference."""
    values, vectors = np.linalg.eigh(robust - model)
    return np.asarray(model + (vectors * values.clip(min=0)) @ vectors.T, dtype=np.float64)


def _likelihood(theta: Array, votes: MetricVotes, *, lapse: float, people_sd: float) -> tuple[float, Array]:
    """Log-likelihood, and the score of each vote (V, 4)."""
    log_p = _log_p(theta, votes, lapse=lapse, people_sd=people_sd)
    _, weight = nodes_of(_PICTURE_NODES)
    joint = np.log(weight) + _by_picture(log_p, votes)  # (G, U)
    total = logsumexp(joint, axis=1)
    posterior = np.exp(joint - total[:, None])[votes.picture]
    scores = np.empty((len(votes.answer), len(theta)))
    for k in range(len(theta)):
        step = np.zeros_like(theta)
        step[k] = _STEP
        above = _log_p(theta + step, votes, lapse=lapse, people_sd=people_sd)
        below = _log_p(theta - step, votes, lapse=lapse, people_sd=people_sd)
        scores[:, k] = ((above - below) / (2 * _STEP) * posterior).sum(axis=1)
    return float(total.sum()), scores


def _information(theta: Array, votes: MetricVotes, *, lapse: float, people_sd: float) -> Array:
    """Minus the second derivative, by differences of the score."""
    rows = []
    for k in range(len(theta)):
        step = np.zeros_like(theta)
        step[k] = 1e-4
        above = _likelihood(theta + step, votes, lapse=lapse, people_sd=people_sd)[1].sum(axis=0)
        below = _likelihood(theta - step, votes, lapse=lapse, people_sd=people_sd)[1].sum(axis=0)
        rows.append(-(above - below) / 2e-4)
    information = np.array(rows)
    return np.asarray((information + information.T) / 2, dtype=np.float64)


def _log_p(theta: Array, votes: MetricVotes, *, lapse: float, people_sd: float) -> Array:
    """log P of each vote at each picture node, (V, U)."""
    log_a, log_b, t, log_s = theta
    u, _ = nodes_of(_PICTURE_NODES)
    z, weight = nodes_of(_PEOPLE_NODES)
    s = np.exp(log_s)
    damage = np.exp(log_a + np.exp(log_b) * np.log(votes.x)[:, None] + s * u - s**2 / 2)
    sensitivity = np.exp(people_sd * z - people_sd**2 / 2)
    eta = Q * damage[:, :, None] * sensitivity  # (G, U, Z)
    named, other = ndtr(eta - t) @ weight, ndtr(-eta - t) @ weight
    attentive = np.stack([other, 1 - named - other, named])
    table = np.log((1 - lapse) * attentive + lapse / 3 + 1e-300)  # (answer, G, U)
    return np.asarray(table[votes.answer, votes.picture], dtype=np.float64)


def _by_picture(log_p: Array, votes: MetricVotes) -> Array:
    sums = np.zeros((len(votes.x), log_p.shape[1]))
    np.add.at(sums, votes.picture, log_p)
    return sums

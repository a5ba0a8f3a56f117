"""Simulated studies of a metric on the JND scale: what `qsched jnd --image-set` claims, when the truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from analysis.stats.errors import AnalysisError
from analysis.stats.jnd.metric_scale import MetricVotes, fit_metric
from analysis.stats.jnd.variance import Clusters
from qsched.simulation.observers import ObserverPopulation, answer_triplets, draw_observers

#: Mean damage of a picture whose difference by the metric is x: A x^B JND.
A, B = 20.0, 1.2
AT = 0.05
LAPSE = 0.05


def metric_study(
    *, spread: float, people: int = 40, prompts: int = 100, votes: int = 6, gamma: bool = False
) -> Callable[[np.random.Generator], dict[str, float]]:
    """Plain votes on one picture for each prompt; damage varies around the map, log-normal or gamma.

    covered     the upper bound of the mean damage at x = AT is not below the truth
    estimate    estimated over true mean damage there
    """

    def study(rng: np.random.Generator) -> dict[str, float]:
        population = ObserverPopulation(lapse_mean=LAPSE)
        observers = draw_observers(people, population=population, rng=rng)
        x = np.exp(rng.normal(np.log(0.06), 0.7, prompts))
        damage = A * x**B * _around(prompts, spread, rng, gamma=gamma)
        picture = np.repeat(np.arange(prompts), votes)
        person = rng.integers(0, people, len(picture))
        answer = answer_triplets(
            observers,
            person=person,
            left=np.zeros(len(picture)),
            right=damage[picture],
            boosted=np.zeros(len(picture), dtype=bool),
            gain=np.ones(len(picture)),
            population=population,
            rng=rng,
        )
        both = np.unique(person * prompts + picture, return_inverse=True)[1]
        known = np.unique(person, return_inverse=True)[1].astype(np.int64)
        clusters = Clusters(known, picture, both, int(known.max()) + 1, prompts, int(both.max()) + 1)
        true = A * AT**B
        try:
            fit = fit_metric(MetricVotes(answer, picture, x, clusters), lapse=LAPSE, people_sd=0.3, confidence=0.95)
        except AnalysisError:
            return {"covered": 1.0, "estimate": float("nan"), "votes": len(picture)}
        log_d = float(fit.theta[0] + fit.b * np.log(AT))
        slope = np.array([1.0, fit.b * np.log(AT), 0.0, 0.0])
        upper = np.exp(log_d + fit.t * np.sqrt(slope @ fit.covariance @ slope))
        return {"covered": float(upper >= true), "estimate": float(np.exp(log_d) / true), "votes": len(picture)}

    return study


def _around(prompts: int, spread: float, rng: np.random.Generator, *, gamma: bool) -> NDArray[np.float64]:
    """Factors with mean 1 and the coefficient of variation of a log-normal with this sd of the log."""
    if gamma:
        shape = 1 / (np.exp(spread**2) - 1)
        return rng.gamma(shape, 1 / shape, prompts)
    return np.asarray(np.exp(spread * rng.standard_normal(prompts) - spread**2 / 2))

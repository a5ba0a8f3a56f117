"""Likelihood-ratio bounds of one parameter of a JND fit, adjusted for people and prompts.

For a value v of parameter k the other parameters are fitted again, lapse rates held where the fit has them:

    r(v) = sign(v - estimate) sqrt( 2 [log L(estimate) - log L(v)] / nu ),    nu = V_kk / V0_kk

V is the larger of the two-way and the model variance, V0 the inverse of the observed information: votes that resemble
each other within people and prompts shrink r (Rotnitzky and Jewell 1990, Biometrika 77:485-497; Pace, Salvan and
Sartori 2011, Statistica Sinica 21:129-148). The upper bound is the v with r(v) = t. For a damage that is read through
a map it needs 0.6 to 0.9 of the votes of a ratio bound: the likelihood knows that far from the estimate a larger gain
goes with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import copysign, inf, sqrt

import numpy as np
from scipy.optimize import brentq

from analysis.stats.jnd.fit import JndFit, count_task
from analysis.stats.jnd.likelihood import evaluate
from analysis.stats.jnd.model import Array
from analysis.stats.jnd.newton import maximise
from analysis.triplets import TripletCodes

_STEP = 1e-5
_FURTHER = 1.6
#: A bound this many JND (or exponents) away says nothing.
FARTHEST = 10.0


@dataclass(frozen=True)
class Profile:
    """One parameter's profile likelihood: r as a function of its value, its estimate, and nu."""

    estimate: float
    se: float
    nu: float
    root: Callable[[float], float]

    def bound(self, t: float, *, low: float = -FARTHEST, high: float = FARTHEST) -> float:
        """The value at which r = t (above the estimate for t > 0, below it for t < 0); infinite if there is none up to
        `low` or `high`."""
        if t == 0:
            return self.estimate
        sign = copysign(1.0, t)
        edge = high if sign > 0 else low
        inner, step = self.estimate, max(self.se, 1e-3) * abs(t)
        while True:
            outer = self.estimate + sign * step
            beyond = sign * (outer - edge) >= 0
            outer = edge if beyond else outer
            if abs(self.root(outer)) >= abs(t):
                break
            if beyond:
                return sign * inf
            inner, step = outer, step * _FURTHER
        return float(brentq(lambda v: self.root(v) - t, inner, outer, xtol=2e-4))


def profile(codes: TripletCodes, fit: JndFit, place: int) -> Profile:
    """The profile of parameter `place` of a fit of these votes."""
    layout, nodes = fit.layout, fit.nodes
    counted = count_task(codes, layout)
    votes = int(counted.counts.sum())

    def gradient(theta: Array) -> Array:
        return evaluate(theta, layout, counted, lapse=fit.lapse, nodes=nodes).gradient[free]

    free = np.flatnonzero(fit.free)
    information = np.empty((len(free), len(free)))
    for column, axis in enumerate(free):
        step = np.zeros(layout.n)
        step[axis] = _STEP
        information[:, column] = (gradient(fit.theta - step) - gradient(fit.theta + step)) / (2 * _STEP)
    inverse = np.asarray(np.linalg.pinv((information + information.T) / 2), dtype=np.float64)
    at = int(np.flatnonzero(free == place)[0])
    nu = fit.se(place) ** 2 / float(inverse[at, at])
    low, high = layout.bounds()

    @cache
    def root(value: float) -> float:
        held_low, held_high = low.copy(), high.copy()
        held_low[place] = held_high[place] = value
        # Always from the estimate: a search that began where another one ended could stop at a smaller likelihood.
        found = maximise(
            lambda theta: evaluate(theta, layout, counted, lapse=fit.lapse, nodes=nodes),
            fit.theta,
            bounds=(held_low, held_high),
            votes=votes,
        )
        # A search that did not end has too small a likelihood, which would bring the bound nearer than it is.
        ratio = 2 * (fit.log_likelihood - found.value.log_likelihood) if found.converged else 0.0
        return copysign(sqrt(max(ratio, 0.0) / nu), value - fit.theta[place])

    return Profile(float(fit.theta[place]), fit.se(place), nu, root)

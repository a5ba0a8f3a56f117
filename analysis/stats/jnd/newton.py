"""Newton's method for a log likelihood with simple bounds: projected steps, halved until the likelihood rises.

The first steps use the information that comes with the value (Fisher scoring), later ones the observed information."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.jnd.likelihood import Value
from analysis.stats.jnd.model import Array

TOLERANCE = 1e-7
MOST_ITERATIONS = 100
SCORING_STEPS = 8
_LONGEST_STEP = 1.5


@dataclass(frozen=True)
class Maximum:
    """Where the iteration ended. `free` marks parameters that are not held at a bound."""

    theta: Array
    value: Value
    free: NDArray[np.bool_]
    iterations: int
    gradient: float
    converged: bool


def maximise(at: Callable[[Array], Value], start: Array, *, bounds: tuple[Array, Array], votes: int) -> Maximum:
    """The maximum of `at` within the bounds; converged if the largest free gradient is below 1e-7 per vote."""
    low, high = bounds
    theta = np.clip(start, low, high)
    value = at(theta)
    tolerance = TOLERANCE * max(1, votes)
    for iteration in range(MOST_ITERATIONS):
        gradient = value.gradient
        held = ((theta <= low) & (gradient <= 0)) | ((theta >= high) & (gradient >= 0))
        free = ~held
        largest = float(np.abs(gradient[free]).max(initial=0.0))
        if largest < tolerance:
            return Maximum(theta, value, free, iteration, largest, True)
        information = value.information[np.ix_(free, free)]
        if iteration >= SCORING_STEPS:
            information = _curvature(at, theta, free)
        step = np.zeros_like(theta)
        step[free] = _solve(information, gradient[free])
        step *= min(1.0, _LONGEST_STEP / max(float(np.abs(step).max()), 1e-12))
        length = 1.0
        for _ in range(30):
            tried = np.clip(theta + length * step, low, high)
            new = at(tried)
            gained = float(gradient @ (tried - theta))
            if new.log_likelihood >= value.log_likelihood + 1e-4 * gained - 1e-10 * max(1, votes):
                break
            length /= 2
        else:
            break
        theta, value = tried, new
    return Maximum(theta, value, free, iteration, largest, largest < 100 * tolerance)


def _curvature(at: Callable[[Array], Value], theta: Array, free: NDArray[np.bool_]) -> Array:
    """The observed information of the free parameters by differences of the gradient, made positive definite by the
    absolute values of its eigenvalues.

    With a map the likelihood has a curved ridge (gain times damage is known, each alone hardly), and it is flat where
    the spread over prompts goes to 0: scoring creeps along both, Newton's method does not.
    """
    centre = at(theta).gradient
    observed = np.zeros((len(theta), len(theta)))
    for axis in np.flatnonzero(free):
        moved = theta.copy()
        moved[axis] += 1e-5
        observed[:, axis] = (centre - at(moved).gradient) / 1e-5
    inner = observed[np.ix_(free, free)]
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    values = np.maximum(np.abs(values), 1e-6 * np.abs(values).max(initial=1.0))
    return np.asarray((vectors * values) @ vectors.T)


def _solve(information: Array, gradient: Array) -> Array:
    ridge = 1e-9 * max(1.0, float(np.trace(information)) / len(information))
    return np.asarray(np.linalg.solve(information + ridge * np.eye(len(information)), gradient), dtype=np.float64)

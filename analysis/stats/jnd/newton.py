"""Newton's method for a log likelihood with simple bounds: projected steps, halved until the likelihood rises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.jnd.likelihood import Value
from analysis.stats.jnd.model import Array

TOLERANCE = 1e-7
MOST_ITERATIONS = 200
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
    """The maximum of `at` within the bounds; converged where the largest free gradient is below 1e-7 a vote."""
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
        step = np.zeros_like(theta)
        step[free] = _solve(value.information[np.ix_(free, free)], gradient[free])
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


def _solve(information: Array, gradient: Array) -> Array:
    ridge = 1e-9 * max(1.0, float(np.trace(information)) / len(information))
    return np.asarray(np.linalg.solve(information + ridge * np.eye(len(information)), gradient), dtype=np.float64)

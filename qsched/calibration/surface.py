"""A smooth fit to noisy gains: a Gaussian process over the coefficients, and its optimum.

Squared-exponential kernel with one length for all axes. A point's noise is the pooled variance over its number of
prompts; (1, 1) has none, its gain over itself is 0 exactly. Length and amplitude by the largest marginal likelihood
on a small grid (Rasmussen and Williams 2006, eq. 2.30). The mean of many noisy neighbours is less lucky than the best
single one. The optimum is that of the mean minus one standard error, so that it does not run into a corner where
nothing was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qsched.calibration.families import Family, Point, as_point

MAX_POINTS = 300
LENGTHS = (0.15, 0.25, 0.4, 0.6, 1.0)  # in units of the box's sides
AMPLITUDES = (0.5, 1.0, 2.0)  # in units of the spread of the means


@dataclass(frozen=True)
class Surface:
    """The fitted surface of gains over (1, 1)."""

    optimum: Point
    gain: float  # the fitted gain at the optimum
    standard_error: float
    n_points: int
    length: float
    low: tuple[float, ...]
    high: tuple[float, ...]
    _unit_points: np.ndarray
    _weights: np.ndarray
    _amplitude2: float
    _offset: float

    def at(self, points: Sequence[Point]) -> np.ndarray:
        """Fitted gains at points."""
        unit = (np.asarray(points, dtype=float) - self.low) / (np.array(self.high) - self.low)
        gains: np.ndarray = (
            self._offset + self._amplitude2 * _kernel(unit, self._unit_points, self.length) @ self._weights
        )
        return gains


def fit_surface(gains: dict[Point, np.ndarray], family: Family) -> Surface | None:
    """Fit to paired gains by candidate; None if there are too few points or they do not vary."""
    known = {point: values for point, values in gains.items() if len(values) >= 2}
    if len(known) < 4 * len(family.bounds):
        return None
    # The cubic cost is bounded: candidates seen on the most prompts first, then the better ones.
    chosen = sorted(known, key=lambda p: (-len(known[p]), -float(known[p].mean())))[:MAX_POINTS]
    low, high = np.array(family.bounds).T
    x = (np.array(chosen) - low) / (high - low)
    y = np.array([known[p].mean() for p in chosen])
    spread = float(y.std())
    if spread == 0:
        return None
    exact = np.array([p == family.identity for p in chosen])
    pooled = math.sqrt(np.mean([known[p].var(ddof=1) for p, sure in zip(chosen, exact, strict=True) if not sure]))
    jitter = (1e-3 * spread) ** 2
    noise = np.array([pooled**2 / len(known[p]) for p in chosen]) + jitter
    offset = float(np.average(y, weights=1 / noise))  # the level far from all points: no one point decides it
    noise[exact] = jitter
    fits = [
        (_log_likelihood(x, y - offset, noise, length, amplitude * spread), length, amplitude * spread)
        for length in LENGTHS
        for amplitude in AMPLITUDES
    ]
    _, length, amplitude = max(fits)
    covariance = amplitude**2 * _kernel(x, x, length) + np.diag(noise)
    weights = np.linalg.solve(covariance, y - offset)

    def predict(unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k = amplitude**2 * _kernel(unit, x, length)
        variance = amplitude**2 - (k * np.linalg.solve(covariance, k.T).T).sum(axis=1)
        return offset + k @ weights, np.sqrt(variance.clip(min=0.0))

    def cautious(unit: np.ndarray) -> np.ndarray:
        mean, error = predict(unit)
        return np.asarray(mean - error)

    best = _climb(cautious, x[int(cautious(x).argmax())])
    gain, standard_error = (float(value[0]) for value in predict(best[None]))
    return Surface(
        optimum=as_point(low + best * (high - low)),
        gain=gain,
        standard_error=standard_error,
        n_points=len(chosen),
        length=length,
        low=tuple(low),
        high=tuple(high),
        _unit_points=x,
        _weights=weights,
        _amplitude2=amplitude**2,
        _offset=offset,
    )


def _kernel(a: np.ndarray, b: np.ndarray, length: float) -> np.ndarray:
    distance2 = ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=-1)
    return np.asarray(np.exp(-0.5 * distance2 / length**2))


def _log_likelihood(x: np.ndarray, y: np.ndarray, noise: np.ndarray, length: float, amplitude: float) -> float:
    factor = np.linalg.cholesky(amplitude**2 * _kernel(x, x, length) + np.diag(noise))
    z = np.linalg.solve(factor, y)
    return float(-0.5 * z @ z - np.log(np.diag(factor)).sum())


def _climb(height: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> np.ndarray:
    """Coordinate search in the unit box, halving the step from 1/20: deterministic and without gradients."""
    best, step = start.copy(), 0.05
    value = float(height(best[None])[0])
    while step > 5e-4:
        moves = np.concatenate([best + step * np.eye(len(best)), best - step * np.eye(len(best))]).clip(0, 1)
        values = height(moves)
        if float(values.max()) > value:
            best, value = moves[int(values.argmax())], float(values.max())
        else:
            step /= 2
    return best

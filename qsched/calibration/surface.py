"""A smooth fit to noisy scores: a Gaussian process over the coefficients, and its optimum.

A candidate's score is its mean over prompts after the prompts' common share was taken out: what the candidates that all
prompts have seen have in common on a prompt. What is left of them after candidates and prompts (doubly centred
residuals) is the noise. Squared-exponential kernel with one length for all axes; length and amplitude by the largest
marginal likelihood on a small grid (Rasmussen and Williams 2006, eq. 2.30). Gains are differences from the fit at
(1, 1). The optimum is that of the gain minus one standard error, so that it does not run into a corner where nothing
was measured; it becomes a candidate of the race. The fit does not choose: neighbours err together on a prompt, so their
mean is as lucky as the best of them (docs/decisions/2026-11-29-largest-mean-again.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qsched.calibration.families import CoefficientFamily, Point, as_point

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
    _predict: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

    def at(self, points: Sequence[Point]) -> np.ndarray:
        """Fitted gains at points."""
        unit = (np.asarray(points, dtype=float) - self.low) / (np.array(self.high) - self.low)
        return self._predict(unit)[0]


def fit_surface(points: Sequence[Point], values_CN: np.ndarray, family: CoefficientFamily) -> Surface | None:
    """Fit to scores [candidates, prompts], NaN where not measured; None if there are too few points or no variation.

    (1, 1) must be among the points, measured on all prompts.
    """
    scores, counts, variance = centred_scores(values_CN)
    places = [i for i in range(len(points)) if counts[i] >= 2]
    if len(places) < 4 * len(family.bounds):
        return None
    # The cubic cost is bounded: candidates seen on the most prompts first, then the better ones.
    stock = list(points).index(family.identity)
    ranked = sorted(places, key=lambda i: (i != stock, -counts[i], -scores[i]))[:MAX_POINTS]
    low, high = np.array(family.bounds).T
    x, y = (np.array([points[i] for i in ranked]) - low) / (high - low), scores[ranked]
    spread = float(y.std())
    if spread == 0:
        return None
    noise = variance / counts[ranked] + (1e-3 * spread) ** 2
    offset = float(np.average(y, weights=1 / noise))  # the level far from all points: no one point decides it
    fits = [
        (_log_likelihood(x, y - offset, noise, length, amplitude * spread), length, amplitude * spread)
        for length in LENGTHS
        for amplitude in AMPLITUDES
    ]
    _, length, amplitude = max(fits)
    covariance = amplitude**2 * _kernel(x, x, length) + np.diag(noise)
    weights = np.linalg.solve(covariance, y - offset)
    at_stock = (np.array([family.identity]) - low) / (high - low)

    def predict(unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(gain over the fit at (1, 1), its standard error)."""
        k = amplitude**2 * (_kernel(unit, x, length) - _kernel(at_stock, x, length))
        prior = 2 * amplitude**2 * (1 - _kernel(unit, at_stock, length)[:, 0])
        left = prior - (k * np.linalg.solve(covariance, k.T).T).sum(axis=1)
        return k @ weights, np.sqrt(left.clip(min=0.0))

    def cautious(unit: np.ndarray) -> np.ndarray:
        mean, error = predict(unit)
        return np.asarray(mean - error)

    best = _climb(cautious, x[int(cautious(x).argmax())])
    gain, standard_error = (float(value[0]) for value in predict(best[None]))
    return Surface(
        optimum=as_point(low + best * (high - low)),
        gain=gain,
        standard_error=standard_error,
        n_points=len(ranked),
        length=length,
        low=tuple(low),
        high=tuple(high),
        _predict=predict,
    )


def centred_scores(values_CN: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(means without the prompts' common share, number of prompts of each, variance of one residual)."""
    values = np.asarray(values_CN, dtype=float)
    counts = np.isfinite(values).sum(axis=1)
    whole = values[counts == values.shape[1]]
    shares = whole.mean(axis=0)
    left = values - shares
    scores = np.array([np.nanmean(row) if n else np.nan for row, n in zip(left, counts, strict=True)])
    if len(whole) > 1:
        residual = whole - shares - whole.mean(axis=1, keepdims=True) + whole.mean()
        freedom = (whole.shape[0] - 1) * (whole.shape[1] - 1)
    else:
        several = counts >= 2
        residual = (left - scores[:, None])[several]
        freedom = int(counts[several].sum() - several.sum())
    return scores, counts, float(np.nansum(residual**2)) / max(freedom, 1)


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

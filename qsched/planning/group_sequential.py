"""Bounds for looking at a growing study a planned number of times (Wang and Tsiatis 1987, Biometrics 43:193-199).

At look k of K the standardized estimate is compared with

    c_k = C (k / K)^(shape - 1/2),

C chosen so that the path of an estimate without a true difference leaves +-c_k at any of the looks with probability
`level`. The shape 0 is O'Brien and Fleming's, 1/2 is Pocock's; 1/4, between them, stops early without costing much at
the end. C is found by integrating the density of the path from look to look (Armitage, McPherson and Rowe 1969, J. R.
Statist. Soc. A 132:235-244), for looks at equal steps of information. If information grows more slowly towards the end,
as it does in a study whose prompts do not grow in number, neighbouring looks resemble each other more and the true
level is below the stated one.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from qsched.errors import InputError
from qsched.planning.power import find_root

Array = NDArray[np.float64]

#: Between O'Brien-Fleming (0) and Pocock (1/2).
SHAPE = 0.25
MOST_LOOKS = 100
_NODES = 80


@cache
def wang_tsiatis_bounds(looks: int, level: float, *, shape: float = SHAPE) -> tuple[float, ...]:
    """c_1 ... c_K: two-sided bounds of the standardized estimate at `looks` equally spaced looks, `level` in all."""
    if not 1 <= looks <= MOST_LOOKS:
        raise InputError(f"looks is {looks}; it must be from 1 to {MOST_LOOKS}.")
    if not 0 < level < 0.5:
        raise InputError(f"The level is {level}; it must be above 0 and below 0.5, such as 0.05.")
    low = NormalDist().inv_cdf(1 - level / 2)
    # By Bonferroni over the looks, Pocock's bound is the largest constant that any shape from 0 to 1/2 takes.
    high = NormalDist().inv_cdf(1 - level / 2 / looks) + 1e-9
    if looks == 1:
        return (low,)
    constant = find_root(lambda c: crossing_chance(_bounds(c, looks, shape)) - level, low, high, steps=44)
    return _bounds(constant, looks, shape)


def _bounds(constant: float, looks: int, shape: float) -> tuple[float, ...]:
    return tuple(constant * (k / looks) ** (shape - 0.5) for k in range(1, looks + 1))


def crossing_chance(bounds: tuple[float, ...]) -> float:
    """P(|B(k/K)| / sqrt(k/K) > c_k at some look k) for a Brownian motion B looked at K equally spaced times."""
    looks = len(bounds)
    step = 1 / looks
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    edge = bounds[0] * math.sqrt(step)
    x, w = edge * nodes, edge * weights
    density = _normal(x, step)
    for k in range(2, looks + 1):
        edge = bounds[k - 1] * math.sqrt(k * step)
        y = edge * nodes
        density = _normal(y[:, None] - x[None, :], step) @ (w * density)
        x, w = y, edge * weights
    return 1 - float(w @ density)


def _normal(x: Array, variance: float) -> Array:
    return np.asarray(np.exp(-(x**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance))

"""The three-outcome probit of a triplet vote, its parameters and their derivatives.

A vote compares pictures i (left) and j (right) with the reference, shown plain (m = 0) or boosted (m = 1). With
Q = Phi^-1(.75), damage d in plain JND (0 for the reference), lapse rate l_m and threshold t_m >= 0:

    eta = Q [f_m(d_j) - f_m(d_i)] + b
    P(right) = (1 - l_m) Phi(eta - t_m) + l_m/3,   P(left) = (1 - l_m) Phi(-eta - t_m) + l_m/3,   P(not sure) = the rest

f_0(d) = d; f_1(d) = d (boosted JND on their own scale), g d (linear map) or g d^q (power map, odd in d). On a prompt of
standard normal z the damage is d_kp = D_k exp(w z - w^2/2): D_k is the mean over prompts and may be negative; w = 0 is
the pooled model. People see s times the difference, log-normal with mean 1 and a spread v that is assumed, not
estimated (`people_sd`; 0: all alike): P is then the mean over s, vote by vote. Symbols follow the equations: theta =
[D, t, b, log g, q, w].

For d^q near zero the code uses d (d^2 + s^2)^((q - 1)/2) with s = 0.02 JND, which has a derivative everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from analysis.triplets import BOOSTED

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
MapForm = Literal["none", "linear", "power"]

Q = 0.6744897501960817
_SMOOTH = 0.02
_LEAST = 1e-300
PEOPLE_NODES = 5
_SQRT_2PI = np.sqrt(2 * np.pi)


@dataclass(frozen=True)
class ParameterLayout:
    """Which parameters theta holds, in this order: damages of the pictures 1..K, a threshold for each presentation,
    the side term, log gain, exponent, spread over prompts."""

    pictures: int
    presentations: tuple[int, ...]
    side: bool
    form: MapForm
    spread: bool
    people_sd: float = 0.0

    @property
    def n(self) -> int:
        """Length of theta."""
        return self.pictures + len(self.presentations) + self.side + self._n_map + self.spread

    @property
    def _n_map(self) -> int:
        return {"none": 0, "linear": 1, "power": 2}[self.form]

    def threshold(self, presentation: int) -> int:
        """Place of the threshold of a presentation."""
        return self.pictures + self.presentations.index(presentation)

    @property
    def side_at(self) -> int:
        """Place of the side term b."""
        return self.pictures + len(self.presentations)

    @property
    def log_gain(self) -> int:
        """Place of log g."""
        return self.side_at + self.side

    @property
    def exponent(self) -> int:
        """Place of q."""
        return self.log_gain + 1

    @property
    def spread_at(self) -> int:
        """Place of w."""
        return self.n - 1

    def bounds(self) -> tuple[Array, Array]:
        """Lower and upper bound of every parameter."""
        low, high = np.full(self.n, -np.inf), np.full(self.n, np.inf)
        low[self.pictures : self.side_at] = 0.0
        if self.form == "power":
            low[self.exponent], high[self.exponent] = 0.1, 5.0
        if self.spread:
            low[self.spread_at], high[self.spread_at] = 0.0, 2.0
        return low, high

    def start(self) -> Array:
        """Where an iteration may begin."""
        theta = np.zeros(self.n)
        theta[: self.pictures] = 0.3
        theta[self.pictures : self.side_at] = 0.3
        if self.form != "none":
            theta[self.log_gain] = np.log(2.0)
        if self.form == "power":
            theta[self.exponent] = 1.0
        if self.spread:
            theta[self.spread_at] = 0.4
        return theta


@dataclass(frozen=True)
class Patterns:
    """The C distinct triplets: presentation, left picture, right picture (0 is the reference)."""

    presentation: Codes
    left: Codes
    right: Codes


@dataclass(frozen=True)
class Terms:
    """At every pattern and node: P (C, N, 3), log P (C, N, 3), its derivatives (C, N, 3, m), and P without lapses."""

    probability: Array
    log_probability: Array
    derivative: Array
    attentive: Array


@lru_cache(maxsize=8)
def nodes_of(number: int) -> tuple[Array, Array]:
    """Gauss-Hermite nodes and weights of a standard normal z; one node is z = 0."""
    z, weight = np.polynomial.hermite_e.hermegauss(number)
    weight = weight / weight.sum()
    z.setflags(write=False)
    weight.setflags(write=False)
    return z, weight


def terms(theta: Array, layout: ParameterLayout, patterns: Patterns, *, lapse: Array, z: Array) -> Terms:
    """Probabilities and derivatives; `lapse` (2,) by presentation, `z` (N,) the nodes."""
    eta, slope = _eta(theta, layout, patterns, z)
    shown = patterns.presentation
    place = np.array([layout.threshold(m) for m in shown], dtype=np.int64)
    t = theta[place][:, None]
    if layout.people_sd == 0:
        attentive, by_eta, by_t = _answers(eta, t)
        derivative = by_eta[..., None] * slope[:, :, None, :]
    else:
        b = theta[layout.side_at] if layout.side else 0.0
        y, weight = nodes_of(PEOPLE_NODES)
        attentive, by_t = np.zeros((*eta.shape, 3)), np.zeros((*eta.shape, 3))
        derivative = np.zeros((*eta.shape, 3, layout.n))
        for s, share in zip(np.exp(layout.people_sd * y - layout.people_sd**2 / 2), weight, strict=True):
            h, h_eta, h_t = _answers(s * (eta - b) + b, t)
            seen = s * slope
            if layout.side:
                seen[:, :, layout.side_at] = 1.0
            attentive += share * h
            by_t += share * h_t
            derivative += share * h_eta[..., None] * seen[:, :, None, :]
    derivative[np.arange(len(shown)), :, :, place] += by_t
    keep = (1 - lapse[shown])[:, None, None]
    p = np.maximum(keep * attentive + (lapse[shown] / 3)[:, None, None], _LEAST)
    derivative *= (keep / p)[..., None]
    return Terms(p, np.log(p), derivative, attentive)


def _answers(eta: Array, t: Array) -> tuple[Array, Array, Array]:
    """Probabilities of an attentive person's answers (C, N, 3), and their derivatives by eta and by t."""
    a, b = eta - t, -eta - t
    between = ndtr(t - np.abs(eta)) - ndtr(-t - np.abs(eta))
    density_a, density_b = _density(a), _density(b)
    return (
        np.stack([ndtr(b), between, ndtr(a)], axis=-1),
        np.stack([-density_b, density_b - density_a, density_a], axis=-1),
        np.stack([-density_b, density_a + density_b, -density_a], axis=-1),
    )


def _density(x: Array) -> Array:
    return np.asarray(np.exp(-0.5 * x * x) / _SQRT_2PI)


def _eta(theta: Array, layout: ParameterLayout, patterns: Patterns, z: Array) -> tuple[Array, Array]:
    """eta (C, N) and its derivatives (C, N, m); the threshold enters elsewhere."""
    m, k = layout.n, layout.pictures
    d = np.concatenate([[0.0], theta[:k]])
    w = theta[layout.spread_at] if layout.spread else 0.0
    e = np.exp(w * z - w * w / 2)
    scaled = d[:, None] * e
    by_w = scaled * (z - w)
    value = {0: scaled, 1: scaled}
    by_d = {0: np.broadcast_to(e, scaled.shape), 1: np.broadcast_to(e, scaled.shape)}
    spread = {0: by_w, 1: by_w}
    by_q = np.zeros_like(scaled)
    if layout.form != "none":
        g = np.exp(theta[layout.log_gain])
        q = theta[layout.exponent] if layout.form == "power" else 1.0
        square = scaled**2 + _SMOOTH**2
        root = square ** ((q - 1) / 2)
        f = g * scaled * root
        slope = g * root * (1 + (q - 1) * scaled**2 / square)
        value[1], by_d[1], spread[1] = f, slope * e, slope * by_w
        by_q = f * 0.5 * np.log(square)
    eta = np.empty((len(patterns.left), len(z)))
    derivative = np.zeros((len(patterns.left), len(z), m))
    for shown in np.unique(patterns.presentation):
        at = np.flatnonzero(patterns.presentation == shown)
        i, j = patterns.left[at], patterns.right[at]
        f = value[int(shown)]
        eta[at] = Q * (f[j] - f[i])
        for sign, side in ((1.0, j), (-1.0, i)):
            real = side > 0
            derivative[at[real], :, side[real] - 1] += sign * Q * by_d[int(shown)][side[real]]
        if layout.spread:
            derivative[at, :, layout.spread_at] = Q * (spread[int(shown)][j] - spread[int(shown)][i])
        if shown == BOOSTED and layout.form != "none":
            derivative[at, :, layout.log_gain] = eta[at]
            if layout.form == "power":
                derivative[at, :, layout.exponent] = Q * (by_q[j] - by_q[i])
    if layout.side:
        eta = eta + theta[layout.side_at]
        derivative[:, :, layout.side_at] = 1.0
    return eta, derivative

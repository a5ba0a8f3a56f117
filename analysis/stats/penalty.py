"""Penalties on the strengths, chosen by name: none, firth, ridge:X, gamma:A.

They make finite what the votes alone leave infinite, and say so; none is ever chosen silently.
- firth: + 1/2 log det information (Jeffreys' prior; Firth 1993, Biometrika 80:27-38), removes first-order bias.
- ridge:X: - X/2 sum theta^2, the strengths summing to zero.
- gamma:A: independent Gamma(A, b) priors on exp(theta) (Caron and Doucet 2012, JCGS 21:174-196). b only scales all
  strengths; maximised over that scale the penalty is (A - 1) (sum theta - K log sum exp theta).
"""

from __future__ import annotations

import math

import numpy as np

from analysis.stats.results import Array, Penalty
from qsched.records import InputError


def parse_penalty(text: str | Penalty) -> Penalty:
    """'none', 'firth', 'ridge:X' with X > 0, or 'gamma:A' with A > 1; InputError for anything else."""
    if isinstance(text, Penalty):
        return text
    if text in ("none", "firth"):
        return Penalty(kind="none" if text == "none" else "firth")
    kind, colon, number = text.partition(":")
    if kind in ("ridge", "gamma") and colon:
        try:
            strength = float(number)
        except ValueError as error:
            raise InputError(f"Penalty {text!r}: {number!r} is not a number. Write, say, {kind}:1.5.") from error
        least = 0.0 if kind == "ridge" else 1.0
        if not math.isfinite(strength) or strength <= least:
            raise InputError(f"Penalty {text!r}: the number must be finite and greater than {least:g}.")
        return Penalty(kind="ridge" if kind == "ridge" else "gamma", strength=strength)
    raise InputError(f"Penalty {text!r} is not known. Choose none, firth, ridge:X (X > 0) or gamma:A (A > 1).")


def smooth_penalty(penalty: Penalty, theta: Array) -> tuple[Array, Array, Array]:
    """Value (...,), gradient (..., K) and negative Hessian (..., K, K) of a ridge or gamma penalty; zeros otherwise."""
    k = theta.shape[-1]
    if penalty.kind == "ridge":
        x = penalty.strength
        curve = np.broadcast_to(x * np.eye(k), (*theta.shape, k))
        return -x / 2 * (theta**2).sum(axis=-1), -x * theta, curve
    if penalty.kind == "gamma":
        a = penalty.strength - 1
        top = theta.max(axis=-1, keepdims=True)
        weights = np.exp(theta - top)
        total = weights.sum(axis=-1, keepdims=True)
        share = weights / total
        value = a * (theta.sum(axis=-1) - k * (np.log(total) + top)[..., 0])
        curve = a * k * (share[..., None] * np.eye(k) - share[..., :, None] * share[..., None, :])
        return value, a * (1 - k * share), curve
    return np.zeros(theta.shape[:-1]), np.zeros_like(theta), np.zeros((*theta.shape, k))

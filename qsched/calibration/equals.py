"""The set of equals: the candidates that no other is shown to beat.

Scores of the same prompts are compared in pairs. For each candidate c the largest t statistic of (another - c) is held
against what it would be by chance: the signs of the centred differences of each prompt are drawn at random, alike for
all candidates (a wild bootstrap of the maximum, Chernozhukov, Chetverikov and Kato 2013). c leaves the set if the
statistic is beyond the 95 % quantile. The candidate that is truly best is in the set with a probability of about 95 %;
unlike a winner, the set is nearly the same on another machine. With few prompts almost every candidate is in it.
"""

from __future__ import annotations

import math

import numpy as np

LEVEL = 0.05
DRAWS = 499
FEWER_DRAWS = 199  # for more than 500 candidates: the work is quadratic in their number


def set_of_equals(values_CN: np.ndarray, *, level: float = LEVEL, seed: int = 0) -> list[int]:
    """The rows of [candidates, prompts] that no other row beats; all of them for fewer than two prompts."""
    values = np.asarray(values_CN, dtype=float)
    n_candidates, n = values.shape
    if n < 2 or n_candidates < 2:
        return list(range(n_candidates))
    draws = DRAWS if n_candidates <= 500 else FEWER_DRAWS
    signs_BN = np.random.default_rng(seed).choice((-1.0, 1.0), size=(draws, n))
    best = int(values.mean(axis=1).argmax())
    return [c for c in range(n_candidates) if c == best or not _beaten(values - values[c], signs_BN, level)]


def _beaten(differences_CN: np.ndarray, signs_BN: np.ndarray, level: float) -> bool:
    """True if the largest mean difference, in standard errors, is more than chance makes it."""
    n = differences_CN.shape[1]
    means = differences_CN.mean(axis=1)
    centred = differences_CN - means[:, None]
    squares = (centred**2).sum(axis=1)
    differs = squares > 1e-20 * (1 + (differences_CN**2).sum(axis=1))
    if bool((~differs & (means > 1e-12)).any()):
        return True  # better by the same amount on every prompt
    if not differs.any() or float(means[differs].max()) <= 0:
        return False
    means, centred, squares = means[differs], centred[differs], squares[differs]
    observed = float((means / np.sqrt(squares)).max()) * math.sqrt(n * (n - 1))
    drawn_CB = centred @ signs_BN.T / n
    spread = np.sqrt(np.maximum((squares[:, None] - n * drawn_CB**2) / (n * (n - 1)), 1e-300))
    chance = np.quantile((drawn_CB / spread).max(axis=0), 1 - level)
    return observed > float(chance)

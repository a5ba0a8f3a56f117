"""Means over prompts with their t interval. Same prompts and same noise in both arms make a difference paired."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from qsched.errors import InputError

Values = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class PairedDifference:
    """Mean of n paired differences with a two-sided t interval."""

    mean: float
    low: float
    high: float
    n: int
    level: float

    @property
    def is_gain(self) -> bool:
        """True if the whole interval is above 0."""
        return self.low > 0

    def to_json(self) -> dict[str, float | int | str]:
        """A plain dictionary with the method named."""
        return {**asdict(self), "method": "paired t interval over prompts"}


@dataclass(frozen=True)
class MeanInterval:
    """Mean of n values, one per prompt, with a two-sided t interval."""

    mean: float
    low: float
    high: float
    n: int
    level: float


def mean_interval(values: Values, *, level: float = 0.95) -> MeanInterval:
    """Mean of the values with its interval; needs two or more. The assumptions are those of `paired_difference`."""
    found = paired_difference(values, [0.0] * len(values), level=level)
    return MeanInterval(found.mean, found.low, found.high, found.n, found.level)


def paired_difference(ours: Values, theirs: Values, *, level: float = 0.95) -> PairedDifference:
    """Mean of ours - theirs over the pairs, with its interval; needs two pairs or more.

    The interval assumes independent prompts and a near-normal mean. Equal differences give a width of 0.
    """
    from scipy.stats import t

    differences = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    n = differences.size
    if n < 2:
        raise InputError(f"{n} pair(s) have no spread to make an interval of; give two prompts or more")
    half = float(t.ppf(0.5 + level / 2, n - 1)) * float(differences.std(ddof=1)) / math.sqrt(n)
    mean = float(differences.mean())
    return PairedDifference(mean, mean - half, mean + half, n, level)

"""Means over prompts with an honest interval. Same prompts and same noise in both arms make a difference paired.

Gains of coefficients are skewed: many prompts gain a little and a few break. Student's t interval then claims a gain
too often, because the broken prompts that are not in the sample are not in its spread either. Hall's transformation
(1992, "On the removal of skewness by transformation", J. R. Stat. Soc. B 54) corrects t for the skewness of the sample,
and is too narrow where the tails are heavy and alike. The interval reported reaches as far as either of the two:
`benchmarks/interval_coverage.py` measures all three.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from qsched.errors import InputError

Values = Sequence[float] | np.ndarray
ROUNDING = 1e-9  # of their mean: differences that are equal but for the last bits
METHOD = "paired over prompts; Student's t and Hall's skewness-corrected t (1992), the wider end of each"


@dataclass(frozen=True)
class PairedDifference:
    """Mean of n paired differences with a two-sided interval; how many of them are above and below 0."""

    mean: float
    low: float
    high: float
    n: int
    level: float
    above: int
    below: int

    @property
    def is_gain(self) -> bool:
        """True if the whole interval is above 0."""
        return self.low > 0

    def counts(self, *, higher_is_better: bool = True) -> str:
        """`61 prompts better, 39 worse`, and how many equal if there are any."""
        better, worse = (self.above, self.below) if higher_is_better else (self.below, self.above)
        equal = self.n - better - worse
        return f"{better} prompts better, {worse} worse" + (f", {equal} equal" if equal else "")

    def to_json(self) -> dict[str, float | int | str]:
        """A plain dictionary with the method named."""
        return {**asdict(self), "method": METHOD}


@dataclass(frozen=True)
class MeanInterval:
    """Mean of n values, one per prompt, with a two-sided interval."""

    mean: float
    low: float
    high: float
    n: int
    level: float


def mean_interval(values: Values, *, level: float = 0.95) -> MeanInterval:
    """Mean of the values with its interval; needs two or more. The assumptions are those of `paired_difference`."""
    found = np.asarray(values, dtype=float)
    mean, low, high = _interval(found, level)
    return MeanInterval(mean, low, high, found.size, level)


def paired_difference(ours: Values, theirs: Values, *, level: float = 0.95) -> PairedDifference:
    """Mean of ours - theirs over the pairs, with its interval; needs two pairs or more.

    The interval assumes independent prompts. Equal differences have no spread to judge them by: their interval has a
    width of 0, but reaches 0 if chance would give so few of them the same sign too often (fewer than 6 at 95 %).
    """
    differences = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    mean, low, high = _interval(differences, level)
    n = differences.size
    if np.ptp(differences) <= ROUNDING * abs(mean) and 2.0 ** (1 - n) > 1 - level:
        low, high = min(low, 0.0), max(high, 0.0)
    return PairedDifference(
        mean=mean,
        low=low,
        high=high,
        n=n,
        level=level,
        above=int((differences > 0).sum()),
        below=int((differences < 0).sum()),
    )


def _interval(values: np.ndarray, level: float) -> tuple[float, float, float]:
    """(mean, low, high)."""
    n = values.size
    if n < 2:
        raise InputError(f"{n} pair(s) have no spread to make an interval of; give two prompts or more")
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n)
    plain = student_bounds(n, level)
    skewed = hall_bounds(skewness(values), n, level)
    return mean, mean - max(plain[1], skewed[1]) * error, mean - min(plain[0], skewed[0]) * error


@functools.cache
def student_bounds(n: int, level: float) -> tuple[float, float]:
    """The quantiles between which Student's t of n values lies with this probability."""
    from scipy.stats import t

    quantile = float(t.ppf(0.5 + level / 2, n - 1))
    return -quantile, quantile


def hall_bounds(skew: float, n: int, level: float) -> tuple[float, float]:
    """The same for values of this skewness: g(T) = T + a T^2 / 3 + a^2 T^3 / 27 + a / 6 is nearly Student's t.

    a = skewness / sqrt(n), Hall 1992, eq. (2); g is monotone, and its inverse is taken of Student's quantiles.
    """
    low, high = student_bounds(n, level)
    a = skew / math.sqrt(n)
    if abs(a) < 1e-6:
        return low, high

    def inverse(x: float) -> float:
        return 3 / a * (float(np.cbrt(1 + a * (x - a / 6))) - 1)

    return inverse(low), inverse(high)


def skewness(values: np.ndarray) -> float:
    """The adjusted sample skewness (Fisher-Pearson); 0 for fewer than three values or values that are equal."""
    n = values.size
    centred = values - values.mean()
    variance = float((centred**2).sum()) / (n - 1)
    if n < 3 or variance <= 1e-24 * float((values**2).mean()):
        return 0.0
    return float(n * (centred**3).sum() / ((n - 1) * (n - 2) * variance**1.5))

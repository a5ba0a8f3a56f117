"""The METRIC MAP contract: what the value of a metric against the reference means in JND, and how well it is known.

`qsched jnd --image-set` fits the map to people's plain triplets; `qsched gate --jnd-map` turns limits in JND into
limits of the metric. A metric is read as a difference x that is 0 for identical pictures:

    lower    x = value                  (flip, lpips)
    from     x = best - value           (cvvdp: best 10, ssimulacra2: 100, ssim: 1)
    decibel  x = 10^(-value / 20)       (psnr)

and the mean damage of pictures of difference x is d = a x^b JND. The damage of a single picture varies around it with a
spread (sd of the log): no limit on a metric bounds every picture.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from qsched.errors import InputError
from qsched.records.image_set import Record

Form = Literal["lower", "from", "decibel"]
#: Values of identical pictures, of metrics of which more is better.
BEST = {"cvvdp": 10.0, "ssimulacra2": 100.0, "ssim": 1.0, "ms-ssim": 1.0, "iw-ssim": 1.0, "pyiqa:ms_ssim": 1.0}
_STEPS = 4000


def difference_form(metric: str, *, higher_is_better: bool) -> tuple[Form, float | None]:
    """How a metric is read as a difference; InputError where the value of identical pictures is not known."""
    if metric == "psnr":
        return "decibel", None
    if not higher_is_better:
        return "lower", None
    if metric in BEST:
        return "from", BEST[metric]
    raise InputError(
        f"{metric}: more is better, and its value for identical pictures is not known; {', '.join(BEST)} and psnr are"
    )


class MetricReading(Record):
    """A metric's values as differences."""

    metric: str
    form: Form
    best: float | None = None

    @model_validator(mode="after")
    def _form_has_its_best(self) -> MetricReading:
        if (self.form == "from") != (self.best is not None):
            raise ValueError("best belongs to the form 'from', and only to it")
        return self

    def difference(self, value: float) -> float:
        """x of a value, not below 0. Identical pictures have 100 dB."""
        if self.form == "decibel":
            return 0.0 if value >= 100 else 10 ** (-value / 20)
        return max(0.0, value if self.best is None else self.best - value)

    def value(self, difference: float) -> float:
        """The metric's value at a difference x."""
        if self.form == "decibel":
            return -20 * math.log10(difference)
        return difference if self.best is None else self.best - difference


class MetricMap(MetricReading):
    """d = exp(log_a) x^b, with the covariance of (log_a, b), the spread of single pictures, and what it was seen on.

    `t` is the one-sided quantile of the interval, `low` and `high` the differences x that people judged.
    `log_likelihood` is that of the votes: of metrics on the same votes, the one with the largest describes them best.
    """

    version: str
    log_a: float
    b: float = Field(gt=0)
    variance_log_a: float = Field(ge=0)
    variance_b: float = Field(ge=0)
    covariance: float
    spread: float = Field(ge=0)
    t: float = Field(gt=0)
    low: float = Field(gt=0)
    high: float = Field(gt=0)
    pictures: int = Field(ge=1)
    log_likelihood: float

    def damage(self, difference: float) -> tuple[float, float]:
        """Mean damage in JND at a difference above 0, and its upper bound."""
        u = math.log(difference)
        log_d = self.log_a + self.b * u
        error = math.sqrt(max(0.0, self.variance_log_a + 2 * u * self.covariance + u * u * self.variance_b))
        return math.exp(log_d), math.exp(log_d + self.t * error)

    def limit_at(self, jnd: float) -> float:
        """The value of the metric up to which the mean damage is at most `jnd` by its upper bound.

        Never beyond what people judged. InputError if not even the smallest difference that they judged is within.
        """
        step = (math.log(self.high) - math.log(self.low)) / _STEPS
        found = None
        for number in range(_STEPS + 1):
            x = math.exp(math.log(self.low) + number * step)
            if self.damage(x)[1] > jnd:
                break
            found = x
        if found is None:
            raise InputError(
                f"{self.metric}: even the smallest difference that people judged ({self.value(self.low):.4g}) may be "
                f"{self.damage(self.low)[1]:.2g} JND, so no limit of {jnd:g} JND follows; it takes more votes on "
                "weaker differences"
            )
        return self.value(found)


class MetricMaps(Record):
    """Maps of several metrics from the same plain triplets; simulated votes make a simulated map."""

    schema_version: Literal[1] = 1
    set_id: str
    reference: str
    studies: tuple[str, ...]
    votes: int = Field(ge=1)
    simulated_votes: int = Field(ge=0)
    people: int = Field(ge=1)
    people_sd: float = Field(ge=0)
    lapse: float = Field(ge=0, le=1)
    confidence: float = Field(gt=0, lt=1)
    maps: tuple[MetricMap, ...]

    def of(self, metric: str) -> MetricMap:
        """The map of a metric; InputError if there is none."""
        for one in self.maps:
            if one.metric == metric:
                return one
        raise InputError(f"no map of {metric} to JND; the file has {', '.join(one.metric for one in self.maps)}")

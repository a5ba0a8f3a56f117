"""Coefficient families as boxes of numbers: a point of the search becomes Coefficients, and grids of points.

    constant        model, sample                                     the same at every step
    linear-to-one   model, sample                                     linear(c, 1): the paper's search
    linear          model first, model last, sample first, sample last
    per-step        model 1..S, sample 1..S

The axes are always in this order, all of the model (c_eps) before all of the sample (c_x), and every axis
has the range of its own kind.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from qsched.errors import InputError
from qsched.scheduling import Coefficients

FAMILIES = ("constant", "linear-to-one", "linear", "per-step")
Vary = Literal["both", "model", "sample"]
Point = tuple[float, ...]
MAX_GRID = 20_000


@dataclass(frozen=True)
class Box:
    """The range of the search: one interval for c_eps, one for c_x; both contain 1."""

    model: tuple[float, float] = (0.8, 1.2)
    sample: tuple[float, float] = (0.8, 1.2)

    def __post_init__(self) -> None:
        for name, (low, high) in (("model", self.model), ("sample", self.sample)):
            if not 0 < low <= 1 <= high < math.inf or low == high:
                raise InputError(
                    f"the {name} range {low}..{high} must be finite with 0 < low <= 1 <= high and not empty: (1, 1) is "
                    "always a candidate"
                )


@dataclass(frozen=True)
class CoefficientFamily:
    """A family for runs of `steps` steps, searched inside `box`; `vary` freezes one kind at 1."""

    name: str
    steps: int
    box: Box = field(default_factory=Box)
    vary: Vary = "both"

    def __post_init__(self) -> None:
        if self.name not in FAMILIES:
            raise InputError(f"family {self.name!r} is unknown; choose one of {', '.join(FAMILIES)}")
        if self.vary not in ("both", "model", "sample"):
            raise InputError(f"vary is {self.vary!r}; choose both, model or sample")
        if self.steps < 1:
            raise InputError(f"{self.steps} steps; a run has at least 1")

    @property
    def _per_kind(self) -> int:
        return {"constant": 1, "linear-to-one": 1, "linear": 2, "per-step": self.steps}[self.name]

    @property
    def kinds(self) -> tuple[str, ...]:
        """`model` or `sample` for each axis, in order."""
        both = ("model",) * self._per_kind, ("sample",) * self._per_kind
        return {"both": both[0] + both[1], "model": both[0], "sample": both[1]}[self.vary]

    @property
    def axes(self) -> tuple[str, ...]:
        """The name of each axis."""
        places = {"constant": [""], "linear-to-one": [" first"], "linear": [" first", " last"]}.get(
            self.name, [f" step {i + 1}" for i in range(self.steps)]
        )
        return tuple(kind + places[i % self._per_kind] for i, kind in enumerate(self.kinds))

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """(low, high) of each axis: the model's axes have the model's range, the sample's the sample's."""
        return tuple(self.box.model if kind == "model" else self.box.sample for kind in self.kinds)

    @property
    def identity(self) -> Point:
        """The stock scheduler."""
        return (1.0,) * len(self.kinds)

    def edges(self, point: Point) -> tuple[str, ...]:
        """The axes on which a point is at the end of the range, and not at 1."""
        places = zip(self.axes, self.bounds, point, strict=True)
        return tuple(axis for axis, bounds, value in places if value in as_point(bounds) and value != 1.0)

    def widened(self, point: Point, start: Box) -> CoefficientFamily:
        """The family with each range that has a point at its end extended by half of its first width."""
        ranges = {}
        for kind in ("model", "sample"):
            (low, high), (first, last) = getattr(self.box, kind), getattr(start, kind)
            values = [value for value, of in zip(point, self.kinds, strict=True) if of == kind]
            more = (last - first) / 2
            if low != 1.0 and low in values:
                low = round(max(low - more, low / 2), 6)  # a coefficient stays above 0
            if high != 1.0 and high in values:
                high = round(high + more, 6)
            ranges[kind] = (low, high)
        return replace(self, box=Box(**ranges))

    def point_of(self, coefficients: Coefficients) -> Point:
        """The point of these coefficients in this family; InputError if it has none."""
        n = self.steps
        values: dict[str, tuple[float, ...]] = {}
        for kind, at in (("model", coefficients.model_at), ("sample", coefficients.sample_at)):
            whole = [at(i, n) for i in range(n)]
            values[kind] = tuple(whole if self.name == "per-step" else [whole[0], whole[-1]][: self._per_kind])
        point = as_point([c for kind in dict.fromkeys(self.kinds) for c in values[kind]])
        if coefficients.bias or not _alike(self.coefficients(point), coefficients, n):
            raise InputError(f"{coefficients.words} is not in the family {self.name} ({', '.join(self.axes)})")
        return point

    def coefficients(self, point: Point) -> Coefficients:
        """The coefficients of a point; raises InputError for a point of another dimension."""
        if len(point) != len(self.kinds):
            raise InputError(f"{point} has {len(point)} numbers; {self.name} has the axes {', '.join(self.axes)}")
        ones = (1.0,) * self._per_kind
        model = tuple(c for c, kind in zip(point, self.kinds, strict=True) if kind == "model") or ones
        sample = tuple(c for c, kind in zip(point, self.kinds, strict=True) if kind == "sample") or ones
        if self.name == "constant":
            return Coefficients.constant(model=model[0], sample=sample[0])
        if self.name == "linear-to-one":
            return Coefficients.linear(model=(model[0], 1.0), sample=(sample[0], 1.0))
        if self.name == "linear":
            return Coefficients.linear(model=(model[0], model[1]), sample=(sample[0], sample[1]))
        return Coefficients.per_step(model=model, sample=sample)


def _alike(one: Coefficients, other: Coefficients, n: int) -> bool:
    numbers = [c.at_steps(n).model + c.at_steps(n).sample for c in (one, other)]
    return all(math.isclose(a, b, abs_tol=2e-6) for a, b in zip(*numbers, strict=True))


def as_point(values: Iterable[float]) -> Point:
    """Numbers of a point to six decimals, so that equal candidates are equal keys."""
    return tuple(round(float(value), 6) for value in values)


def even_grid(family: CoefficientFamily, size: int) -> list[Point]:
    """`size` even values on every axis, ends included; the first axis (model) varies slowest."""
    if size < 2:
        raise InputError(f"a grid of {size} value(s) an axis has no extent; give 2 or more")
    count = size ** len(family.bounds)
    if count > MAX_GRID:
        raise InputError(
            f"{size} values on each of {len(family.bounds)} axes are {count:,} candidates (at most {MAX_GRID:,}); "
            "use --strategy race, or a smaller --grid-size"
        )
    axes = [np.linspace(low, high, size) for low, high in family.bounds]
    return [as_point(values) for values in itertools.product(*axes)]


def around(family: CoefficientFamily, centre: Point, spacing: Sequence[float], *, half_width: int) -> list[Point]:
    """Candidates around `centre`: a grid of 2 half_width + 1 values per axis."""
    offsets = itertools.product(range(-half_width, half_width + 1), repeat=len(family.bounds))
    raw = [[c + o * s for c, o, s in zip(centre, offset, spacing, strict=True)] for offset in offsets]
    low, high = np.array(family.bounds).T
    # A point outside the range is moved onto its edge; several may meet there, once is enough.
    return list(dict.fromkeys(as_point(np.clip(point, low, high)) for point in raw))

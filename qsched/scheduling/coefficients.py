"""Q-Sched's coefficient families as plain floats: c_eps ("model") and c_x ("sample") for every step.

At step i the scheduler's two inputs are scaled, x -> c_x[i] x and eps -> c_eps[i] eps, and the stock
update follows (Frumkin and Marculescu, arXiv 2509.01624). No torch in this file.

    CoefficientError(InputError)    a coefficient, a count or a file that breaks the rules below

Rules: every coefficient is a finite number above 0 (0 would erase an input, a negative one reverse it);
a per-step family names one coefficient of each kind for every inference step, no more and no fewer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Literal

from qsched.errors import InputError

Family = Literal["constant", "linear", "per_step"]
_LENGTH: dict[str, int] = {"constant": 1, "linear": 2}
_FIELDS = {"family", "model", "sample"}


class CoefficientError(InputError):
    """A coefficient, or a number of coefficients, that breaks the rules of this module."""


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of one arm; make one with `constant`, `linear` or `per_step`.

    model   c_eps: (c,) for constant, (first, last) for linear, one per step for per_step
    sample  c_x: the same shape as `model`
    """

    family: Family
    model: tuple[float, ...]
    sample: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.family not in ("constant", "linear", "per_step"):
            raise CoefficientError(
                f"coefficient family {self.family!r} is unknown; choose constant, linear or per_step"
            )
        for name in ("model", "sample"):
            object.__setattr__(self, name, _checked(name, getattr(self, name)))
        if len(self.model) != len(self.sample):
            raise CoefficientError(
                f"{len(self.model)} model and {len(self.sample)} sample coefficients: give as many of one as of "
                "the other (repeat 1.0 for an input that is not scaled)"
            )
        expected = _LENGTH.get(self.family, len(self.model))
        if len(self.model) != expected or not self.model:
            raise CoefficientError(
                f"the {self.family} family takes {expected or 'at least one'} number(s) of each kind, "
                f"not {len(self.model)}"
            )

    @classmethod
    def constant(cls, *, model: float = 1.0, sample: float = 1.0) -> Coefficients:
        """The same pair at every step."""
        return cls("constant", (model,), (sample,))

    @classmethod
    def linear(
        cls, *, model: tuple[float, float] = (1.0, 1.0), sample: tuple[float, float] = (1.0, 1.0)
    ) -> Coefficients:
        """From `first` at the first step to `last` at the last; a one-step run uses `first`.

        The search of the paper is `linear(model=(c, 1), sample=(d, 1))`.
        """
        return cls("linear", tuple(model), tuple(sample))

    @classmethod
    def per_step(cls, *, model: Sequence[float], sample: Sequence[float]) -> Coefficients:
        """One coefficient of each kind for every inference step, first step first."""
        return cls("per_step", tuple(model), tuple(sample))

    @property
    def is_identity(self) -> bool:
        """True if every coefficient is exactly 1: the scheduler is the stock one, and so are its pictures."""
        return all(c == 1.0 for c in self.model + self.sample)

    def model_at(self, i: int, n: int) -> float:
        """c_eps of step i (counted from 0) of n."""
        return self._at(self.model, i, n)

    def sample_at(self, i: int, n: int) -> float:
        """c_x of step i (counted from 0) of n."""
        return self._at(self.sample, i, n)

    def check_steps(self, n: int) -> None:
        """Raise CoefficientError unless these coefficients fit a run of n inference steps."""
        if n < 1:
            raise CoefficientError(f"{n} inference steps: a run has at least one")
        if self.family == "per_step" and len(self.model) != n:
            raise CoefficientError(
                f"{len(self.model)} per-step coefficients for {n} inference steps: the counts must be equal. Run "
                f"with {len(self.model)} steps, or give {n} coefficients of each kind."
            )

    def _at(self, values: tuple[float, ...], i: int, n: int) -> float:
        self.check_steps(n)
        if not 0 <= i < n:
            raise CoefficientError(f"step {i} is outside a run of {n} inference steps (0 to {n - 1})")
        if self.family == "constant":
            return values[0]
        if self.family == "per_step":
            return values[i]
        first, last = values
        if i == 0:
            return first
        # The endpoint is returned as given: first + (last - first) * 1.0 may miss it by a rounding.
        return last if i == n - 1 else first + (last - first) * i / (n - 1)

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready dict; `from_dict` gives back an equal object, floats bit for bit."""
        if self.family == "constant":
            return {"family": self.family, "model": self.model[0], "sample": self.sample[0]}
        return {"family": self.family, "model": list(self.model), "sample": list(self.sample)}

    @classmethod
    def from_dict(cls, data: object) -> Coefficients:
        """Inverse of `to_dict`; unknown, missing or ill-typed fields are CoefficientErrors."""
        if not isinstance(data, dict) or set(data) != _FIELDS:
            given = sorted(map(str, data)) if isinstance(data, dict) else type(data).__name__
            raise CoefficientError(
                f"coefficients are an object with exactly the fields family, model and sample, got {given}"
            )
        family, model, sample = data["family"], data["model"], data["sample"]
        if family == "constant" and not isinstance(model, list | tuple) and not isinstance(sample, list | tuple):
            model, sample = [model], [sample]
        if not isinstance(model, list | tuple) or not isinstance(sample, list | tuple):
            raise CoefficientError(
                f"the {family} family takes a list for model and for sample, got {model!r}, {sample!r}"
            )
        return cls(family, tuple(model), tuple(sample))

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Coefficients:
        """Inverse of `to_json`; a document with provenance is read too."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise CoefficientError(f"coefficients are not JSON: {error}") from error
        return cls.from_document(data)

    @classmethod
    def from_document(cls, data: object) -> Coefficients:
        """Coefficients of a JSON document: bare, or under the key `coefficients` with their provenance beside."""
        if isinstance(data, dict) and "coefficients" in data:
            data = data["coefficients"]
        return cls.from_dict(data)


def read_coefficients(path: str | Path) -> Coefficients:
    """Read a coefficients file, bare or with provenance as `qsched calibrate` writes it."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CoefficientError(f"{path} does not exist; make one with `qsched calibrate`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CoefficientError(f"{path} cannot be read: {error}") from error
    try:
        return Coefficients.from_json(text)
    except CoefficientError as error:
        raise CoefficientError(f"{path}: {error}") from error


def _checked(name: str, values: tuple[object, ...]) -> tuple[float, ...]:
    checked = []
    for i, value in enumerate(values):
        # bool is an int in Python; True among coefficients is a mistake, not a 1.
        if isinstance(value, bool) or not isinstance(value, Real):
            raise CoefficientError(f"{name} coefficient {i} is {value!r}; it must be a number")
        number = float(value)
        if not math.isfinite(number) or number <= 0.0:
            raise CoefficientError(f"{name} coefficient {i} is {number}; it must be finite and above 0")
        checked.append(number)
    return tuple(checked)

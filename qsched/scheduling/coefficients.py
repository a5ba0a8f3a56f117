"""Q-Sched's coefficient families as plain floats: c_eps ("model") and c_x ("sample") for every step.

At step i the scheduler's two inputs are scaled, x -> c_x[i] x and eps -> c_eps[i] eps, and the stock
update follows (Frumkin and Marculescu, arXiv 2509.01624). No torch in this file.

A per-step family may also have a bias b[i][k] for each latent channel k, which is added to what the stock step makes of
the scaled inputs: x' = A_i c_x[i] x + B_i c_eps[i] eps + b[i][k]. That is our own method, `qsched-bias`, not Q-Sched.

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
Method = Literal["qsched", "qsched-bias"]
METHODS: tuple[Method, ...] = ("qsched", "qsched-bias")
_LENGTH: dict[str, int] = {"constant": 1, "linear": 2}
_FIELDS = {"family", "model", "sample"}
BIAS_KEY = "qsched_bias"  # of a document of `qsched calibrate`: what it found for the arm `+qsched-bias`


class CoefficientError(InputError):
    """A coefficient, or a number of coefficients, that breaks the rules of this module."""


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of one arm; make one with `constant`, `linear` or `per_step`.

    model   c_eps: (c,) for constant, (first, last) for linear, one per step for per_step
    sample  c_x: the same shape as `model`
    bias    () without one; else [steps][latent channels], of a per-step family only
    """

    family: Family
    model: tuple[float, ...]
    sample: tuple[float, ...]
    bias: tuple[tuple[float, ...], ...] = ()

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
        object.__setattr__(self, "bias", _checked_bias(self.bias, self.family, len(self.model)))

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
    def per_step(
        cls, *, model: Sequence[float], sample: Sequence[float], bias: Sequence[Sequence[float]] = ()
    ) -> Coefficients:
        """One coefficient of each kind for every inference step, first step first; `bias` is [steps][channels]."""
        return cls("per_step", tuple(model), tuple(sample), tuple(tuple(row) for row in bias))

    @property
    def method(self) -> Method:
        """`qsched` for the paper's two coefficients, `qsched-bias` with a bias, zeros included."""
        return "qsched-bias" if self.bias else "qsched"

    @property
    def is_identity(self) -> bool:
        """True if every coefficient is 1 and every bias 0: the scheduler is the stock one, and so are its pictures."""
        return all(c == 1.0 for c in self.model + self.sample) and not any(b for row in self.bias for b in row)

    @property
    def words(self) -> str:
        """`constant, model 1.1, sample 0.95`; four digits, and equal numbers once."""
        if self.family == "per_step" and len({*self.model}) == len({*self.sample}) == 1:
            text = f"constant, model {self.model[0]:.4g}, sample {self.sample[0]:.4g}"
        else:
            model, sample = (" ".join(f"{c:.4g}" for c in some) for some in (self.model, self.sample))
            text = f"{self.family}, model {model}, sample {sample}"
        return f"{text}, with a bias for {len(self.bias[0])} channels" if self.bias else text

    def at_steps(self, n: int) -> Coefficients:
        """The same numbers as a per-step family of n steps, so that equal coefficients are equal objects."""
        model, sample = ([at(i, n) for i in range(n)] for at in (self.model_at, self.sample_at))
        return Coefficients.per_step(model=model, sample=sample, bias=self.bias)

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
        found: dict[str, object] = {"family": self.family, "model": list(self.model), "sample": list(self.sample)}
        return {**found, "bias": [list(row) for row in self.bias]} if self.bias else found

    @classmethod
    def from_dict(cls, data: object) -> Coefficients:
        """Inverse of `to_dict`; unknown, missing or ill-typed fields are CoefficientErrors."""
        if not isinstance(data, dict) or set(data) - {"bias"} != _FIELDS:
            given = sorted(map(str, data)) if isinstance(data, dict) else type(data).__name__
            raise CoefficientError(
                "coefficients are an object with exactly the fields family, model and sample, and bias for "
                f"qsched-bias, got {given}"
            )
        family, model, sample = data["family"], data["model"], data["sample"]
        if family == "constant" and not isinstance(model, list | tuple) and not isinstance(sample, list | tuple):
            model, sample = [model], [sample]
        if not isinstance(model, list | tuple) or not isinstance(sample, list | tuple):
            raise CoefficientError(
                f"the {family} family takes a list for model and for sample, got {model!r}, {sample!r}"
            )
        bias = data.get("bias", ())
        if not isinstance(bias, list | tuple) or not all(isinstance(row, list | tuple) for row in bias):
            raise CoefficientError(f"bias is {bias!r}; it must be a list of channels for every step")
        if "bias" in data and not bias:
            raise CoefficientError("bias is empty; give a list of channels for every step, or leave the field out")
        return cls(family, tuple(model), tuple(sample), tuple(tuple(row) for row in bias))

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str, *, method: Method = "qsched") -> Coefficients:
        """Coefficients of JSON text for an arm of this method; a document with provenance is read too."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise CoefficientError(f"coefficients are not JSON: {error}") from error
        return cls.from_document(data, method=method)

    @classmethod
    def from_document(cls, data: object, *, method: Method = "qsched") -> Coefficients:
        """Coefficients of a JSON document for an arm of this method; CoefficientError if they are the other method's.

        Bare, or with their provenance beside: Q-Sched's under `coefficients`, those of qsched-bias under `qsched_bias`.
        """
        if isinstance(data, dict) and "coefficients" in data:
            if method == "qsched-bias":
                section = data.get(BIAS_KEY)
                if not isinstance(section, dict):
                    raise CoefficientError(
                        "no bias was fitted (there is no qsched_bias): calibrate with the strategy closed-form, or "
                        "write +qsched"
                    )
                data = section
            data = data.get("coefficients")
        found = cls.from_dict(data)
        if method == "qsched" and found.method == "qsched-bias":
            raise CoefficientError("these coefficients have a bias, which is not Q-Sched's: write +qsched-bias")
        if method == "qsched-bias" and not found.bias and not found.is_identity:
            raise CoefficientError("these coefficients have no bias: write +qsched")
        return found


def read_coefficients(path: str | Path, *, method: Method = "qsched") -> Coefficients:
    """Read a coefficients file, bare or with provenance as `qsched calibrate` writes it."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CoefficientError(f"{path} does not exist; make one with `qsched calibrate`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CoefficientError(f"{path} cannot be read: {error}") from error
    try:
        return Coefficients.from_json(text, method=method)
    except CoefficientError as error:
        raise CoefficientError(f"{path}: {error}") from error


def _checked_bias(bias: tuple[tuple[object, ...], ...], family: Family, steps: int) -> tuple[tuple[float, ...], ...]:
    if not bias:
        return ()
    if family != "per_step" or len(bias) != steps:
        raise CoefficientError(
            f"a bias of {len(bias)} step(s) with {family} coefficients of {steps}: a bias belongs to per_step "
            "coefficients and has as many steps"
        )
    if {len(row) for row in bias} != {len(bias[0])} or not bias[0]:
        raise CoefficientError(
            f"bias has {', '.join(str(len(row)) for row in bias)} channels by step; every step has the same, at least 1"
        )
    numbers = [b for row in bias for b in row]
    for b in numbers:
        if isinstance(b, bool) or not isinstance(b, Real) or not math.isfinite(float(b)):
            raise CoefficientError(f"bias {b!r} must be a finite number")
    return tuple(tuple(float(b) for b in row) for row in bias)  # type: ignore[arg-type]  # all are Real


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

"""Where coefficients come from: the model, precision and step count that they were calibrated for.

Coefficients repair the errors of one model in one precision at one number of steps. Used elsewhere they are numbers
without a reason: `generate-pairs` refuses that unless it is asked for, and keeps the origin in the manifest either way.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qsched.scheduling.coefficients import CoefficientError, Coefficients, Method


@dataclass(frozen=True)
class Origin:
    """What a coefficients file says of itself; None for what it does not say (a file written by hand)."""

    file: str
    backbone: str | None = None
    weights: str | None = None
    precision: str | None = None
    steps: int | None = None

    def to_dict(self) -> dict[str, object]:
        """For the manifest."""
        return asdict(self)

    def differences(self, *, backbone: str, weights: str | None, precision: str, steps: int) -> list[str]:
        """In words, what differs between the origin and the use; what one side does not know is not compared."""
        found = []
        if self.weights is not None and weights is not None:
            if self.weights != weights:
                found.append(f"other weights ({self.backbone or 'a model'} {self.weights[:12]}, here {weights[:12]})")
        elif self.backbone is not None and self.backbone != backbone:
            found.append(f"backbone {self.backbone}, here {backbone}")
        if self.precision is not None and self.precision != precision:
            found.append(f"precision {self.precision}, here {precision}")
        if self.steps is not None and self.steps != steps:
            found.append(f"{self.steps} steps, here {steps}")
        return found


def read_calibrated(path: Path, *, method: Method = "qsched") -> tuple[Coefficients, Origin]:
    """The coefficients of a file for an arm of this method, and their origin; CoefficientError names the file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CoefficientError(f"{path} does not exist; make one with `qsched calibrate`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CoefficientError(f"{path} cannot be read: {error}") from error
    except ValueError as error:
        raise CoefficientError(f"{path}: coefficients are not JSON: {error}") from error
    return calibrated_from(document, str(path), file=path.name, method=method)


def calibrated_from(document: Any, place: str, *, file: str, method: Method = "qsched") -> tuple[Coefficients, Origin]:
    """The same for a document that was read already; `place` is for the message."""
    try:
        coefficients = Coefficients.from_document(document, method=method)
    except CoefficientError as error:
        raise CoefficientError(f"{place}: {error}") from error
    arm = document.get("provenance", {}).get("arm", {}) if isinstance(document.get("provenance"), dict) else {}
    weights = arm.get("weights") if isinstance(arm, dict) else None
    texts = {"backbone": document.get("backbone"), "precision": document.get("precision"), "weights": weights}
    steps = document.get("steps")
    wrong = [f"{name} {value!r}" for name, value in texts.items() if value is not None and not isinstance(value, str)]
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int)):
        wrong.append(f"steps {steps!r}")
    if wrong:
        raise CoefficientError(f"{place}: {wrong[0]} is not what `qsched calibrate` writes; calibrate again")
    return coefficients, Origin(file, steps=steps, **texts)

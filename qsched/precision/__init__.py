"""Precisions by name: recipes (light), their application to a denoiser and the report (torch, on first use)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qsched.precision.names import find_recipe
from qsched.precision.recipe import PrecisionError, Recipe
from qsched.records import hash_of

if TYPE_CHECKING:
    from qsched.precision.apply import apply_precision
    from qsched.precision.report import PrecisionReport, tensor_bytes

__all__ = [
    "PrecisionError",
    "PrecisionReport",
    "Recipe",
    "apply_precision",
    "find_recipe",
    "hash_of",
    "tensor_bytes",
]


def __getattr__(name: str) -> Any:
    if name == "apply_precision":
        from qsched.precision.apply import apply_precision

        return apply_precision
    if name in ("PrecisionReport", "tensor_bytes"):
        from qsched.precision import report

        return getattr(report, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

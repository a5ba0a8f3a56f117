"""Precisions by name: recipes (light), their application to a denoiser and the report (torch, on first use)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qsched.precision.recipe import PrecisionError, Recipe, find_recipe, hash_of

if TYPE_CHECKING:
    from qsched.precision.apply import PrecisionReport, apply_precision, tensor_bytes

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
    if name in ("PrecisionReport", "apply_precision", "tensor_bytes"):
        from qsched.precision import apply

        return getattr(apply, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Backbones by name or folder: specs with pinned revisions (light) and their loading (torch, on first use)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qsched.backbones.quiet import quiet_libraries
from qsched.backbones.spec import BACKBONES, BackboneError, BackboneSpec, find_spec

if TYPE_CHECKING:
    from qsched.backbones.load import (
        DTYPES,
        Backbone,
        backbone_from_pipeline,
        checked_device,
        default_dtype,
        load_backbone,
    )

_LOADING = (
    "DTYPES",
    "Backbone",
    "backbone_from_pipeline",
    "checked_device",
    "default_dtype",
    "load_backbone",
)

__all__ = [
    "BACKBONES",
    "DTYPES",
    "Backbone",
    "BackboneError",
    "BackboneSpec",
    "backbone_from_pipeline",
    "checked_device",
    "default_dtype",
    "find_spec",
    "load_backbone",
    "quiet_libraries",
]


def __getattr__(name: str) -> Any:
    if name not in _LOADING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from qsched.backbones import load
    except ModuleNotFoundError as error:
        from qsched.errors import MissingExtraError

        if (error.name or "").partition(".")[0] not in ("torch", "diffusers", "transformers"):
            raise
        raise MissingExtraError(error.name or "torch", "generate") from error
    return getattr(load, name)

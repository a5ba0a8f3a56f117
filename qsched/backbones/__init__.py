"""Backbones by name or folder: specs with pinned revisions (light) and their loading (torch, on first use)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qsched.backbones.errors import BackboneError
from qsched.backbones.families import Family
from qsched.backbones.find import find_spec
from qsched.backbones.named import BACKBONES
from qsched.backbones.quiet import quiet_libraries
from qsched.backbones.spec import BackboneSpec, Lora

if TYPE_CHECKING:
    from qsched.backbones.backbone import Backbone, backbone_from_pipeline
    from qsched.backbones.device import DTYPES, checked_device
    from qsched.backbones.load import load_backbone

# Found in these modules at first use: they import torch.
_LATE = {
    "Backbone": "backbone",
    "backbone_from_pipeline": "backbone",
    "DTYPES": "device",
    "checked_device": "device",
    "load_backbone": "load",
}

__all__ = [
    "BACKBONES",
    "DTYPES",
    "Backbone",
    "BackboneError",
    "BackboneSpec",
    "Family",
    "Lora",
    "backbone_from_pipeline",
    "checked_device",
    "find_spec",
    "load_backbone",
    "quiet_libraries",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"qsched.backbones.{_LATE[name]}")
    except ModuleNotFoundError as error:
        from qsched.errors import MissingExtraError

        if (error.name or "").partition(".")[0] not in ("torch", "diffusers", "transformers"):
            raise
        raise MissingExtraError(error.name or "torch", "generate") from error
    return getattr(module, name)

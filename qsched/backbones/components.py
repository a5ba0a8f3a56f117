"""Load the modules of a pipeline one by one, and refuse one whose weights do not fit.

The libraries fill a missing tensor with random numbers and ignore one that they do not know; both only log a warning,
and the pictures look like those of a bad model. Here every missing, unknown or misshapen tensor is an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qsched.backbones.errors import BackboneError
from qsched.backbones.index import component_classes

# Buffers that old checkpoints carry and newer releases compute.
_HARMLESS_ENDINGS = ("position_ids",)
_FP16 = "fp16"
_REMEDY = "Download the model again, or save it again with save_pretrained"


def load_modules(
    folder: Path, *, dtype: torch.dtype, variant: str | None, leave_out: frozenset[str], asked: bool = False
) -> dict[str, Any]:
    """The pipeline's modules by component name; schedulers and tokenizers are left to diffusers.

    variant     kind of files to prefer if a component has them, such as 'fp16'
    asked       True if the user named the variant: then a component must have it
    leave_out   components that are not wanted
    """
    if asked and not any(folder.glob(f"*/*.{variant}*.safetensors")):
        raise BackboneError(f"--variant {variant}: {folder} has no *.{variant}.safetensors; leave the variant out")
    return {
        name: _load_whole(cls, folder / name, dtype=dtype, variant=variant_of(folder / name, variant))
        for name, cls in module_classes(folder).items()
        if name not in leave_out
    }


def module_classes(folder: Path) -> dict[str, Any]:
    """Component name -> class, for the components that have weights."""
    found = {name: _module_class(library, kind) for name, (library, kind) in component_classes(folder).items()}
    return {name: cls for name, cls in found.items() if cls is not None}


def _module_class(library: str, kind: str) -> Any:
    if library not in ("diffusers", "transformers"):
        return None
    cls = getattr(import_module(library), kind, None)
    return cls if isinstance(cls, type) and issubclass(cls, nn.Module) else None


def variant_of(folder: Path, preferred: str | None) -> str | None:
    """The variant to read: the preferred one if its files are there, and fp16 if there is nothing else."""
    if preferred is not None and any(folder.glob(f"*.{preferred}*.safetensors")):
        return preferred
    files = list(folder.glob("*.safetensors"))
    return _FP16 if files and all(f".{_FP16}" in path.name for path in files) else None


def _load_whole(cls: Any, folder: Path, *, dtype: torch.dtype, variant: str | None) -> Any:
    with warnings.catch_warnings():
        # Both libraries know `torch_dtype`; newer releases would rather have `dtype`.
        warnings.filterwarnings("ignore", message="`torch_dtype` is deprecated", category=FutureWarning)
        try:
            model, info = cls.from_pretrained(
                folder,
                torch_dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                variant=variant,
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, NotImplementedError) as error:
            raise BackboneError(f"{folder} does not load as {cls.__name__}: {_first_line(error)}; {_REMEDY}") from error
    problems = [
        *(f"{name} is missing" for name in _that_matter(info.get("missing_keys", ()))),
        *(f"{name} is unknown" for name in _that_matter(info.get("unexpected_keys", ()))),
        *(f"{_name_of(entry)} has another shape" for entry in info.get("mismatched_keys", ())),
        *(str(message) for message in info.get("error_msgs", ())),
    ]
    if problems:
        shown = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
        lora = " (tensors of a LoRA: fuse it into the model before saving)" if "lora" in shown.lower() else ""
        raise BackboneError(f"{folder} does not fit {cls.__name__}: {shown}{lora}. {_REMEDY}")
    return model


def _that_matter(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not name.endswith(_HARMLESS_ENDINGS))


def _name_of(entry: object) -> str:
    return str(entry[0]) if isinstance(entry, tuple | list) and entry else str(entry)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__

"""Load a diffusers pipeline from a folder or from the pinned hub revision, in exactly the dtype asked for."""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

from qsched.backbones.backbone import Backbone, describe
from qsched.backbones.components import load_modules
from qsched.backbones.device import checked_device
from qsched.backbones.errors import BackboneError
from qsched.backbones.families import family_of
from qsched.backbones.identity import model_identity
from qsched.backbones.index import check_folder, component_classes, pipeline_class
from qsched.backbones.spec import BackboneSpec, find_spec

_GIB = 1024**3


def load_backbone(
    name_or_path: str,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    steps: int | None = None,
    guidance_scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
) -> Backbone:
    """Load a known backbone or any local diffusers folder, ready to be called.

    Weights are read from safetensors only; no code from a folder or the hub is run. The last four arguments
    override the backbone's defaults. Raises BackboneError with the remedy for an unknown name, a download
    that fails, a machine too small, a device that is not there, or a pipeline class that we cannot drive.
    """
    spec = find_spec(name_or_path)
    place = checked_device(str(device))
    _check_fits(spec, dtype, place)
    folder = _folder_of(spec, dtype)
    check_folder(folder, spec.source)
    checked = "safety_checker" in component_classes(folder)
    dropped = {"safety_checker": None, "requires_safety_checker": False} if checked else {}
    modules = load_modules(
        folder,
        dtype=dtype,
        variant=spec.fp16_variant if dtype is torch.float16 else None,
        leave_out=frozenset(dropped),
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="`torch_dtype` is deprecated", category=FutureWarning)
            pipeline = _class_of(folder).from_pretrained(
                folder, local_files_only=True, torch_dtype=dtype, **modules, **dropped
            )
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BackboneError(_load_failure(spec, error)) from error
    pipeline.set_progress_bar_config(disable=True)
    try:
        pipeline.to(place)
    except torch.OutOfMemoryError as error:
        raise BackboneError(
            f"{spec.name} in {dtype} does not fit into the memory of {place}: {error}. Use a larger GPU or a "
            "smaller backbone such as tiny-flux."
        ) from error
    return describe(
        pipeline,
        spec,
        dtype=dtype,
        device=place,
        dropped=tuple(k for k in dropped if k == "safety_checker"),
        identity=model_identity(folder),
        overrides={"steps": steps, "guidance_scale": guidance_scale, "width": width, "height": height},
    )


def default_dtype(name_or_path: str, device: str | torch.device) -> str:
    """Name of the base dtype if none is asked for: the spec's on a GPU, fp32 on a CPU."""
    return find_spec(name_or_path).gpu_dtype if torch.device(device).type == "cuda" else "fp32"


def _class_of(folder: Path) -> Any:
    """The class that loads the folder: diffusers finds its own; a family of another package names its module."""
    kind = pipeline_class(folder)
    family = family_of(kind)
    return DiffusionPipeline if family.module == "diffusers" else getattr(import_module(family.module), kind)


def _folder_of(spec: BackboneSpec, dtype: torch.dtype) -> Path:
    """The local folder, or that of the pinned hub revision, fetched if it is not there yet."""
    if spec.is_local:
        return Path(spec.source)
    variant = spec.fp16_variant if dtype is torch.float16 else None
    try:
        folder = DiffusionPipeline.download(
            spec.source, revision=spec.revision, use_safetensors=True, variant=variant, safety_checker=None
        )
    except (OSError, ValueError) as error:
        raise BackboneError(_load_failure(spec, error)) from error
    return Path(folder)


def _check_fits(spec: BackboneSpec, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse a hub model whose weights alone exceed the free memory, before 30 GB are downloaded."""
    if spec.parameters is None:
        return
    needed = spec.parameters * dtype.itemsize
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > free:
        raise BackboneError(
            f"{spec.name} in {dtype} needs about {needed / _GIB:.0f} GiB for its weights, {device} has "
            f"{free / _GIB:.0f} GiB. Run it on a GPU with more memory (--device cuda --dtype {spec.gpu_dtype}), or "
            "use a smaller backbone such as tiny-flux."
        )


def _load_failure(spec: BackboneSpec, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if spec.is_local:
        return (
            f"{spec.source} cannot be loaded: {reason}. It must be a complete diffusers folder with safetensors "
            "weights (`pipeline.save_pretrained(folder)`)."
        )
    return (
        f"{spec.name} ({spec.source} at {spec.revision}) cannot be loaded: {reason}. Remedy: connect to the "
        "internet (and unset HF_HUB_OFFLINE), accept the model's licence on its hub page and `hf auth login` where it "
        f"asks for one; or run `hf download {spec.source} --revision {spec.revision} --local-dir FOLDER` on a machine "
        "with a connection and pass --backbone FOLDER."
    )

"""Load a diffusers pipeline from a folder or from the pinned hub revision, in exactly the dtype asked for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from huggingface_hub import hf_hub_download

from qsched.backbones.backbone import Backbone, describe
from qsched.backbones.components import load_modules
from qsched.backbones.device import checked_device
from qsched.backbones.errors import BackboneError
from qsched.backbones.families import family_of
from qsched.backbones.find import find_spec
from qsched.backbones.identity import loaded_identity
from qsched.backbones.index import INDEX_NAME, check_folder, component_classes, pipeline_class
from qsched.backbones.lora import fuse_loras
from qsched.backbones.quiet import disable_bars
from qsched.backbones.spec import BackboneSpec, Lora

_GIB = 1024**3


def load_backbone(
    backbone: str | BackboneSpec,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    steps: int | None = None,
    guidance_scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    call_options: Mapping[str, Any] | None = None,
    vae_dtype: torch.dtype | None = None,
) -> Backbone:
    """Load a known backbone, any local diffusers folder, or a hub model with its commit, ready to be called.

    Weights are read from safetensors only; no code from a folder or the hub is run. Steps to `call_options` override
    the backbone's own; `vae_dtype` is for a VAE that overflows in the base dtype. Raises BackboneError with the remedy
    for an unknown name, a download that fails, a machine too small, a device that is not there, or a pipeline class
    that we cannot drive.
    """
    disable_bars()
    spec = backbone if isinstance(backbone, BackboneSpec) else find_spec(backbone)
    place = checked_device(str(device))
    _check_fits(spec, dtype, place)
    variant = spec.variant or (spec.fp16_variant if dtype is torch.float16 else None)
    folder = _folder_of(spec, variant)
    check_folder(folder, spec.source)
    checked = "safety_checker" in component_classes(folder)
    dropped = {"safety_checker": None, "requires_safety_checker": False} if checked else {}
    modules = load_modules(
        folder, dtype=dtype, variant=variant, asked=spec.variant is not None, leave_out=frozenset(dropped)
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
    if spec.scheduler is not None:
        pipeline.scheduler = _scheduler(pipeline, *spec.scheduler)
    adapters = [(lora, lora_file(lora)) for lora in spec.loras]
    fuse_loras(pipeline, adapters)
    if vae_dtype is not None:
        set_vae_dtype(pipeline, vae_dtype)
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
        identity=loaded_identity(folder, spec, adapters),
        overrides={
            "steps": steps,
            "guidance_scale": guidance_scale,
            "width": width,
            "height": height,
            "call_options": dict(call_options or {}),
        },
    )


def lora_file(lora: Lora) -> Path:
    """The adapter's file, fetched from the pinned revision if it is not there yet."""
    if lora.file is None:
        return Path(lora.source)
    try:
        return Path(hf_hub_download(lora.source, lora.file, revision=lora.revision, local_files_only=_is_offline()))
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"{lora.file} of {lora.source} at {lora.revision} cannot be loaded: {str(error).splitlines()[0]}. Connect "
            f"to the internet, or run `hf download {lora.source} {lora.file} --revision {lora.revision} --local-dir "
            "FOLDER` on a machine with a connection, and give --lora with the base model's folder as --backbone"
        ) from error


def set_vae_dtype(pipeline: Any, dtype: torch.dtype) -> None:
    """Let the VAE decode in a dtype of its own; latents are cast on the way in and pictures on the way out."""
    vae = getattr(pipeline, "vae", None)
    if vae is None:
        raise BackboneError(f"--vae-dtype: {type(pipeline).__name__} has no VAE; leave it out")
    vae.to(dtype)
    stock = vae.decode
    vae.decode = lambda latents, *args, **kwargs: stock(latents.to(dtype), *args, **kwargs)


def _scheduler(pipeline: Any, kind: str, settings: dict[str, Any]) -> Any:
    """The named scheduler with the folder's settings, some of them replaced."""
    import diffusers

    return getattr(diffusers, kind).from_config({**pipeline.scheduler.config, **settings})


def _is_offline() -> bool:
    """True if the user wants no connection; read now, because the hub's library reads it once at import."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _class_of(folder: Path) -> Any:
    """The class that loads the folder: diffusers finds its own; a family of another package names its module."""
    kind = pipeline_class(folder)
    family = family_of(kind)
    return DiffusionPipeline if family.module == "diffusers" else getattr(import_module(family.module), kind)


def _folder_of(spec: BackboneSpec, variant: str | None) -> Path:
    """The local folder, or that of the pinned hub revision, fetched if it is not there yet."""
    if spec.is_local:
        return Path(spec.source)
    try:
        # The index first: a class that cannot be driven is refused before gigabytes of weights are fetched.
        index = hf_hub_download(spec.source, INDEX_NAME, revision=spec.revision, local_files_only=_is_offline())
        check_folder(Path(index).parent, spec.source)
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

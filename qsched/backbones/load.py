"""Load a diffusers pipeline from a folder or from the pinned hub revision, in exactly the dtype asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import nn

from qsched.backbones.components import component_classes, load_modules, pipeline_class
from qsched.backbones.identity import model_identity
from qsched.backbones.spec import DEFAULT_STEPS, BackboneError, BackboneSpec, find_spec

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# How initial latents are laid out: FLUX packs 2x2 patches into tokens, the others keep [B,C,H,W].
LAYOUTS: dict[str, str] = {
    "FluxPipeline": "packed",
    "StableDiffusionXLPipeline": "plain",
    "StableDiffusionPipeline": "plain",
    "LatentConsistencyModelPipeline": "plain",
}
_GIB = 1024**3


@dataclass(frozen=True)
class Backbone:
    """A loaded pipeline and how it is called.

    dtype          base dtype of every component
    call_options   further keywords of the pipeline's call
    dropped        components left out on purpose (a safety checker would blacken images of one arm)
    assumed        'steps 4' and the like: what neither the folder nor the caller states
    identity       hash of every tensor and of the configuration; None for a pipeline that was made in memory
    """

    name: str
    pipeline: Any
    denoiser_name: str
    steps: int
    guidance_scale: float
    width: int
    height: int
    call_options: dict[str, Any]
    dtype: torch.dtype
    device: torch.device
    spec: BackboneSpec
    dropped: tuple[str, ...] = ()
    identity: str | None = None
    assumed: tuple[str, ...] = ()

    @property
    def denoiser(self) -> nn.Module:
        """The module that predicts noise or velocity: the only one that a precision touches."""
        module: nn.Module = getattr(self.pipeline, self.denoiser_name)
        return module

    @property
    def layout(self) -> str:
        """'packed' or 'plain': see LAYOUTS."""
        return LAYOUTS[type(self.pipeline).__name__]


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
    _check_class(spec, folder)
    checked = "safety_checker" in component_classes(folder)
    dropped = {"safety_checker": None, "requires_safety_checker": False} if checked else {}
    modules = load_modules(
        folder,
        dtype=dtype,
        variant=spec.fp16_variant if dtype is torch.float16 else None,
        leave_out=frozenset(dropped),
    )
    try:
        pipeline = DiffusionPipeline.from_pretrained(folder, local_files_only=True, **modules, **dropped)
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
    return _described(
        pipeline,
        spec,
        dtype=dtype,
        device=place,
        dropped=tuple(k for k in dropped if k == "safety_checker"),
        identity=model_identity(folder),
        overrides={"steps": steps, "guidance_scale": guidance_scale, "width": width, "height": height},
    )


def backbone_from_pipeline(pipeline: Any, *, name: str, **overrides: Any) -> Backbone:
    """Describe a pipeline that is already in memory, so that it can be rendered like a loaded one."""
    dtype = next(denoiser_of(pipeline)[1].parameters()).dtype
    spec = BackboneSpec(name, source=name)
    return _described(pipeline, spec, dtype=dtype, device=pipeline.device, dropped=(), overrides=overrides)


def denoiser_of(pipeline: Any) -> tuple[str, nn.Module]:
    """(attribute name, module) of the denoiser."""
    for name in ("transformer", "unet"):
        module = getattr(pipeline, name, None)
        if isinstance(module, nn.Module):
            return name, module
    raise BackboneError(f"{type(pipeline).__name__} has neither a transformer nor a unet")


def checked_device(device: str) -> torch.device:
    """'auto', 'cpu', 'cuda' or 'cuda:1' as a torch device; asking for a GPU that is not there is an error."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise BackboneError(f"device {device!r} is unknown; choose auto, cpu or cuda") from error
    if place.type not in ("cpu", "cuda"):
        raise BackboneError(f"device {device!r} is not supported; choose auto, cpu or cuda")
    if place.type == "cuda" and not torch.cuda.is_available():
        raise BackboneError(
            "device cuda: torch sees no CUDA GPU on this machine; use --device cpu, or install a CUDA build of torch"
        )
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise BackboneError(f"device {device!r}: this machine has {torch.cuda.device_count()} GPU(s), counted from 0")
    return place


def default_dtype(name_or_path: str, device: str | torch.device) -> str:
    """Name of the base dtype if none is asked for: the spec's on a GPU, fp32 on a CPU."""
    return find_spec(name_or_path).gpu_dtype if torch.device(device).type == "cuda" else "fp32"


def _described(
    pipeline: Any,
    spec: BackboneSpec,
    *,
    dtype: torch.dtype,
    device: torch.device,
    dropped: tuple[str, ...],
    overrides: dict[str, Any],
    identity: str | None = None,
) -> Backbone:
    name, module = denoiser_of(pipeline)
    module.eval()
    options = dict(spec.call_options)
    kind = type(pipeline).__name__
    # FluxPipeline assumes 128 latent pixels whatever its VAE; a U-Net knows its own size.
    config: Any = module.config
    native = (
        pipeline.vae.config.sample_size if kind == "FluxPipeline" else config.sample_size * pipeline.vae_scale_factor
    )
    if kind == "FluxPipeline" and "max_sequence_length" not in options:
        options["max_sequence_length"] = min(512, int(pipeline.tokenizer_2.model_max_length))
    stated = {key: getattr(spec, key) for key in ("steps", "guidance_scale", "width", "height")}
    stated.update({key: value for key, value in overrides.items() if value is not None})
    guidance = 8.0 if kind == "LatentConsistencyModelPipeline" else 0.0
    # The native size is the model's own; steps and guidance are a guess.
    defaults = {"steps": DEFAULT_STEPS, "guidance_scale": guidance, "width": int(native), "height": int(native)}
    chosen: dict[str, Any] = {key: defaults[key] if value is None else value for key, value in stated.items()}
    assumed = tuple(f"{key} {chosen[key]:g}" for key in ("steps", "guidance_scale") if stated[key] is None)
    multiple = pipeline.vae_scale_factor * (2 if LAYOUTS.get(kind) == "packed" else 1)
    for side in ("width", "height"):
        if chosen[side] < multiple or chosen[side] % multiple:
            raise BackboneError(f"{side} {chosen[side]}: {spec.name} makes pictures in multiples of {multiple} pixels")
    if chosen["steps"] < 1:
        raise BackboneError(f"steps {chosen['steps']}: a picture needs at least one step")
    if getattr(pipeline.scheduler.config, "stochastic_sampling", False) and kind == "FluxPipeline":
        raise BackboneError(
            f"{spec.name} samples stochastically, and FluxPipeline hands its scheduler no generator: the noise "
            "could not be paired. Set stochastic_sampling to false in scheduler_config.json."
        )
    return Backbone(
        name=spec.name,
        pipeline=pipeline,
        denoiser_name=name,
        call_options=options,
        dtype=dtype,
        device=torch.device(device),
        spec=spec,
        dropped=dropped,
        identity=identity,
        assumed=assumed,
        **chosen,
    )


def _check_class(spec: BackboneSpec, folder: Path) -> None:
    kind = pipeline_class(folder)
    if kind not in LAYOUTS:
        raise BackboneError(
            f"{spec.source} is a {kind}; qsched drives {', '.join(LAYOUTS)}. Use a folder of one of these classes."
        )


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

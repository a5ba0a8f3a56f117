"""Load a diffusers pipeline from a folder or from the pinned hub revision, in exactly the dtype asked for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from huggingface_hub import hf_hub_download

from qsched.backbones.backbone import DENOISERS, Backbone, denoiser_of, describe
from qsched.backbones.components import load_modules, module_classes, variant_of
from qsched.backbones.device import DTYPES, check_offload, checked_device
from qsched.backbones.empty import EmptyModel, empty_model
from qsched.backbones.errors import BackboneError
from qsched.backbones.families import Family, family_of
from qsched.backbones.find import find_spec
from qsched.backbones.identity import loaded_identity
from qsched.backbones.index import INDEX_NAME, check_folder, component_classes, pipeline_class
from qsched.backbones.lora import fuse_loras
from qsched.backbones.memory import parts_of, peaks
from qsched.backbones.quiet import disable_bars
from qsched.backbones.slot import DenoiserSlot, offload_to
from qsched.backbones.spec import BackboneSpec, Lora, Offload
from qsched.backbones.texts import RememberedTexts

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
    offload: Offload = "none",
    compiled: bool = False,
    later_denoiser: bool = False,
    methods: Sequence[str] = ("dtype",),
) -> Backbone:
    """Load a known backbone, any local diffusers folder, or a hub model with its commit, ready to be called.

    Weights are read from safetensors only; no code from a folder or the hub is run. Steps to `call_options` override
    the backbone's own; `vae_dtype` is for a VAE that overflows in the base dtype. With `later_denoiser` the denoiser is
    read when a precision is applied, layer by layer, or by `complete()`, and texts can be read before; `methods` are
    those of the recipes that will be applied, for the check of room.

    Raises BackboneError with the remedy for an unknown name, a download that fails, a machine too small, a device that
    is not there, or a pipeline class that we cannot drive.
    """
    disable_bars()
    spec = backbone if isinstance(backbone, BackboneSpec) else find_spec(backbone)
    place = checked_device(str(device))
    check_offload(offload, place)
    _check_fits(spec, dtype, place, offload=offload, methods=methods, encoders_leave=later_denoiser)
    variant = spec.variant or (spec.fp16_variant if dtype is torch.float16 else None)
    folder = _folder_of(spec, variant)
    check_folder(folder, spec.source)
    files = _Files(folder, dtype, variant, asked=spec.variant is not None)
    checked = "safety_checker" in component_classes(folder)
    dropped = {"safety_checker": None, "requires_safety_checker": False} if checked else {}
    name = denoiser_name(spec.family or family_of(pipeline_class(folder)), files.classes)
    # An adapter is fused into weights that are there.
    source = files.empty(name) if name is not None and not spec.loras else None
    pipeline = _pipeline(spec, files, dropped, {} if name is None or source is None else {name: source.build()})
    adapters = [(lora, lora_file(lora)) for lora in spec.loras]
    fuse_loras(pipeline, adapters)
    if vae_dtype is not None:
        set_vae_dtype(pipeline, vae_dtype)
    name, module = denoiser_of(pipeline, spec.family or family_of(type(pipeline).__name__))
    way: dict[str, Any] = {"offload": offload, "compiled": compiled}
    slot = DenoiserSlot(pipeline, name, device=place, source=source, module=module, **way)
    _place(pipeline, place, offload, spec, dtype)
    texts = None
    if later_denoiser and hasattr(pipeline, "encode_prompt"):
        home = place if offload == "none" else torch.device("cpu")
        again = None if source is None else lambda names: {n: m.to(home) for n, m in files.read(names).items()}
        texts = RememberedTexts(pipeline, place, again, offload=offload)
    described = describe(
        pipeline,
        spec,
        dtype=dtype,
        device=place,
        dropped=tuple(k for k in dropped if k == "safety_checker"),
        identity=loaded_identity(folder, spec, adapters),
        slot=slot,
        texts=texts,
        overrides={
            "steps": steps,
            "guidance_scale": guidance_scale,
            "width": width,
            "height": height,
            "call_options": dict(call_options or {}),
        },
    )
    if not later_denoiser:
        described.complete()
    return described


class _Files:
    """The components of a folder, to be read in a dtype and a variant."""

    def __init__(self, folder: Path, dtype: torch.dtype, variant: str | None, *, asked: bool) -> None:
        self.folder, self.dtype, self.classes = folder, dtype, module_classes(folder)
        self._variant, self._asked = variant, asked

    def read(self, names: frozenset[str]) -> dict[str, Any]:
        """The components of these names, whole."""
        return load_modules(
            self.folder,
            dtype=self.dtype,
            variant=self._variant,
            asked=self._asked,
            leave_out=frozenset(self.classes) - names,
        )

    def empty(self, name: str) -> EmptyModel | None:
        """The component without its weights; None if it can only be read whole."""
        own = self.folder / name
        return empty_model(self.classes[name], own, dtype=self.dtype, variant=variant_of(own, self._variant))


def _pipeline(spec: BackboneSpec, files: _Files, dropped: Mapping[str, Any], there: Mapping[str, Any]) -> Any:
    """The pipeline with what is `there` already, without what is `dropped`, and with everything else read."""
    modules = files.read(frozenset(files.classes) - frozenset(dropped) - frozenset(there))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="`torch_dtype` is deprecated", category=FutureWarning)
            pipeline = _class_of(files.folder).from_pretrained(
                files.folder, local_files_only=True, torch_dtype=files.dtype, **modules, **there, **dropped
            )
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BackboneError(_load_failure(spec, error)) from error
    pipeline.set_progress_bar_config(disable=True)
    if spec.scheduler is not None:
        pipeline.scheduler = _scheduler(pipeline, *spec.scheduler)
    return pipeline


def _place(pipeline: Any, place: torch.device, offload: Offload, spec: BackboneSpec, dtype: torch.dtype) -> None:
    """Bring everything but the denoiser, which is not in the pipeline yet, to its device."""
    try:
        if offload == "none":
            pipeline.to(place)
        else:
            offload_to(pipeline, place, offload)
    except torch.OutOfMemoryError as error:
        raise BackboneError(
            f"{spec.name} in {dtype} does not fit into the memory of {place}: {error}. Use --offload model, a larger "
            "GPU, or a smaller backbone such as tiny-flux."
        ) from error


def denoiser_name(family: Family, classes: Mapping[str, Any]) -> str | None:
    """The component that is the denoiser, before anything is loaded; None if only the pipeline can tell."""
    names = DENOISERS if family.denoiser is None else (family.denoiser,)
    return next((name for name in names if name in classes), None)


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


def _check_fits(
    spec: BackboneSpec,
    dtype: torch.dtype,
    device: torch.device,
    *,
    offload: Offload = "none",
    methods: Sequence[str] = ("dtype",),
    encoders_leave: bool = False,
) -> None:
    """Refuse a hub model whose weights alone exceed the memory, before 30 GB are downloaded."""
    parts = None if spec.is_local else parts_of(spec)
    if parts is None:
        return
    parts = parts if encoders_leave else replace(parts, texts_first=False)
    on_gpu, named = device.type == "cuda", next(name for name, known in DTYPES.items() if known is dtype)
    needs = [peaks(parts, method, dtype=named, offload=offload, on_gpu=on_gpu) for method in methods]
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else ram
    most, machine = max(need.most for need in needs), max(need.machine for need in needs)
    if most > free:
        raise BackboneError(
            f"{spec.name} in {named} needs about {most / _GIB:.0f} GiB for its weights, {device} has "
            f"{free / _GIB:.0f} GiB. Run it on a GPU with more memory (--device cuda --dtype {spec.gpu_dtype}), leave "
            "the largest arms out (`--dry-run` says what each needs), or use a smaller backbone such as tiny-flux."
        )
    if machine > ram:
        why = "its adapters are fused before it is quantized" if parts.whole else f"--offload {offload} keeps it there"
        raise BackboneError(
            f"{spec.name} in {named} needs about {machine / _GIB:.0f} GiB of this machine's memory, because {why}; it "
            f"has {ram / _GIB:.0f} GiB. Use a machine with more, or a smaller backbone such as tiny-flux."
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

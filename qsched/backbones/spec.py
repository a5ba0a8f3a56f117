"""What a backbone is before it is loaded: where its weights are, and how it is meant to be called. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from qsched.backbones.errors import BackboneError
from qsched.backbones.families import Family

DEFAULT_STEPS = 4
DTYPE_NAMES = ("fp32", "bf16", "fp16")
# Where a denoiser's weights wait until they are needed.
Offload = Literal["none", "model", "sequential"]


@dataclass(frozen=True)
class Lora:
    """An adapter that is fused into the weights before anything else happens to them.

    source    a safetensors file, or the hub id of the repository that has `file` (then `revision` is a commit id)
    """

    source: str
    scale: float = 1.0
    file: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class BackboneSpec:
    """Where a backbone comes from and how it is called.

    source         a folder, or a hub id (then `revision` is a commit id)
    unpinned       a hub id whose commit no public record gave: the user has to state it
    steps, guidance_scale, width, height    None: taken from the pipeline's class when it is loaded
    gpu_dtype      what a GPU run uses when no dtype is asked for; on a CPU it is fp32
    fp16_variant   name of the repository's half-precision files, if it has them
    variant        kind of files that the user asked for, in any dtype
    parameters     number of weights of all components, to refuse a machine that is too small
    denoiser_parameters    number of weights of the denoiser alone
    vae_parameters         number of weights of the VAE alone
    family         how its pipeline class differs; None: the family of the class
    scheduler      (class, settings that replace those of the folder) that its few steps were trained for
    loras          fused in this order
    licence        of the weights, as their page states it
    """

    name: str
    source: str
    revision: str | None = None
    unpinned: bool = False
    steps: int | None = None
    guidance_scale: float | None = None
    width: int | None = None
    height: int | None = None
    gpu_dtype: str = "fp32"
    fp16_variant: str | None = None
    variant: str | None = None
    parameters: int | None = None
    denoiser_parameters: int | None = None
    vae_parameters: int = 84_000_000
    call_options: dict[str, Any] = field(default_factory=dict)
    family: Family | None = None
    scheduler: tuple[str, dict[str, Any]] | None = None
    loras: tuple[Lora, ...] = ()
    licence: str = ""

    @property
    def is_local(self) -> bool:
        """True if the weights are in a folder on this machine."""
        return self.revision is None and not self.unpinned


def parse_lora(text: str) -> Lora:
    """`PATH` or `PATH:scale`; BackboneError for a file that is not there or a scale that is not a number above 0."""
    path, colon, scale = text.rpartition(":")
    if not colon or Path(text).is_file():
        path, scale = text, "1"
    try:
        factor = float(scale)
    except ValueError as error:
        raise BackboneError(f"--lora {text}: {scale!r} is not a scale; write --lora PATH or PATH:0.8") from error
    if not 0 < factor <= 10:
        raise BackboneError(f"--lora {text}: the scale is {factor:g}; it must be above 0 and at most 10")
    if not Path(path).is_file() or not path.endswith(".safetensors"):
        raise BackboneError(f"--lora {path} is not a .safetensors file on this machine; download it first")
    return Lora(str(Path(path).resolve()), factor)

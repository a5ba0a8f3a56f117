"""Name -> spec of a backbone: where its weights are, pinned, and how it is meant to be called. No torch.

The commit ids below are those of the hub repositories; a hub backbone without a pinned revision is not
offered. A local folder that diffusers wrote needs no entry: its path is its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import qsched
from qsched.backbones.errors import BackboneError
from qsched.backbones.families import Family, family_of
from qsched.backbones.index import INDEX_NAME, pipeline_class

DEFAULTS_NAME = "qsched.json"
DEFAULT_STEPS = 4
DTYPE_NAMES = ("fp32", "bf16", "fp16")
# What the renderer itself passes to a pipeline.
_OWN_OPTIONS = frozenset(
    ("prompt", "latents", "generator", "num_inference_steps", "guidance_scale", "width", "height", "output_type")
)
_FAMILY_KEYS = ("denoiser", "guidance", "one_at_a_time", "note")
_WEIGHTS = Path(qsched.__file__).parent / "tiny" / "weights"


@dataclass(frozen=True)
class BackboneSpec:
    """Where a backbone comes from and how it is called.

    source         a folder, or a hub id (then `revision` is a commit id)
    steps, guidance_scale, width, height    None: taken from the pipeline's class when it is loaded
    gpu_dtype      what a GPU run uses when no dtype is asked for; on a CPU it is fp32
    fp16_variant   name of the repository's half-precision files, if it has them
    parameters     number of weights of all components, to refuse a machine that is too small
    family         how its pipeline class differs; None: the family of the class
    """

    name: str
    source: str
    revision: str | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    width: int | None = None
    height: int | None = None
    gpu_dtype: str = "fp32"
    fp16_variant: str | None = None
    parameters: int | None = None
    call_options: dict[str, Any] = field(default_factory=dict)
    family: Family | None = None

    @property
    def is_local(self) -> bool:
        """True if the weights are in a folder on this machine."""
        return self.revision is None


def _tiny(name: str) -> BackboneSpec:
    return BackboneSpec(
        name, str(_WEIGHTS / name), steps=4, guidance_scale=0.0, width=128, height=128, gpu_dtype="fp32"
    )


BACKBONES: dict[str, BackboneSpec] = {
    spec.name: spec
    for spec in (
        _tiny("tiny-flux"),
        _tiny("tiny-sdxl"),
        BackboneSpec(
            "flux-schnell",
            "black-forest-labs/FLUX.1-schnell",
            revision="741f7c3ce8b383c54771c7003378a50191e9efe9",
            steps=4,
            guidance_scale=0.0,
            width=1024,
            height=1024,
            gpu_dtype="bf16",
            parameters=16_870_000_000,
            call_options={"max_sequence_length": 256},
        ),
        BackboneSpec(
            "sdxl-turbo",
            "stabilityai/sdxl-turbo",
            revision="71153311d3dbb46851df1931d3ca6e939de83304",
            steps=4,
            guidance_scale=0.0,
            width=512,
            height=512,
            gpu_dtype="fp16",
            fp16_variant="fp16",
            parameters=3_470_000_000,
        ),
        BackboneSpec(
            "lcm-dreamshaper",
            "SimianLuo/LCM_Dreamshaper_v7",
            revision="a85df6a8bd976cdd08b4fd8f3b73f229c9e54df5",
            steps=4,
            guidance_scale=8.0,
            width=768,
            height=768,
            gpu_dtype="fp16",
            parameters=1_070_000_000,
        ),
    )
}


def find_spec(name_or_path: str) -> BackboneSpec:
    """The spec of a known name or of a local diffusers folder; BackboneError for anything else."""
    known = BACKBONES.get(name_or_path)
    if known is not None:
        if known.is_local and not (Path(known.source) / INDEX_NAME).is_file():
            raise BackboneError(
                f"the weights of {known.name} are not in {known.source}; reinstall qsched, or train them with "
                "`python -m tools.train_tiny`"
            )
        return known
    folder = Path(name_or_path)
    if (folder / INDEX_NAME).is_file():
        return _local_spec(folder)
    if folder.is_dir():
        raise BackboneError(
            f"{name_or_path} has no model_index.json, so it is not a diffusers pipeline folder; save one with "
            "`pipeline.save_pretrained(folder)`"
        )
    raise BackboneError(
        f"backbone {name_or_path!r} is neither a known name ({', '.join(BACKBONES)}) nor a folder with a "
        "model_index.json. A hub model is used by downloading it first: `hf download ID --revision COMMIT "
        "--local-dir FOLDER`, then --backbone FOLDER."
    )


def _local_spec(folder: Path) -> BackboneSpec:
    """Spec of a local folder; an optional qsched.json in it overrides steps, guidance_scale, width, height."""
    defaults: dict[str, Any] = {}
    path = folder / DEFAULTS_NAME
    if path.is_file():
        try:
            defaults = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise BackboneError(f"{path} cannot be read as JSON: {error}") from error
        _check_defaults(path, defaults)
    if "family" in defaults:
        defaults["family"] = replace(family_of(pipeline_class(folder)), **defaults["family"])
    return BackboneSpec(folder.resolve().name, str(folder.resolve()), **defaults)


def _check_defaults(path: Path, defaults: object) -> None:
    """BackboneError for an unknown key, a value of another type, or an option that the renderer sets itself."""
    rules: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "steps": ("a whole number above 0", lambda v: _is_whole(v) and v > 0),
        "guidance_scale": (
            "a number, 0 or more",
            lambda v: (_is_whole(v) and v >= 0) or (isinstance(v, float) and v >= 0),
        ),
        "width": ("a whole number of pixels", lambda v: _is_whole(v) and v > 0),
        "height": ("a whole number of pixels", lambda v: _is_whole(v) and v > 0),
        "gpu_dtype": ("fp32, bf16 or fp16", lambda v: v in DTYPE_NAMES),
        "call_options": ("an object of options", lambda v: isinstance(v, dict)),
        "family": (
            f"an object with {', '.join(_FAMILY_KEYS)} as text",
            lambda v: (
                isinstance(v, dict) and set(v) <= set(_FAMILY_KEYS) and all(isinstance(t, str) for t in v.values())
            ),
        ),
    }
    if not isinstance(defaults, dict) or set(defaults) - set(rules):
        keys = sorted(defaults) if isinstance(defaults, dict) else type(defaults).__name__
        raise BackboneError(f"{path} may hold only {', '.join(sorted(rules))}, got {keys}")
    for name, value in defaults.items():
        words, holds = rules[name]
        if not holds(value):
            raise BackboneError(f"{path}: {name} is {value!r:.60}; it must be {words}")
    if own := sorted(_OWN_OPTIONS & set(defaults.get("call_options", {}))):
        raise BackboneError(f"{path}: call_options names {own[0]}, which generation sets itself; remove it")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

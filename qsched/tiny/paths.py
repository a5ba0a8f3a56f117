"""Paths of the shipped prompts and weights of the tiny models."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from qsched.errors import InputError, MissingExtraError

BACKBONES = ("tiny-flux", "tiny-sdxl")
MODELS = (*BACKBONES, "tiny-clip")
PROMPT_SETS = ("demo", "eval", "calibration")


def weights_folder() -> Path:
    """Where the models are: beside the code in a clone, else in the package qsched-tiny-models, if it is installed."""
    beside = Path(str(files("qsched.tiny"))) / "weights"
    if not beside.is_dir() and (found := find_spec("qsched_tiny_models")) and found.origin:
        return Path(found.origin).parent / "weights"
    return beside


def model_path(name: str) -> Path:
    """The folder of a shipped model: tiny-flux and tiny-sdxl for diffusers, tiny-clip for open_clip.

    MissingExtraError if neither a clone nor the extra `tiny` brings them.
    """
    if name not in MODELS:
        raise InputError(f"model {name!r} is not shipped: choose one of {', '.join(MODELS)}")
    folder = weights_folder() / name
    if not folder.is_dir():
        raise MissingExtraError("qsched-tiny-models", "tiny")
    return folder


def prompts_path(name: str) -> Path:
    """A shipped file {id: prompt} of held-out prompts: demo (24), eval (200) or calibration (100); disjoint."""
    if name not in PROMPT_SETS:
        raise InputError(f"prompt set {name!r} is not shipped: choose one of {', '.join(PROMPT_SETS)}")
    return Path(str(files("qsched.tiny"))) / "prompts" / f"{name}.yaml"


def load_prompts(path: Path) -> dict[str, str]:
    """The map {id: prompt} of a shipped prompt file."""
    import yaml

    prompts: dict[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return prompts

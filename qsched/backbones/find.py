"""Name, folder or hub id -> the spec of a backbone. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from qsched.backbones.errors import BackboneError
from qsched.backbones.families import family_of
from qsched.backbones.index import INDEX_NAME, pipeline_class
from qsched.backbones.named import BACKBONES, registered_backbones
from qsched.backbones.spec import DTYPE_NAMES, BackboneSpec, Lora
from qsched.errors import MissingExtraError
from qsched.tiny.paths import MODELS

DEFAULTS_NAME = "qsched.json"
MODULAR_INDEX_NAME = "modular_model_index.json"
# What the renderer itself passes to a pipeline.
_OWN_OPTIONS = frozenset(
    ("prompt", "latents", "generator", "num_inference_steps", "guidance_scale", "width", "height", "output_type")
)
_FAMILY_KEYS = ("denoiser", "guidance", "one_at_a_time", "note")
_COMMIT = re.compile("[0-9a-f]{40}")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def find_spec(
    name_or_path: str, *, revision: str | None = None, variant: str | None = None, loras: tuple[Lora, ...] = ()
) -> BackboneSpec:
    """The spec of a known name, a local diffusers folder, or a hub id with its commit; BackboneError for anything else.

    revision    commit of a hub model, for one whose commit is not known here (also written `org/name@commit`)
    loras       fused in addition to those that belong to the name
    """
    spec = _found(name_or_path, revision)
    missing = next((lora for lora in spec.loras if lora.file is not None and lora.revision is None), None)
    if missing is not None:
        if not loras:
            raise BackboneError(
                f"{spec.name} is {spec.source} with {missing.file} of {missing.source}, and no public record gave its "
                f"commit. Look at https://huggingface.co/{missing.source}, then `hf download {missing.source} "
                f"{missing.file} --revision COMMIT --local-dir FOLDER`, and give --lora FOLDER/{missing.file}"
            )
        spec = replace(spec, loras=tuple(lora for lora in spec.loras if lora is not missing))
    return replace(spec, variant=variant, loras=(*spec.loras, *loras))


def _found(name_or_path: str, revision: str | None) -> BackboneSpec:
    known = {**BACKBONES, **registered_backbones()}.get(name_or_path)
    if known is not None:
        return _known(known, revision)
    folder = Path(name_or_path)
    if (folder / INDEX_NAME).is_file():
        if revision is not None:
            raise BackboneError(f"--revision {revision}: {name_or_path} is a folder, which has none; leave it out")
        return _local_spec(folder)
    if (folder / MODULAR_INDEX_NAME).is_file():
        raise BackboneError(
            f"{name_or_path} is a modular pipeline ({MODULAR_INDEX_NAME}): a call takes any keyword, and its blocks "
            "ignore what they do not know, given noise included. Convert it once: `qsched convert "
            f"{name_or_path} --out NEW`; then --backbone NEW"
        )
    if folder.is_dir():
        raise BackboneError(
            f"{name_or_path} has no model_index.json, so it is not a diffusers pipeline folder; save one with "
            "`pipeline.save_pretrained(folder)`"
        )
    if folder.is_file():
        raise BackboneError(
            f"{name_or_path} is a single file, which does not say which pipeline it belongs to. Convert it once: "
            f"`qsched convert {name_or_path} --config FOLDER --out NEW`, where FOLDER is a diffusers folder of the "
            "same model (no weights needed); then --backbone NEW"
        )
    hub_id, _, commit = name_or_path.partition("@")
    if _HUB_ID.fullmatch(hub_id) and (commit or revision):
        return BackboneSpec(hub_id.rpartition("/")[2], hub_id, revision=_commit(commit or revision, hub_id))
    raise BackboneError(
        f"backbone {name_or_path!r} is neither a known name ({', '.join(BACKBONES)}) nor a folder with a "
        "model_index.json. A hub model is named with its commit, org/name@COMMIT, or downloaded first: `hf download ID "
        "--revision COMMIT --local-dir FOLDER`, then --backbone FOLDER."
    )


def _known(spec: BackboneSpec, revision: str | None) -> BackboneSpec:
    if spec.unpinned and revision is None:
        raise BackboneError(
            f"{spec.name} is {spec.source}, and no public record gave a commit of it. Look its commit up at "
            f"https://huggingface.co/{spec.source}/commits and give --revision COMMIT"
        )
    if spec.is_local:
        if revision is not None:
            raise BackboneError(f"--revision {revision}: {spec.name} is on this machine; leave it out")
        if not (Path(spec.source) / INDEX_NAME).is_file():
            if spec.name in MODELS:
                raise MissingExtraError("qsched-tiny-models", "tiny")
            raise BackboneError(f"{spec.name} is registered as the folder {spec.source}, which has no {INDEX_NAME}")
        return spec
    return spec if revision is None else replace(spec, revision=_commit(revision, spec.source), unpinned=False)


def _commit(revision: str | None, source: str) -> str:
    if revision is None or not _COMMIT.fullmatch(revision):
        raise BackboneError(
            f"revision {revision!r} of {source} is not a commit id of 40 hex digits; a branch or tag may move. The "
            f"commits are at https://huggingface.co/{source}/commits"
        )
    return revision


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

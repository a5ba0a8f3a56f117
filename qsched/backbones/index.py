"""What the folder of a diffusers pipeline says of itself in model_index.json. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qsched.backbones.classes import check_scheduler, drivable_call
from qsched.backbones.errors import BackboneError
from qsched.backbones.families import family_of

INDEX_NAME = "model_index.json"
# A scheduler with coefficients, as `save_pretrained` writes it.
_OUR_LIBRARY = "qsched.scheduling"


def read_index(folder: Path) -> dict[str, Any]:
    """model_index.json as it is; BackboneError if it cannot be read."""
    path = folder / INDEX_NAME
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(index, dict):
            raise ValueError(f"it holds a {type(index).__name__}")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BackboneError(f"{path} cannot be read: {error}; save the pipeline again with save_pretrained") from error
    return index


def component_classes(folder: Path) -> dict[str, tuple[str, str]]:
    """Component name -> (library, class), for the components that the folder has."""
    entries = {name: value for name, value in read_index(folder).items() if isinstance(value, list) and len(value) == 2}
    return {name: (str(library), str(kind)) for name, (library, kind) in entries.items() if library is not None}


def pipeline_class(folder: Path) -> str:
    """Name of the pipeline's class."""
    return str(read_index(folder).get("_class_name"))


def check_folder(folder: Path, source: str) -> None:
    """Refuse a pipeline or scheduler class that cannot be driven, before anything is loaded or torch imported."""
    kind = pipeline_class(folder)
    if family_of(kind).module == "diffusers":
        drivable_call(kind, source)
    library, scheduler = component_classes(folder).get("scheduler", (None, ""))
    if library is None:
        raise BackboneError(f"{source} is a {kind} without a scheduler, and Q-Sched acts on the scheduler's step")
    if library == "diffusers":
        check_scheduler(scheduler, source)

"""A modular pipeline of diffusers, in the ordinary layout: once, without a connection and without its blocks.

A call of a modular pipeline takes any keyword and ignores what its blocks do not know, given noise included. But the
components of one that has diffusers' own blocks are those of an ordinary class, which makes the same pictures of them
up to rounding. So the components are kept, and the index is written for that class.
"""

from __future__ import annotations

import inspect
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers

from qsched.backbones.classes import drivable_call
from qsched.backbones.errors import BackboneError
from qsched.backbones.find import DEFAULTS_NAME, MODULAR_INDEX_NAME
from qsched.backbones.index import INDEX_NAME, check_folder
from qsched.files import link_or_copy

_MODULAR = "ModularPipeline"
_TERMS = ("LICENSE", "LICENCE", "NOTICE")


@dataclass(frozen=True)
class OrdinaryLayout:
    """The new folder, the class that drives it, and its components."""

    folder: Path
    kind: str
    components: tuple[str, ...]


def convert_modular(folder: Path, out: Path) -> OrdinaryLayout:
    """Write a modular pipeline's folder in the ordinary layout; its files are linked where the file system can.

    BackboneError for blocks that are not diffusers' own, a class without an ordinary counterpart that can be driven, a
    component that is not in the folder, and an `out` that is there.
    """
    if out.exists():
        raise BackboneError(f"--out {out} is there already; choose a new folder, or remove it")
    if not out.parent.is_dir():
        raise BackboneError(f"--out {out}: the folder {out.parent} does not exist; create it first")
    index = _index(folder)
    kind = _ordinary_class(folder, index)
    wanted = inspect.signature(getattr(diffusers, kind).__init__).parameters
    components = {name: value[:2] for name, value in index.items() if _is_component(value)}
    _check_components(folder, kind, index, components, frozenset(wanted))
    written: dict[str, Any] = {"_class_name": kind, "_diffusers_version": index.get("_diffusers_version")}
    for name in wanted:
        if name in components:
            written[name] = components[name]
        elif name in index and not isinstance(index[name], list):
            written[name] = index[name]  # a setting, such as force_zeros_for_empty_prompt
        elif isinstance(index.get(name), list):
            written[name] = [None, None]
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".qsched-") as temporary:
        made = Path(temporary) / out.name
        for name in components:
            shutil.copytree(folder / name, made / name, copy_function=_link_real_file)
        (made / INDEX_NAME).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
        for file in folder.iterdir():
            if file.is_file() and (file.name == DEFAULTS_NAME or file.name.upper().startswith(_TERMS)):
                shutil.copyfile(file, made / file.name)
        check_folder(made, str(folder))
        made.rename(out)
    return OrdinaryLayout(out, kind, tuple(components))


def _index(folder: Path) -> dict[str, Any]:
    path = folder / MODULAR_INDEX_NAME
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(index, dict):
            raise ValueError(f"it holds a {type(index).__name__}")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BackboneError(f"{path} cannot be read: {error}; download or save the pipeline again") from error
    return index


def _ordinary_class(folder: Path, index: dict[str, Any]) -> str:
    """Name of the ordinary class with the same components; BackboneError if blocks may do anything else with them."""
    modular, blocks = str(index.get("_class_name")), index.get("_blocks_class_name")
    own = getattr(getattr(diffusers, modular, None), "default_blocks_name", None)
    if not modular.endswith(_MODULAR) or own is None or "auto_map" in index:
        raise BackboneError(
            f"{folder} is a {modular}, which is not a modular pipeline of diffusers {diffusers.__version__} itself: "
            "what its blocks do is in their own code, which is not run. Use the same weights in the ordinary layout"
        )
    if blocks != own:
        raise BackboneError(
            f"{folder} has the blocks {blocks}, and only diffusers' own of a {modular} ({own}) are known to do "
            "what the ordinary pipeline does. Use the same weights in the ordinary layout"
        )
    kind = modular.removesuffix(_MODULAR) + "Pipeline"
    drivable_call(kind, str(folder))
    return kind


def _is_component(value: object) -> bool:
    """Whether an entry of the index is a component that is there: [library, class, where from]."""
    return isinstance(value, list) and len(value) == 3 and value[0] is not None


def _check_components(
    folder: Path, kind: str, index: dict[str, Any], components: dict[str, Any], wanted: frozenset[str]
) -> None:
    for name in components:
        if name not in wanted:
            raise BackboneError(
                f"{folder} has a component {name} that {kind} does not take, so its pictures would be others; "
                "remove it from the modular pipeline and save that again"
            )
        if not (folder / name).is_dir():
            raise BackboneError(
                f"{folder} does not contain its component {name}, which it takes from {_source(index[name])}; download "
                "all of them, or load the pipeline where they are and save it with save_pretrained(FOLDER)"
            )
    sources = {source: name for name in components if (source := _source(index[name])) is not None}
    if len(sources) > 1:
        (one, first), (other, second) = list(sources.items())[:2]
        raise BackboneError(
            f"{folder} takes its {first} from {one} and its {second} from {other}, so it is not known whether the "
            "folders beside the index hold these; load the pipeline and save it with save_pretrained(FOLDER)"
        )


def _source(entry: list[Any]) -> str | None:
    """Where a modular pipeline takes a component from; the folder itself, once it was saved."""
    where = entry[2]
    source = where.get("pretrained_model_name_or_path") if isinstance(where, dict) else None
    return None if source is None else str(source)


def _link_real_file(source: str, target: str) -> None:
    """Link or copy the file that a name leads to: hub caches keep symbolic links."""
    link_or_copy(Path(source).resolve(), Path(target))

"""Read prompts from .yaml, .csv, .json, .jsonl or .txt; every complaint names the file and the line.

    .yaml .yml   {id: prompt}, the sDCI format, or {id: {prompt: ..., category: ...}}
    .json        the same maps, or a list of {"id": ..., "prompt": ..., "category": ...}
    .jsonl       one such object per line
    .csv         a header row with id (or prompt_id), prompt, optionally category, and nothing else
    .txt         one prompt per line; the ids are line-0001, line-0002, ...

The files of sDCI, MJHQ-30K, COCO, DrawBench, PartiPrompts, GenEval 2, DPG-Bench and UniGenBench are read as their
authors publish them (`qsched.generation.prompt_layouts`), by a stated layout or by the one that their columns show.

A duplicate id, an empty prompt, a value of the wrong type, an undecodable byte: all are errors. Nothing is
skipped, coerced or renamed.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from qsched.errors import InputError, RowError
from qsched.generation.prompt_files import (
    Entry,
    csv_entries,
    json_entries,
    jsonl_entries,
    txt_entries,
    yaml_entries,
)
from qsched.generation.prompt_layouts import LAYOUTS, OWN, folder_text, guess_layout
from qsched.records.yaml_file import read_utf8

MAX_BYTES = 64 * 1024 * 1024
MAX_CHARACTERS = 20_000
# Format characters that text needs: joiners of emoji and of scripts.
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class Prompt:
    """One line of work: an id that is unique in its file, the text, and an optional category."""

    prompt_id: str
    prompt: str
    category: str | None = None


_OWN_READERS = {
    ".yaml": yaml_entries,
    ".yml": yaml_entries,
    ".json": json_entries,
    ".jsonl": jsonl_entries,
    ".csv": csv_entries,
    ".txt": txt_entries,
}


def read_prompts(path: str | Path, *, layout: str | None = None) -> list[Prompt]:
    """The prompts of a file, in file order; raises InputError or RowError, never returns an empty list.

    layout    a name of LAYOUTS, or OWN; None: the one that the file shows (`layout_of`)
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if layout is not None:
        check_layout(layout)
    if layout in (None, OWN) and suffix not in (*_OWN_READERS, ".tsv") and not path.is_dir():
        found = path.suffix or "no suffix"
        raise InputError(f"{path}: prompts are read from {', '.join(_OWN_READERS)}, not from {found!r}")
    text = _text_of(path)
    layout = layout or guess_layout(path, text)
    reader = LAYOUTS.get(layout) or _OWN_READERS.get(suffix)
    if reader is None:
        raise InputError(f"{path}: prompts of our own format are in {', '.join(_OWN_READERS)}; name another format")
    prompts: list[Prompt] = []
    seen: dict[str, int] = {}
    for entry in reader(path, text):
        prompt = _checked(path, entry)
        if prompt.prompt_id in seen:
            raise RowError(
                path,
                entry.line,
                f"id {prompt.prompt_id!r} was used on line {seen[prompt.prompt_id]} already; rename one",
            )
        seen[prompt.prompt_id] = entry.line
        prompts.append(prompt)
    if not prompts:
        raise InputError(f"{path}: no prompts in it; give at least one")
    return prompts


def check_layout(name: str) -> None:
    """InputError with the choices for a layout that nobody reads."""
    if name != OWN and name not in LAYOUTS:
        raise InputError(f"prompts format {name!r} is unknown; choose {', '.join((OWN, *LAYOUTS))}")


def layout_of(path: Path) -> str:
    """The layout that `read_prompts` takes a file for; OWN for our own."""
    return guess_layout(path, _text_of(path))


def prompts_source_hash(path: Path) -> str:
    """SHA-256 of a prompts file, or of the names and texts of a folder."""
    return hashlib.sha256(_text_of(path).encode() if path.is_dir() else path.read_bytes()).hexdigest()


def _text_of(path: Path) -> str:
    if path.is_dir():
        return folder_text(path)
    return read_utf8(path, max_bytes=MAX_BYTES, missing="give the path of a prompts file")


def _checked(path: Path, entry: Entry) -> Prompt:
    fields = {"id": entry.prompt_id, "prompt": entry.prompt, "category": entry.category}
    for name, value in fields.items():
        if name == "category" and value is None:
            continue
        if not isinstance(value, str):
            raise RowError(path, entry.line, f"{name} is {value!r:.80}, a {type(value).__name__}; it must be text")
        if not value.strip():
            raise RowError(path, entry.line, f"the {name} is empty; write one or remove the line")
        limit = MAX_CHARACTERS if name == "prompt" else 200
        if len(value) > limit:
            raise RowError(path, entry.line, f"the {name} has {len(value)} characters; at most {limit} are allowed")
        if problem := _unprintable(value.strip(), name):
            raise RowError(path, entry.line, problem)
    prompt_id = str(entry.prompt_id)
    if prompt_id != prompt_id.strip() or any(c in "/\\" for c in prompt_id):
        raise RowError(
            path, entry.line, f"id {prompt_id!r} may not hold slashes or begin or end with spaces; rename it"
        )
    category = entry.category.strip() if isinstance(entry.category, str) else None
    return Prompt(prompt_id, str(entry.prompt).strip(), category)


def _unprintable(text: str, name: str) -> str:
    """What is wrong with a character that cannot be seen or turns the reading direction; '' if nothing is."""
    is_prompt = name == "prompt"
    for character in text:
        if character.isprintable() or (is_prompt and character in "\n\t" + _JOINERS):
            continue
        if is_prompt and unicodedata.category(character) == "Zs":
            continue
        kind = "invisible" if unicodedata.category(character) == "Cf" else "control"
        words = unicodedata.name(character, "")
        return f"the {name} contains the {kind} character U+{ord(character):04X} {words}".rstrip() + "; remove it"
    return ""

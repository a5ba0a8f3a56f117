"""Where the pictures of an import are: by the names of files, in GenEval's layout, or by a csv table.

A place is a prompt and a sample; pictures of one place in several arms are a pair.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from qsched.errors import InputError, RowError
from qsched.generation.prompts import Prompt, read_prompts
from qsched.records.yaml_file import read_utf8

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
TABLE_COLUMNS = ("arm", "file", "prompt_id", "prompt", "sample_index", "category")
_NEEDED = TABLE_COLUMNS[:3]
_MAX_TABLE = 256 * 1024 * 1024


class PromptSample(NamedTuple):
    """A prompt and a sample of it."""

    prompt_id: str
    sample_index: int

    def __str__(self) -> str:
        return f"{self.prompt_id}/{self.sample_index}"


@dataclass(frozen=True)
class PictureFile:
    """A file, and what it shows."""

    path: Path
    prompt: str
    category: str | None = None


@dataclass(frozen=True)
class PictureFiles:
    """The files of each arm by place, where each arm came from, and what is worth knowing."""

    files: Mapping[str, Mapping[PromptSample, PictureFile]]
    sources: Mapping[str, str]
    notes: tuple[str, ...] = ()


def places_by_name(folders: Mapping[str, Path], *, prompts: Path) -> PictureFiles:
    """Every picture in the arms' folders; its path without the ending is the id of its prompt in the prompts file."""
    texts = _texts(prompts)
    files: dict[str, dict[PromptSample, PictureFile]] = {}
    others = 0
    for arm, folder in folders.items():
        found: dict[PromptSample, PictureFile] = {}
        pictures, surplus = _pictures(folder)
        others += surplus
        for path in pictures:
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name not in texts:
                raise InputError(
                    f"{path}: {prompts} has no prompt {name!r}; a picture is named after the id of its prompt, or a "
                    "table names both (--table)"
                )
            place = PromptSample(name, 0)
            if place in found:
                raise InputError(f"{path} and {found[place].path} are two pictures of one name")
            found[place] = PictureFile(path, texts[name].prompt, texts[name].category)
        files[arm] = found
    used = {place.prompt_id for found in files.values() for place in found}
    notes = []
    if others:
        are = "file is not PNG, JPEG or WebP and was" if others == 1 else "files are not PNG, JPEG or WebP and were"
        notes.append(f"{others} {are} left alone")
    if len(used) < len(texts):
        notes.append(f"{len(texts) - len(used)} of {len(texts)} prompts have no picture")
    return PictureFiles(files, {arm: str(folder) for arm, folder in folders.items()}, tuple(notes))


def places_of_geneval(folders: Mapping[str, Path]) -> PictureFiles:
    """GenEval's layout: a folder per prompt with metadata.jsonl ("prompt") and samples/0000.png, 0001.png ..."""
    files: dict[str, dict[PromptSample, PictureFile]] = {}
    for arm, folder in folders.items():
        found: dict[PromptSample, PictureFile] = {}
        prompts = sorted(path.parent for path in _folder(folder).glob("*/metadata.jsonl"))
        if not prompts:
            raise InputError(f"{folder} has no folder with a metadata.jsonl; is this GenEval's layout?")
        for prompt in prompts:
            text, category = _geneval_prompt(prompt / "metadata.jsonl")
            for path in _pictures(prompt / "samples")[0]:
                if not path.stem.isdecimal():
                    raise InputError(f"{path}: a sample is named by its number, such as 0000.png")
                place = PromptSample(prompt.name, int(path.stem))
                if place in found:
                    raise InputError(f"{path} and {found[place].path} are two pictures of one sample")
                found[place] = PictureFile(path, text, category)
        files[arm] = found
    return PictureFiles(files, {arm: str(folder) for arm, folder in folders.items()})


def places_of_table(table: Path, *, prompts: Path | None = None) -> PictureFiles:
    """A csv file with arm, file (relative to it), prompt_id, and prompt (or a prompts file), sample_index, category."""
    reader = csv.DictReader(io.StringIO(read_utf8(table, max_bytes=_MAX_TABLE, missing="give the csv of an import")))
    _check_columns(table, list(reader.fieldnames or ()), needs_prompt=prompts is None)
    texts = {} if prompts is None else _texts(prompts)
    files: dict[str, dict[PromptSample, PictureFile]] = {}
    for row in reader:
        arm, place, file = _read_row(table, reader.line_num, row, texts)
        found = files.setdefault(arm, {})
        if place in found:
            raise RowError(table, reader.line_num, f"a second picture of arm {arm!r} at {place}")
        found[place] = file
    if not files:
        raise InputError(f"{table} has no rows")
    return PictureFiles(files, dict.fromkeys(files, str(table)))


def _check_columns(table: Path, columns: Sequence[str], *, needs_prompt: bool) -> None:
    for name in columns:
        if name not in TABLE_COLUMNS:
            raise RowError(table, 1, f"column {name!r} would not be used; the columns are {', '.join(TABLE_COLUMNS)}")
        if columns.count(name) > 1:
            raise RowError(table, 1, f"column {name!r} is there twice")
    for name in (*_NEEDED, *(("prompt",) if needs_prompt else ())):
        if name not in columns:
            remedy = ", or give the texts with --prompts" if name == "prompt" else ""
            raise RowError(table, 1, f"there is no column {name!r}; add it{remedy}")


def _read_row(
    table: Path, line: int, row: Mapping[str, str], texts: Mapping[str, Prompt]
) -> tuple[str, PromptSample, PictureFile]:
    if None in row or None in row.values():
        raise RowError(table, line, "the row has another number of values than the header")
    if empty := next((name for name in _NEEDED if not row[name].strip()), None):
        raise RowError(table, line, f"{empty} is empty")
    number = row.get("sample_index") or "0"
    if not number.isdecimal():
        raise RowError(table, line, f"sample_index is {number!r}; it counts from 0")
    path = table.parent / row["file"]
    if not path.is_file():
        raise RowError(table, line, f"{path} does not exist")
    text = _text_of(row, texts, table, line)
    file = PictureFile(path, text.prompt, row.get("category") or text.category)
    return row["arm"], PromptSample(row["prompt_id"], int(number)), file


def _text_of(row: Mapping[str, str], texts: Mapping[str, Prompt], table: Path, line: int) -> Prompt:
    prompt_id, stated = row["prompt_id"], row.get("prompt")
    known = texts.get(prompt_id)
    if known is None and not stated:
        raise RowError(table, line, f"prompt {prompt_id!r} has no text, neither here nor in the prompts file")
    if known is not None and stated and stated != known.prompt:
        raise RowError(table, line, f"prompt {prompt_id!r} has another text in the prompts file")
    return known or Prompt(prompt_id, str(stated))


def _texts(prompts: Path) -> dict[str, Prompt]:
    return {one.prompt_id: one for one in read_prompts(prompts)}


def _geneval_prompt(path: Path) -> tuple[str, str | None]:
    try:
        data = json.loads(read_utf8(path, max_bytes=1024 * 1024, missing="GenEval writes one for each prompt"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("prompt"), str) or not data["prompt"]:
        raise InputError(f"{path} has no text 'prompt'")
    tag = data.get("tag")
    return data["prompt"], tag if isinstance(tag, str) else None


def _pictures(folder: Path) -> tuple[Sequence[Path], int]:
    """The pictures in a folder and below, and how many other files there are."""
    files = sorted(path for path in _folder(folder).rglob("*") if path.is_file())
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not pictures:
        raise InputError(f"{folder} has no picture ({', '.join(SUFFIXES)})")
    return pictures, len(files) - len(pictures)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise InputError(f"{path} is not a folder")
    return path

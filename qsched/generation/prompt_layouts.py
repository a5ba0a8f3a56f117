"""Prompt benchmarks as their authors publish them: one reader for each layout, with the categories that it states.

    sdci         sDCI.yaml              {name: prompt}; no categories
    mjhq         meta_data.json         {name: {category, prompt}}
    coco         captions_val2014.json  the first caption of each image; no categories
    drawbench    .csv                   Prompts, Category
    parti        PartiPrompts.tsv       Prompt, Category, Challenge, Note
    geneval2     geneval2_data.jsonl    prompt, atom_count, vqa_list, skills; the category is the number of atoms
    dpg          dpg_bench.csv          item_id, text, one row per question; or the folder `prompts` of ID.txt. The
                                        category is the letters that an id begins with: where the prompt came from
    unigenbench  test_prompts_en.csv    index, prompt_en (or _zh), sub_dims_en; the category is the primary one

A file whose ids are numbers of rows gets ids such as parti-0001. What a layout does not expect is an error.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from qsched.errors import InputError, RowError
from qsched.generation.prompt_files import Entry, json_entries, jsonl_objects, yaml_entries

#: The layout of our own files (`qsched.generation.prompts`).
OWN = "qsched"
_PARTI = ("Prompt", "Category", "Challenge", "Note")
_DRAWBENCH = {"Prompts", "Category"}
_DPG = {"item_id", "text", "proposition_id"}
_GENEVAL2 = {"prompt", "atom_count", "vqa_list", "skills"}
_THEMES = ("Primary Categories", "一级垂类")

Reader = Callable[[Path, str], Iterator[Entry]]


def guess_layout(path: Path, text: str) -> str:
    """The layout that a file has by its columns or fields; OWN for what is none of the others."""
    if path.is_dir():
        return "dpg"
    suffix = path.suffix.lower()
    first = text.split("\n", 1)[0].rstrip("\r")
    if suffix == ".tsv":
        return "parti"
    if suffix == ".csv":
        header = set(next(csv.reader([first]), []))
        if header >= _DRAWBENCH:
            return "drawbench"
        if header >= _DPG:
            return "dpg"
        if "index" in header and header & {"prompt_en", "prompt_zh"}:
            return "unigenbench"
    if suffix == ".jsonl" and all(f'"{name}"' in first for name in ("atom_count", "vqa_list")):
        return "geneval2"
    if suffix == ".json" and re.search(r'"annotations"\s*:\s*\[', text) and '"image_id"' in text:
        return "coco"
    return OWN


def folder_text(path: Path) -> str:
    """All files of a folder of prompts as one text, for its hash; InputError for a file that is not ID.txt."""
    parts = []
    for file in sorted(path.iterdir()):
        if file.suffix != ".txt" or not file.is_file():
            raise InputError(f"{file}: a folder of prompts (DPG-Bench) holds ID.txt files only; move this one away")
        try:
            text = file.read_bytes().decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise InputError(f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
        if "\0" in text or "\t" in file.stem:
            raise InputError(f"{file}: a NUL character in a prompt, or a tab in a file's name; remove it")
        parts.append(f"{file.stem}\t{text}")
    return "\0".join(parts)


def _sdci(path: Path, text: str) -> Iterator[Entry]:
    for entry in yaml_entries(path, text):
        if entry.category is not None:
            raise RowError(path, entry.line, f"{entry.prompt_id!r} has a category; sDCI is a map {{name: prompt}}")
        yield entry


def _mjhq(path: Path, text: str) -> Iterator[Entry]:
    for entry in json_entries(path, text):
        if entry.category is None:
            problem = f"{entry.prompt_id!r} has no category; MJHQ-30K is {{name: {{category, prompt}}}}"
            raise RowError(path, entry.line, problem)
        yield entry


def _coco(path: Path, text: str) -> Iterator[Entry]:
    """The caption with the lowest id of each image, in the order of the images' ids."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(path, getattr(error, "lineno", 1), f"not JSON: {error}") from error
    captions = data.get("annotations") if isinstance(data, dict) else None
    if not isinstance(captions, list):
        raise RowError(path, 1, "no list 'annotations'; COCO captions have one with image_id, id and caption")
    first: dict[int, tuple[int, object]] = {}
    for number, caption in enumerate(captions):
        fields = caption if isinstance(caption, dict) else {}
        image, place = fields.get("image_id"), fields.get("id")
        if not isinstance(image, int) or not isinstance(place, int) or "caption" not in fields:
            raise RowError(path, 1, f"annotations[{number}] is {caption!r:.80}; it must have image_id, id and caption")
        if image not in first or place < first[image][0]:
            first[image] = (place, fields["caption"])
    for image, (_, words) in sorted(first.items()):
        yield Entry(1, f"coco-{image}", words)


def _drawbench(path: Path, text: str) -> Iterator[Entry]:
    for number, (line, row) in enumerate(_rows(path, text, needed=_DRAWBENCH), start=1):
        yield Entry(line, f"drawbench-{number:03d}", row["Prompts"], _stated(path, line, "Category", row["Category"]))


def _parti(path: Path, text: str) -> Iterator[Entry]:
    """Tab-separated without quoting: a quotation mark is part of the prompt."""
    lines = text.rstrip("\n").split("\n")
    if tuple(lines[0].rstrip("\r").split("\t")) != _PARTI:
        raise RowError(path, 1, f"the header is {lines[0]!r:.80}; PartiPrompts has {', '.join(_PARTI)}, tab-separated")
    for number, line in enumerate(lines[1:], start=2):
        cells = line.rstrip("\r").split("\t")
        if len(cells) != len(_PARTI):
            raise RowError(path, number, f"{len(cells)} cells; PartiPrompts has {len(_PARTI)}, tab-separated")
        yield Entry(number, f"parti-{number - 1:04d}", cells[0], _stated(path, number, "Category", cells[1]))


def _geneval2(path: Path, text: str) -> Iterator[Entry]:
    for number, fields in jsonl_objects(path, text):
        if not isinstance(fields, dict) or not set(fields) >= _GENEVAL2:
            found = sorted(fields) if isinstance(fields, dict) else fields
            raise RowError(path, number, f"fields {found!r:.80}; GenEval 2 has {', '.join(sorted(_GENEVAL2))}")
        atoms = fields["atom_count"]
        if isinstance(atoms, bool) or not isinstance(atoms, int) or atoms < 1:
            raise RowError(path, number, f"atom_count is {atoms!r:.40}; it must be a number from 1")
        yield Entry(number, f"geneval2-{number:04d}", fields["prompt"], f"{atoms} atom" + ("s" if atoms > 1 else ""))


def _dpg(path: Path, text: str) -> Iterator[Entry]:
    if path.is_dir():
        for one in text.split("\0") if text else ():
            name, _, prompt = one.partition("\t")
            yield Entry(1, name, prompt, _dpg_source(name))
        return
    seen: dict[str, tuple[int, str]] = {}
    for line, row in _rows(path, text, needed=_DPG):
        name, prompt = row["item_id"], row["text"]
        if name not in seen:
            seen[name] = (line, prompt)
            yield Entry(line, name, prompt, _dpg_source(name))
        elif seen[name][1] != prompt:
            raise RowError(path, line, f"item_id {name!r} has another text than on line {seen[name][0]}; mend one")


def _dpg_source(name: str) -> str:
    letters = re.match(r"[A-Za-z_-]*[A-Za-z]", name)
    return letters.group() if letters else "numbered"


def _unigenbench(path: Path, text: str) -> Iterator[Entry]:
    header = next(csv.reader([text.split("\n", 1)[0].rstrip("\r")]), [])
    languages = [name for name in ("en", "zh") if f"prompt_{name}" in header]
    if len(languages) != 1:
        raise RowError(path, 1, f"the header is {header}; UniGenBench has index, prompt_en and sub_dims_en (or _zh)")
    prompt, themes = f"prompt_{languages[0]}", f"sub_dims_{languages[0]}"
    for line, row in _rows(path, text, needed={"index", prompt, themes}):
        try:
            found = json.loads(row[themes])
        except (ValueError, RecursionError) as error:
            raise RowError(path, line, f"{themes} is not JSON: {error}") from error
        theme = next((found[key] for key in _THEMES if key in found), None) if isinstance(found, dict) else None
        if theme is None:
            raise RowError(path, line, f"{themes} is {row[themes]!r:.80}; it must name {' or '.join(_THEMES)}")
        yield Entry(line, f"unigenbench-{row['index']}", row[prompt], theme)


#: Readers of the layouts of other projects, by the name that --prompts-format takes.
LAYOUTS: dict[str, Reader] = {
    "sdci": _sdci,
    "mjhq": _mjhq,
    "coco": _coco,
    "drawbench": _drawbench,
    "parti": _parti,
    "geneval2": _geneval2,
    "dpg": _dpg,
    "unigenbench": _unigenbench,
}


def _rows(path: Path, text: str, *, needed: set[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a CSV that has the needed columns, and perhaps others."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    start = 1
    try:
        header = reader.fieldnames or []
        if lacking := sorted(needed - set(header)):
            raise RowError(path, 1, f"the header is {list(header)!s:.120}; it lacks {', '.join(lacking)}")
        start = reader.line_num + 1
        for row in reader:
            if None in row or any(row[name] is None for name in needed):
                raise RowError(path, start, f"{len(header)} cells expected; put a cell that holds a comma into quotes")
            yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise RowError(path, max(start, reader.line_num), f"not CSV: {error}") from error


def _stated(path: Path, line: int, column: str, value: str) -> str:
    if not value.strip():
        raise RowError(path, line, f"the {column} is empty; each prompt of this layout has one")
    return value

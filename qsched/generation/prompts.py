"""Read prompts from .yaml, .csv, .json, .jsonl or .txt; every complaint names the file and the line.

    .yaml .yml   {id: prompt}, the sDCI format, or {id: {prompt: ..., category: ...}}
    .json        the same maps, or a list of {"id": ..., "prompt": ..., "category": ...}
    .jsonl       one such object a line
    .csv         a header row with id (or prompt_id), prompt, and optionally category
    .txt         one prompt a line; the ids are line-0001, line-0002, ...

A duplicate id, an empty prompt, a value of the wrong type, an undecodable byte: all are errors. Nothing is
skipped, coerced or renamed.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from qsched.errors import InputError, RowError
from qsched.records.yaml_file import line_of, parse_yaml, read_utf8

MAX_BYTES = 64 * 1024 * 1024
MAX_CHARACTERS = 20_000
_ID_FIELDS = ("id", "prompt_id")
_YAML_TAGS = "tag:yaml.org,2002:"
_PLAIN_TEXT = f"{_YAML_TAGS}str"


@dataclass(frozen=True)
class Prompt:
    """One line of work: an id that is unique in its file, the text, and an optional category."""

    prompt_id: str
    prompt: str
    category: str | None = None


@dataclass(frozen=True)
class _Entry:
    line: int
    prompt_id: object
    prompt: object
    category: object = None


def read_prompts(path: str | Path) -> list[Prompt]:
    """The prompts of a file, in file order; raises InputError or RowError, never returns an empty list."""
    path = Path(path)
    readers = {
        ".yaml": _yaml_entries,
        ".yml": _yaml_entries,
        ".json": _json_entries,
        ".jsonl": _jsonl_entries,
        ".csv": _csv_entries,
        ".txt": _txt_entries,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: prompts are read from {', '.join(readers)}, not from {path.suffix or 'no suffix'!r}")
    text = read_utf8(path, max_bytes=MAX_BYTES, missing="give the path of a prompts file")
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


def _checked(path: Path, entry: _Entry) -> Prompt:
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
        allowed = "\n\t" if name == "prompt" else ""
        bad = next((c for c in value.strip() if not (c.isprintable() or c == " " or c in allowed)), None)
        if bad is not None and not (name == "prompt" and _is_harmless(bad)):
            raise RowError(path, entry.line, f"the {name} holds the control character U+{ord(bad):04X}; remove it")
    prompt_id = str(entry.prompt_id)
    if prompt_id != prompt_id.strip() or any(c in "/\\" for c in prompt_id):
        raise RowError(
            path, entry.line, f"id {prompt_id!r} may not hold slashes or begin or end with spaces; rename it"
        )
    category = entry.category.strip() if isinstance(entry.category, str) else None
    return Prompt(prompt_id, str(entry.prompt).strip(), category)


def _is_harmless(character: str) -> bool:
    """Separators and format characters of real text (no-break space, joiners of emoji and scripts)."""
    import unicodedata

    return unicodedata.category(character) in ("Zs", "Cf")


def _from_object(line: int, data: object) -> _Entry:
    """An entry of a list or of .jsonl: an object with id (or prompt_id), prompt and perhaps category."""
    if not isinstance(data, dict):
        raise ValueError(f"{data!r:.80} is not an object with id and prompt")
    unknown = set(data) - {*_ID_FIELDS, "prompt", "category"}
    names = [name for name in _ID_FIELDS if name in data]
    if unknown or len(names) != 1 or "prompt" not in data:
        raise ValueError(f"fields {sorted(data)}; they must be id, prompt and optionally category")
    return _Entry(line, data[names[0]], data["prompt"], data.get("category"))


def _from_pair(line: int, key: object, value: object) -> _Entry:
    """An entry of a map: id -> prompt, or id -> {prompt, category}."""
    if isinstance(value, dict):
        if set(value) - {"prompt", "category"} or "prompt" not in value:
            raise ValueError(
                f"fields {sorted(map(str, value))} of {key!r}; they must be prompt and optionally category"
            )
        return _Entry(line, key, value["prompt"], value.get("category"))
    return _Entry(line, key, value)


def _txt_entries(path: Path, text: str) -> Iterator[_Entry]:
    for number, line in enumerate(text.split("\n")[: None if text[-1:] not in ("\n", "") else -1], start=1):
        yield _Entry(number, f"line-{number:04d}", line.rstrip("\r"))


def _csv_entries(path: Path, text: str) -> Iterator[_Entry]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    start = 1
    try:
        header = reader.fieldnames or []
        names = [name for name in header if name in _ID_FIELDS]
        if len(names) != 1 or "prompt" not in header or len(set(header)) != len(header):
            raise RowError(path, 1, f"the header is {list(header)}; it must name id, prompt and optionally category")
        start = reader.line_num + 1
        for row in reader:
            if None in row or None in row.values():
                raise RowError(path, start, f"{len(header)} cells expected; put a cell that holds a comma into quotes")
            yield _Entry(start, row[names[0]], row["prompt"], row.get("category") or None)
            start = reader.line_num + 1
    except csv.Error as error:
        raise RowError(path, max(start, reader.line_num), f"not CSV: {error}") from error


def _jsonl_entries(path: Path, text: str) -> Iterator[_Entry]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() and number > text.rstrip("\n").count("\n") + 1:
            break
        try:
            yield _from_object(number, json.loads(line, object_pairs_hook=_unique_pairs))
        except json.JSONDecodeError as error:
            raise RowError(path, number, f"not JSON: {error.msg} at column {error.colno}") from error
        except (ValueError, RecursionError) as error:
            raise RowError(path, number, str(error)) from error


def _json_entries(path: Path, text: str) -> Iterator[_Entry]:
    """Walks the outermost map or list itself, because json.loads keeps neither line numbers nor duplicates."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique_pairs)
    space = " \t\r\n"
    at = 0

    def skip(expected: str) -> str:
        nonlocal at
        while at < len(text) and text[at] in space:
            at += 1
        found = text[at : at + 1]
        if found not in expected or not found:
            raise json.JSONDecodeError(f"expected one of {' '.join(expected)}", text, at)
        at += 1
        return found

    def value() -> tuple[int, object]:
        nonlocal at
        while at < len(text) and text[at] in space:
            at += 1
        line = text.count("\n", 0, at) + 1
        found, at = decoder.raw_decode(text, at)
        return line, found

    line = 1
    try:
        closing = "}" if skip("{[") == "{" else "]"
        rest = text[at:].lstrip(space)
        if rest[:1] == closing:
            return
        while True:
            line, first = value()
            if closing == "]":
                yield _from_object(line, first)
            else:
                if not isinstance(first, str):
                    raise json.JSONDecodeError("expected an id in double quotes", text, at)
                skip(":")
                yield _from_pair(line, first, value()[1])
            if skip("," + closing) == closing:
                break
        rest = text[at:].lstrip(space)
        if rest:
            raise json.JSONDecodeError("more text after the end", text, len(text) - len(rest))
    except json.JSONDecodeError as error:
        raise RowError(path, error.lineno, f"not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise RowError(path, line, str(error)) from error


def _unique_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a field is named twice in {[key for key, _ in pairs]}; name each once")
    return found


def _yaml_entries(path: Path, text: str) -> Iterator[_Entry]:
    root = parse_yaml(path, text).root
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise RowError(path, line_of(root), "the file must be one map {id: prompt}")
    for key, value in root.value:
        prompt_id = _yaml_text(path, key, "id", any_type=True)
        if not isinstance(value, yaml.MappingNode):
            yield _Entry(line_of(key), prompt_id, _yaml_text(path, value, "prompt"))
            continue
        fields: dict[str, object] = {name.value: _yaml_text(path, field, name.value) for name, field in value.value}
        try:
            yield _from_pair(line_of(key), prompt_id, fields)
        except ValueError as error:
            raise RowError(path, line_of(key), str(error)) from error


def _yaml_text(path: Path, node: yaml.Node, name: str, *, any_type: bool = False) -> str:
    """A scalar that YAML itself calls a string: an unquoted 12, yes or 2024-01-01 is something else."""
    if not isinstance(node, yaml.ScalarNode):
        problem = f"a list or map is given as the {name}; the file must be one map {{id: prompt}}"
        raise RowError(path, line_of(node), problem)
    if node.tag != _PLAIN_TEXT and node.value.strip() and not any_type:
        kind = node.tag.removeprefix(_YAML_TAGS)
        raise RowError(path, line_of(node), f"{name} {node.value!r} is a YAML {kind}; put it into quotes")
    return str(node.value)

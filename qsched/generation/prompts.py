"""Read prompts from .yaml, .csv, .json, .jsonl or .txt; every complaint names the file and the line.

    .yaml .yml   {id: prompt}, the sDCI format, or {id: {prompt: ..., category: ...}}
    .json        the same maps, or a list of {"id": ..., "prompt": ..., "category": ...}
    .jsonl       one such object a line
    .csv         a header row with id (or prompt_id), prompt, and optionally category
    .txt         one prompt a line; the ids are line-0001, line-0002, ...

A duplicate id, an empty prompt, a value of the wrong type, an undecodable byte: all are errors. Nothing is
skipped, coerced or renamed. YAML is read as a stream of events, so aliases, tags and deep nesting are refused
where they stand and nothing is built from them.
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

MAX_BYTES = 64 * 1024 * 1024
MAX_CHARACTERS = 20_000
_ID_FIELDS = ("id", "prompt_id")
_PLAIN_TEXT = "tag:yaml.org,2002:str"


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
    text = _read_text(path)
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


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES // 2**20} MiB; split it into several files")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; give the path of a prompts file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RowError(path, line, f"byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8") from error


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
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    events = yaml.parse(text, Loader=loader)
    try:
        yield from _walk_yaml(path, events)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise RowError(path, mark.line + 1 if mark else 1, f"not YAML: {error.problem or error}") from error
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
        raise RowError(path, line, f"not YAML: {error}".splitlines()[0]) from error


def _walk_yaml(path: Path, events: Iterator[yaml.Event]) -> Iterator[_Entry]:
    documents = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise RowError(path, event.start_mark.line + 1, "a second YAML document; keep one map {id: prompt}")
        elif isinstance(event, yaml.MappingStartEvent):
            yield from _walk_map(path, events)
        elif isinstance(event, yaml.NodeEvent):
            raise RowError(path, event.start_mark.line + 1, "the file must be one map {id: prompt}")


def _walk_map(path: Path, events: Iterator[yaml.Event]) -> Iterator[_Entry]:
    for event in events:
        if isinstance(event, yaml.MappingEndEvent):
            return
        line = event.start_mark.line + 1
        key = _yaml_scalar(path, event, "an id")
        value = next(events)
        if not isinstance(value, yaml.MappingStartEvent):
            yield _Entry(line, key, _yaml_text(path, value, "prompt"))
            continue
        fields: dict[str, object] = {}
        for inner in events:
            if isinstance(inner, yaml.MappingEndEvent):
                break
            name = _yaml_scalar(path, inner, "a field name")
            if name in fields:
                raise RowError(
                    path, inner.start_mark.line + 1, f"field {name!r} of {key!r} is named twice; name it once"
                )
            fields[name] = _yaml_text(path, next(events), name)
        try:
            yield _from_pair(line, key, fields)
        except ValueError as error:
            raise RowError(path, line, str(error)) from error


def _yaml_scalar(path: Path, event: yaml.Event, what: str) -> str:
    line = event.start_mark.line + 1
    if isinstance(event, yaml.AliasEvent):
        raise RowError(path, line, f"alias *{event.anchor}: aliases are not read; write the text out")
    if not isinstance(event, yaml.ScalarEvent):
        raise RowError(path, line, f"a list or map where {what} is expected; the file must be one map {{id: prompt}}")
    if event.tag is not None and event.tag not in ("!", _PLAIN_TEXT):
        raise RowError(path, line, f"tag {event.tag}: tags are not read; write plain text")
    return str(event.value)


def _yaml_text(path: Path, event: yaml.Event, name: str) -> str:
    """A scalar that YAML itself calls a string: an unquoted 12, yes or 2024-01-01 is something else."""
    text = _yaml_scalar(path, event, f"the {name}")
    plain = isinstance(event, yaml.ScalarEvent) and event.implicit[0] and not event.style
    if plain and text.strip():
        tag = yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False))
        if tag != _PLAIN_TEXT:
            kind = tag.rpartition(":")[2]
            raise RowError(path, event.start_mark.line + 1, f"{name} {text!r} is a YAML {kind}; put it into quotes")
    return text

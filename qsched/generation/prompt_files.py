"""The entries of a prompts file with their lines, format by format; `qsched.generation.prompts` checks them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from qsched.errors import RowError
from qsched.records.yaml_file import line_of, parse_yaml

_ID_FIELDS = ("id", "prompt_id")
_YAML_TAGS = "tag:yaml.org,2002:"
_PLAIN_TEXT = f"{_YAML_TAGS}str"
_JSON_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Entry:
    """One prompt as the file has it, not yet checked, and its line."""

    line: int
    prompt_id: object
    prompt: object
    category: object = None


def _from_object(line: int, data: object) -> Entry:
    """An entry of a list or of .jsonl: an object with id (or prompt_id), prompt and perhaps category."""
    if not isinstance(data, dict):
        raise ValueError(f"{data!r:.80} is not an object with id and prompt")
    unknown = set(data) - {*_ID_FIELDS, "prompt", "category"}
    names = [name for name in _ID_FIELDS if name in data]
    if unknown or len(names) != 1 or "prompt" not in data:
        raise ValueError(f"fields {sorted(data)}; they must be id, prompt and optionally category")
    return Entry(line, data[names[0]], data["prompt"], data.get("category"))


def _from_pair(line: int, key: object, value: object) -> Entry:
    """An entry of a map: id -> prompt, or id -> {prompt, category}."""
    if isinstance(value, dict):
        if set(value) - {"prompt", "category"} or "prompt" not in value:
            raise ValueError(
                f"fields {sorted(map(str, value))} of {key!r}; they must be prompt and optionally category"
            )
        return Entry(line, key, value["prompt"], value.get("category"))
    return Entry(line, key, value)


def txt_entries(_path: Path, text: str) -> Iterator[Entry]:
    """One prompt per line, numbered."""
    for number, line in enumerate(text.split("\n")[: None if text[-1:] not in ("\n", "") else -1], start=1):
        yield Entry(number, f"line-{number:04d}", line.rstrip("\r"))


def csv_entries(path: Path, text: str) -> Iterator[Entry]:
    """A header and one row per prompt; a column that would not be used is refused."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    start = 1
    try:
        header = reader.fieldnames or []
        names = [name for name in header if name in _ID_FIELDS]
        if len(names) != 1 or "prompt" not in header or len(set(header)) != len(header):
            raise RowError(path, 1, f"the header is {list(header)}; it must name id, prompt and optionally category")
        if surplus := [name for name in header if name not in (*_ID_FIELDS, "prompt", "category")]:
            raise RowError(path, 1, f"column {surplus[0]!r} would not be used; remove it, or name it category")
        start = reader.line_num + 1
        for row in reader:
            if None in row or None in row.values():
                raise RowError(path, start, f"{len(header)} cells expected; put a cell that holds a comma into quotes")
            yield Entry(start, row[names[0]], row["prompt"], row.get("category") or None)
            start = reader.line_num + 1
    except csv.Error as error:
        raise RowError(path, max(start, reader.line_num), f"not CSV: {error}") from error


def jsonl_entries(path: Path, text: str) -> Iterator[Entry]:
    """One object per line."""
    for number, data in jsonl_objects(path, text):
        try:
            yield _from_object(number, data)
        except ValueError as error:
            raise RowError(path, number, str(error)) from error


def jsonl_objects(path: Path, text: str) -> Iterator[tuple[int, object]]:
    """(line, value) of each line."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() and number > text.rstrip("\n").count("\n") + 1:
            break
        try:
            yield number, json.loads(line, object_pairs_hook=_unique_pairs)
        except json.JSONDecodeError as error:
            raise RowError(path, number, f"not JSON: {error.msg} at column {error.colno}") from error
        except (ValueError, RecursionError) as error:
            raise RowError(path, number, str(error)) from error


def json_entries(path: Path, text: str) -> Iterator[Entry]:
    """Walks the outermost map or list itself, because json.loads keeps neither line numbers nor duplicates."""
    walk = _JsonWalk(text)
    try:
        closing = "}" if walk.mark("{[") == "{" else "]"
        if walk.next_is(closing):
            return
        while True:
            yield walk.entry(is_map=closing == "}")
            if walk.mark("," + closing) == closing:
                break
        walk.end()
    except json.JSONDecodeError as error:
        raise RowError(path, error.lineno, f"not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise RowError(path, walk.line, str(error)) from error


class _JsonWalk:
    """A position in a JSON text that moves forward once; `line` is that of the last value."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._decoder = json.JSONDecoder(object_pairs_hook=_unique_pairs)
        self._counted, self.line = 0, 1

    def _skip_space(self) -> None:
        match = _JSON_SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def mark(self, expected: str) -> str:
        """Pass one of the expected punctuation marks."""
        self._skip_space()
        character = self._text[self._at : self._at + 1]
        if not character or character not in expected:
            raise json.JSONDecodeError(f"expected one of {' '.join(expected)}", self._text, self._at)
        self._at += 1
        return character

    def next_is(self, character: str) -> bool:
        self._skip_space()
        return self._text.startswith(character, self._at)

    def value(self) -> object:
        self._skip_space()
        self.line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        value, self._at = self._decoder.raw_decode(self._text, self._at)
        return value

    def entry(self, *, is_map: bool) -> Entry:
        first = self.value()
        line = self.line
        if not is_map:
            return _from_object(line, first)
        if not isinstance(first, str):
            raise json.JSONDecodeError("expected an id in double quotes", self._text, self._at)
        self.mark(":")
        entry = _from_pair(line, first, self.value())
        self.line = line
        return entry

    def end(self) -> None:
        self._skip_space()
        if self._at < len(self._text):
            raise json.JSONDecodeError("more text after the end", self._text, self._at)


def _unique_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a field is named twice in {[key for key, _ in pairs]}; name each once")
    return found


def yaml_entries(path: Path, text: str) -> Iterator[Entry]:
    """One map {id: prompt} or {id: {prompt, category}}."""
    root = parse_yaml(path, text).root
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise RowError(path, line_of(root), "the file must be one map {id: prompt}")
    for key, value in root.value:
        prompt_id = _yaml_text(path, key, "id", any_type=True)
        if not isinstance(value, yaml.MappingNode):
            yield Entry(line_of(key), prompt_id, _yaml_text(path, value, "prompt"))
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

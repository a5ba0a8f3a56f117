"""Reads study.yaml; every complaint names the file and the line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from qsched.errors import InputError, RowError
from study_server.studies.comparisons import MisfitError
from study_server.studies.design import StudyDesign

MAX_BYTES = 1_000_000
# A study needs four levels; PyYAML walks nodes by recursion.
MAX_DEPTH = 20
_QUOTED = re.compile(r""""[^"]*"|'[^']*'""")


class _Loader(yaml.SafeLoader):
    """SafeLoader whose complaint about an impossible date or number has a line too."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            problem = f"{node.value!r} cannot be read ({error}); put it in quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


def read_study_file(path: Path) -> StudyDesign:
    """The design in `path`; RowError with the line of the first value that breaks a rule."""
    text = _read_text(path)
    try:
        _refuse_aliases_and_depth(text, path)
        root = yaml.compose(text, Loader=_Loader)
        if not isinstance(root, yaml.MappingNode):
            raise RowError(path, 1, "a study file is a mapping of keys; `qsched study init` writes one")
        _refuse_odd_keys(root, path)
        values = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        raise RowError(path, line, f"not valid YAML: {error.problem}{_quotes_hint(text, line)}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from error
    try:
        return StudyDesign.model_validate(values)
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        location = tuple(part for part in item["loc"] if isinstance(part, int) or not part.startswith("tuple["))
        raise RowError(path, line_of(root, location), _problem_of(item, location)) from error


@contextmanager
def lines_of(path: Path) -> Iterator[None]:
    """Within it, what in the study.yaml of `path` does not fit the image set is a RowError with its line."""
    try:
        yield
    except MisfitError as error:
        if not path.is_file():  # a bare image set, whose design nobody wrote
            raise
        root = yaml.compose(_read_text(path), Loader=_Loader)
        line = 1 if root is None else line_of(root, error.location)
        raise RowError(path, line, str(error)) from error


def line_of(root: yaml.Node, location: tuple[int | str, ...]) -> int:
    """The line of the deepest part of `location` that the file has."""
    node, line = root, root.start_mark.line + 1
    for part in location:
        found: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    found, line = value, key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node.value[part]
            line = found.start_mark.line + 1
        if found is None:
            break
        node = found
    return line


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; `qsched study init FOLDER` writes a study.yaml") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path} has {len(data)} bytes; a study.yaml has at most {MAX_BYTES}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error}") from error


def _problem_of(item: ErrorDetails, location: tuple[int | str, ...]) -> str:
    words = ".".join(str(part) for part in location) or "study"
    if location[:1] == ("comparisons",):
        # Pydantic complains of each form in turn; the first is the wrong one as a rule.
        return "comparisons is all, adaptive, {baseline: ARM} or a list of pairs of arms, [[A, B], [B, C]]"
    if item["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(location))
        return f"unknown key {words!r}" + (f"; the keys here are {known}" if known else "")
    if item["type"] == "missing":
        return f"{words} is missing"
    problem = f"{words}: {item['msg'].removeprefix('Value error, ')} (got {item['input']!r:.100})"
    if item["type"] == "string_type" and not isinstance(item["input"], list | dict):
        # YAML reads 12345, 2 and 2026-01-01 as numbers and dates, yes and no as true and false.
        problem += "; put it in quotes"
    return problem


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Names of the section that holds the last part of `location`, for the top level only."""
    return sorted(StudyDesign.model_fields) if len(location) == 1 else []


def _quotes_hint(text: str, line: int) -> str:
    """What to do where the line holds a ? or a second : in an unquoted text, which YAML takes for its own."""
    lines = text.splitlines()
    bare = _QUOTED.sub("", lines[line - 1]) if line <= len(lines) else ""
    if any("?" in part or part.count(":") > 1 for part in re.split(r"[{}\[\],]", bare)):
        return "; a text with ? or : stands in quotes: put the text in quotes"
    return ""


def _refuse_aliases_and_depth(text: str, path: Path) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = 1 if event.start_mark is None else event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            # An alias can make a small file unpack to gigabytes; a study needs none.
            raise RowError(path, line, "aliases (&name, *name) are not taken; write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise RowError(path, line, f"more than {MAX_DEPTH} brackets or lists in one another; a study has four")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _refuse_odd_keys(node: yaml.Node, path: Path) -> None:
    for child in _children(node):
        _refuse_odd_keys(child, path)
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise RowError(path, line, "a list or a mapping stands where a key should; write key: value")
            if key.value in keys:
                raise RowError(path, line, f"key {key.value!r} stands twice")
            keys.add(key.value)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []

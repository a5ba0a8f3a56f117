"""Reads study.yaml; every complaint names the file and the line."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from qsched.errors import InputError, RowError
from study_server.studies.design import StudyDesign

MAX_BYTES = 1_000_000


def read_study_file(path: Path) -> StudyDesign:
    """The design in `path`; RowError with the line of the first value that breaks a rule."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path} has {len(data)} bytes; a study.yaml has at most {MAX_BYTES}")
    try:
        text = data.decode()
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        raise RowError(path, line, f"not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(root, yaml.MappingNode):
        raise RowError(path, 1, "a study file is a mapping of keys; `qsched study init` writes one")
    _refuse_aliases_and_duplicates(root, path)
    try:
        return StudyDesign.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        location = tuple(part for part in item["loc"] if isinstance(part, int) or not part.startswith("tuple["))
        words = ".".join(str(part) for part in location) or "study"
        if item["type"] == "extra_forbidden":
            known = ", ".join(_known_keys(location))
            problem = f"unknown key {words!r}" + (f"; the keys here are {known}" if known else "")
        elif item["type"] == "missing":
            problem = f"{words} is missing"
        else:
            problem = f"{words}: {item['msg'].removeprefix('Value error, ')} (got {item['input']!r:.100})"
        raise RowError(path, line_of(root, location), problem) from error


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


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Names of the section that holds the last part of `location`, for the top level only."""
    return sorted(StudyDesign.model_fields) if len(location) == 1 else []


def _refuse_aliases_and_duplicates(node: yaml.Node, path: Path, seen: frozenset[int] = frozenset()) -> None:
    # An alias can make a small file unpack to gigabytes; a study needs none.
    for child in _children(node):
        if child.start_mark.index < node.start_mark.index:
            raise RowError(path, node.start_mark.line + 1, "aliases (&name, *name) are not taken; write the value out")
        _refuse_aliases_and_duplicates(child, path)
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, _ in node.value:
            if key.value in keys:
                raise RowError(path, key.start_mark.line + 1, f"key {key.value!r} stands twice")
            keys.add(key.value)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []

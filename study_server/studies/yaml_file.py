"""Reads study.yaml; every complaint names the file and the line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from qsched.errors import RowError
from qsched.records.yaml_file import YamlFile, YamlSyntaxError, read_yaml
from study_server.studies.comparisons import MisfitError
from study_server.studies.design import StudyDesign
from study_server.studies.section import PlacedError

MAX_BYTES = 1_000_000
_QUOTED = re.compile(r""""[^"]*"|'[^']*'""")


def read_study_file(path: Path) -> StudyDesign:
    """The design in `path`; RowError with the line of the first value that breaks a rule."""
    file = _read(path)
    if not isinstance(file.root, yaml.MappingNode):
        raise RowError(path, 1, "a study file is a mapping of keys; `qsched study init` writes one")
    try:
        return StudyDesign.model_validate(file.values())
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        location = tuple(part for part in item["loc"] if isinstance(part, int) or not part.startswith("tuple["))
        broken = item.get("ctx", {}).get("error")
        if isinstance(broken, PlacedError):
            # Said of the whole file, whose rule it is; its words name the key.
            raise RowError(path, file.line_of(broken.location), str(broken)) from error
        raise RowError(path, file.line_of(location), _problem_of(item, location)) from error


def _read(path: Path) -> YamlFile:
    try:
        return read_yaml(path, max_bytes=MAX_BYTES, missing="`qsched study init FOLDER` writes a study.yaml")
    except YamlSyntaxError as error:
        text = path.read_text(encoding="utf-8", errors="replace")
        raise RowError(path, error.line, error.problem + _quotes_hint(text, error.line)) from error


@contextmanager
def lines_of(path: Path) -> Iterator[None]:
    """Within it, what in the study.yaml of `path` does not fit the image set is a RowError with its line."""
    try:
        yield
    except MisfitError as error:
        if not path.is_file():  # a bare image set, whose design nobody wrote
            raise
        raise RowError(path, _read(path).line_of(error.location), str(error)) from error


def _problem_of(item: ErrorDetails, location: tuple[int | str, ...]) -> str:
    words = ".".join(str(part) for part in location) or "study"
    if location[:1] == ("comparisons",):
        # Pydantic complains of each form in turn; the first is the wrong one as a rule.
        return "comparisons is all, adaptive, {baseline: ARM} or a list of pairs of arms, [[A, B], [B, C]]"
    if item["type"] == "extra_forbidden":
        known = _known_keys(location)
        if near := get_close_matches(words, known, n=1):
            return f"unknown key {words!r}; did you mean {near[0]!r}?"
        return f"unknown key {words!r}" + (f"; the keys here are {', '.join(known)}" if known else "")
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
        return "; put a text that contains ? or : in quotes"
    return ""

"""Read a YAML file so that every complaint can name the line; nothing is skipped, doubled or executed.

Refused with the line of the mistake: text that is not UTF-8 or not YAML, a key that is given twice, a key that is a
list, tags, aliases (an alias can make a small file unpack to gigabytes), and nesting beyond MAX_DEPTH. The values are
plain YAML: text, numbers, dates, true and false, lists and mappings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from qsched.errors import InputError, RowError

# PyYAML walks nodes by recursion.
MAX_DEPTH = 20
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlSyntaxError(RowError):
    """The text is not YAML."""


class _Constructor(yaml.SafeLoader):
    """SafeLoader whose complaint about an impossible date or number has a line too."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            problem = f"{node.value!r} cannot be read ({error}); put it in quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


@dataclass(frozen=True)
class YamlFile:
    """A file that was read: its text and its nodes, which know their lines. `root` is None for an empty file."""

    path: Path
    text: str
    root: yaml.Node | None

    def values(self) -> Any:
        """The file as plain Python values; RowError for a value that YAML cannot construct."""
        if self.root is None:
            return None
        try:
            return _Constructor("").construct_document(self.root)
        except yaml.MarkedYAMLError as error:
            raise _syntax_error(self.path, error) from error

    def line_of(self, location: tuple[int | str, ...]) -> int:
        """The line of the deepest part of `location` (keys and list positions) that the file has."""
        node, line = self.root, 1
        if node is not None:
            line = line_of(node)
        for part in location:
            child: yaml.Node | None = None
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == str(part):
                        child, line = value, line_of(key)
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                child = node.value[part]
                line = line_of(child)
            if child is None:
                break
            node = child
        return line


def read_yaml(path: Path, *, max_bytes: int, missing: str = "") -> YamlFile:
    """Read and check a file. `missing` is the remedy that is named if there is no such file."""
    return parse_yaml(path, read_utf8(path, max_bytes=max_bytes, missing=missing))


def parse_yaml(path: Path, text: str) -> YamlFile:
    """Check the text of a file that was read already; `path` is for the messages."""
    try:
        _refuse_aliases_and_depth(path, text)
        root = yaml.compose(text, Loader=_PARSER)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(path, error) from error
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
        raise YamlSyntaxError(path, line, f"not valid YAML: {str(error).splitlines()[0]}") from error
    if root is not None:
        _refuse_repeated_keys(path, root)
    return YamlFile(path, text, root)


def read_utf8(path: Path, *, max_bytes: int, missing: str = "") -> str:
    """The text of a file of at most `max_bytes`; InputError or RowError with the remedy."""
    try:
        if path.stat().st_size > max_bytes:
            raise InputError(f"{path} has {path.stat().st_size:,} bytes; at most {max_bytes:,} are read")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist" + (f"; {missing}" if missing else "")) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RowError(path, line, f"byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8") from error


def line_of(node: yaml.Node) -> int:
    """Line of a node, counted from 1."""
    return int(node.start_mark.line) + 1


def _syntax_error(path: Path, error: yaml.MarkedYAMLError) -> YamlSyntaxError:
    mark = error.problem_mark or error.context_mark
    if isinstance(error, yaml.composer.ComposerError):
        return YamlSyntaxError(path, 1 if mark is None else mark.line + 1, "a second document begins; keep one")
    return YamlSyntaxError(path, 1 if mark is None else mark.line + 1, f"not valid YAML: {error.problem or error}")


def _refuse_aliases_and_depth(path: Path, text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_PARSER):
        line = 1 if event.start_mark is None else event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise RowError(path, line, "aliases (&name, *name) are not allowed; write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in ("!", "tag:yaml.org,2002:str"):
            raise RowError(path, line, f"tag {tag}: tags are not allowed; write the plain value")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise RowError(path, line, f"lists and mappings are nested more than {MAX_DEPTH} deep; flatten them")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _refuse_repeated_keys(path: Path, node: yaml.Node) -> None:
    for child in _children(node):
        if not isinstance(child, yaml.ScalarNode):
            _refuse_repeated_keys(path, child)
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise RowError(path, line_of(key), "a list or a mapping is used as a key; write key: value")
            if key.value in first:
                problem = f"key {key.value!r} is given twice, first on line {first[key.value]}; rename or remove one"
                raise RowError(path, line_of(key), problem)
            first[key.value] = line_of(key)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []

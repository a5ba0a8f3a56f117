"""One YAML reader: every value knows its line, and what could surprise is refused with its line."""

from __future__ import annotations

import datetime
import tracemalloc

import pytest

from qsched.errors import InputError, RowError
from qsched.records.yaml_file import YamlSyntaxError, parse_yaml, read_yaml

TEXT = "a: 1\nb:\n  - x\n  - {c: 2, d: 2026-01-31}\n"


def test_values_are_plain_yaml_and_every_part_knows_its_line(tmp_path):
    file = parse_yaml(tmp_path, TEXT)
    assert file.values() == {"a": 1, "b": ["x", {"c": 2, "d": datetime.date(2026, 1, 31)}]}
    lines = [file.line_of(place) for place in [(), ("a",), ("b",), ("b", 1, "d"), ("b", 9), ("z",)]]
    assert lines == [1, 1, 2, 4, 2, 1]
    assert parse_yaml(tmp_path, "").values() is None


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' is given twice, first on line 1"),
        ("a:\n  - {x: 1, x: 2}\n", 2, "key 'x' is given twice"),
        ("a: &n 1\nb: *n\n", 2, "aliases"),
        ("a: !!python/name:os.system x\n", 1, "tags are not allowed"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("? [a, b]\n: 1\n", 1, "used as a key"),
        ("a: 1\nb: " + "[" * 3000 + "\n", 2, "nested more than 20 deep|exceeded maximum nesting depth"),
    ],
)
def test_what_could_surprise_is_refused_with_its_line(tmp_path, text, line, problem):
    with pytest.raises(RowError, match=problem) as caught:
        parse_yaml(tmp_path, text)
    assert caught.value.line == line


def test_an_impossible_date_has_a_line(tmp_path):
    with pytest.raises(YamlSyntaxError, match=r":2: .*'2026-13-45' cannot be read.*put it in quotes"):
        parse_yaml(tmp_path, "a: 1\nb: 2026-13-45\n").values()


def test_bytes_size_and_absence_are_input_errors(tmp_path):
    path = tmp_path / "f.yaml"
    with pytest.raises(InputError, match="does not exist; write one"):
        read_yaml(path, max_bytes=10, missing="write one")
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(RowError, match=r"2: byte 0xff is not UTF-8"):
        read_yaml(path, max_bytes=10)
    with pytest.raises(InputError, match="at most 5 are read"):
        read_yaml(path, max_bytes=5)


def test_an_alias_bomb_is_refused_before_it_unpacks(tmp_path):
    levels = "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8))
    tracemalloc.start()
    with pytest.raises(RowError, match="aliases"):
        parse_yaml(tmp_path, "a: &a [x, x]\n" + levels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20

"""Prompt files: every format reads alike, and every hostile one is an error with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsched.errors import InputError, RowError
from qsched.generation import Prompt, read_prompts

EXPECTED = [Prompt("a", "a red ring", "rings"), Prompt("b", "a blue dot, small"), Prompt("c", 'a "green" ring')]
SAME = {
    "p.yaml": 'a: {prompt: a red ring, category: rings}\n# note\nb: "a blue dot, small"\nc: a "green" ring\n',
    "p.json": '{"a": {"prompt": "a red ring", "category": "rings"},\n "b": "a blue dot, small",\n'
    ' "c": "a \\"green\\" ring"}',
    "q.json": '[{"id": "a", "prompt": "a red ring", "category": "rings"},\n'
    '{"id": "b", "prompt": "a blue dot, small"},\n{"prompt_id": "c", "prompt": "a \\"green\\" ring"}]\n',
    "p.jsonl": '{"id": "a", "prompt": "a red ring", "category": "rings"}\n{"id": "b", "prompt": "a blue dot, small"}\n'
    '{"id": "c", "prompt": "a \\"green\\" ring"}\n',
    "p.csv": 'id,prompt,category\na,a red ring,rings\nb,"a blue dot, small",\nc,"a ""green"" ring",\n',
}


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", SAME)
def test_every_format_reads_the_same_prompts(tmp_path: Path, name: str) -> None:
    assert read_prompts(write(tmp_path, name, SAME[name])) == EXPECTED
    assert read_prompts(write(tmp_path, "bom-" + name, b"\xef\xbb\xbf" + SAME[name].encode())) == EXPECTED
    if not name.endswith("csv"):
        assert read_prompts(write(tmp_path, "crlf-" + name, SAME[name].replace("\n", "\r\n"))) == EXPECTED


def test_a_text_file_numbers_its_lines(tmp_path: Path) -> None:
    for text in ("one\ntwo\n", "one\ntwo", "one\r\ntwo\r\n"):
        assert [(p.prompt_id, p.prompt) for p in read_prompts(write(tmp_path, "p.txt", text))] == [
            ("line-0001", "one"),
            ("line-0002", "two"),
        ]


def test_block_scalars_unicode_and_numeric_ids_are_kept_as_written(tmp_path: Path) -> None:
    path = write(tmp_path, "p.yaml", "007: |\n  une fenêtre\n  et un chat 👩‍🚀\n'12.5': ok\n")
    assert read_prompts(path) == [Prompt("007", "une fenêtre\net un chat 👩‍🚀"), Prompt("12.5", "ok")]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
)
# (file, content, line of the error, part of the message)
HOSTILE = [
    ("p.yaml", "a: one\nb: two\na: three\n", 3, "first on line 1"),
    ("p.yaml", "a: one\nb:\n", 2, "empty"),
    ("p.yaml", "a: one\nb: '   '\n", 2, "empty"),
    ("p.yaml", "a: one\nb: 12\n", 2, "quotes"),
    ("p.yaml", "a: one\nb: yes\n", 2, "quotes"),
    ("p.yaml", "a: one\nb: [x, y]\n", 2, "list or map"),
    ("p.yaml", "- a\n- b\n", 1, "one map"),
    ("p.yaml", "just text\n", 1, "one map"),
    ("p.yaml", BOMB, 2, "aliases"),
    ("p.yaml", "a: &x one\nb: *x\n", 2, "alias"),
    ("p.yaml", "a: !!python/object/apply:os.system ['true']\n", 1, "tag"),
    ("p.yaml", "a: !!python/name:os.system x\n", 1, "tag"),
    ("p.yaml", "a: one\n---\nb: two\n", 2, "second document"),
    ("p.yaml", "a: one\n b: two\n", 2, "not valid YAML"),
    ("p.yaml", "a: {prompt: x, prompt: y}\n", 1, "twice"),
    ("p.yaml", "a: {promt: x}\n", 1, "must be prompt"),
    ("p.yaml", "a: one\nb/c: two\n", 2, "slashes"),
    ("p.yaml", 'a: one\n"b\\n": two\n', 2, "control character|spaces"),
    ("p.yaml", 'a: "one\\0two"\n', 1, "U\\+0000"),
    ("p.yaml", "a: one\n" + "x" * 300 + ": two\n", 2, "300 characters"),
    ("p.yaml", "a: " + "y" * 20_001 + "\n", 1, "20001 characters"),
    ("p.yaml", b"a: one\nb: \xff\xfe\n", 2, "not UTF-8"),
    ("p.yaml", "a: " + "[" * 5000 + "\n", 1, "nested"),
    ("p.json", '{"a": "one",\n "a": "two"}', 2, "line 1 already"),
    ("p.json", '{"a": "one",\n "b": null}', 2, "must be text"),
    ("p.json", '{"a": "one",\n "b": }', 2, "not JSON"),
    ("p.json", '{"a": "one"}\n{"b": "two"}', 2, "more text"),
    ("p.json", '["a"]', 1, "not an object"),
    ("p.json", '{"a": "\\ud800"}', 1, "U\\+D800"),
    ("p.json", '[{"id": "a", "prompt": "x", "prompt": "y"}]', 1, "twice"),
    ("p.json", "[" * 100_000, 1, "recursion|not JSON"),
    ("p.jsonl", '{"id": "a", "prompt": "one"}\n\n{"id": "b", "prompt": "two"}\n', 2, "not JSON"),
    ("p.jsonl", '{"id": "a", "prompt": "one"}\n{"id": "a", "prompt": "two"}\n', 2, "line 1 already"),
    ("p.jsonl", '{"id": 3, "prompt": "one"}\n', 1, "must be text"),
    ("p.csv", "id,prompt\na,one\na,two\n", 3, "line 2 already"),
    ("p.csv", "id,prompt\na,one,extra\n", 2, "cells"),
    ("p.csv", "id,prompt\na\n", 2, "cells"),
    ("p.csv", "name,text\na,one\n", 1, "header"),
    ("p.csv", 'id,prompt\na,"two\nlines"\nb,\n', 4, "empty"),
    ("p.csv", 'id,prompt\na,"one\n', 2, "not CSV"),
    ("p.txt", "one\n\ntwo\n", 2, "empty"),
    ("p.txt", "one\n\x07two\n", 2, "U\\+0007"),
]


@pytest.mark.parametrize(
    ("name", "content", "line", "message"), HOSTILE, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(HOSTILE)]
)
def test_a_hostile_file_is_an_error_with_file_and_line(tmp_path: Path, name, content, line, message) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(RowError, match=message) as caught:
        read_prompts(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_files_that_are_not_there_empty_a_folder_or_of_another_kind_are_errors(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").mkdir()
    empty = {"e.yaml": "", "e.csv": "id,prompt\n", "e.txt": "", "e.json": "{}", "p.docx": "x"}
    for path in (tmp_path / "absent.yaml", tmp_path / "d.yaml", *(write(tmp_path, *item) for item in empty.items())):
        with pytest.raises(InputError):
            read_prompts(path)


@pytest.mark.parametrize("character", ["\u200b", "\u202e", "\u2066", "\u00ad", "\u2060", "\ufeff"])
def test_invisible_characters_and_turned_reading_directions_are_refused(tmp_path: Path, character: str) -> None:
    path = write(tmp_path, "p.txt", f"one\na red{character}ring\n")
    with pytest.raises(RowError, match=rf"2: the prompt contains the invisible character U\+{ord(character):04X}"):
        read_prompts(path)


def test_a_csv_column_that_would_not_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RowError, match="1: column 'weight' would not be used"):
        read_prompts(write(tmp_path, "p.csv", "id,prompt,weight\na,one,2\n"))


def test_a_long_json_file_is_read_in_time_that_grows_with_its_length(tmp_path: Path) -> None:
    """Counting lines from the start for every entry took 4 times as long for twice the entries."""
    import time

    def seconds(n: int) -> float:
        path = write(tmp_path, f"{n}.json", "{\n" + ",\n".join(f'"p{i}": "{"word " * 40}"' for i in range(n)) + "}\n")
        started = time.process_time()
        assert len(read_prompts(path)) == n
        return time.process_time() - started

    assert min(seconds(20_000) for _ in range(2)) < 3 * min(seconds(10_000) for _ in range(2))

"""The same votes in every format of a file; a file that cannot be read says on which line and why."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from analysis.votes import read_votes
from qsched.records import InputError, RowError

ROWS = [
    {"model_a": "x", "model_b": "y", "winner": "model_a", "judge": "ann, 1"},
    {"model_a": "y", "model_b": "x", "winner": "tie (bothbad)", "judge": "bob"},
    {"model_a": "x", "model_b": "z", "winner": "model_b", "judge": "bob"},
]


def text(ending: str) -> str:
    if ending == ".json":
        return json.dumps(ROWS)
    if ending in (".jsonl", ".ndjson"):
        return "".join(json.dumps(row) + "\n" for row in ROWS)
    separator = "," if ending == ".csv" else "\t"
    lines = [list(ROWS[0]), *(list(row.values()) for row in ROWS)]
    return "".join(separator.join(f'"{value}"' for value in line) + "\n" for line in lines)


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".ndjson", ".json"])
def test_the_same_votes_from_every_format(tmp_path: Path, ending: str, packed: str) -> None:
    path = tmp_path / f"v{ending}{packed}"
    data = text(ending).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    frame = read_votes(path).frame
    assert frame["left_arm"].to_list() == ["x", "y", "x"] and frame["choice"].to_list() == ["left", "tie", "right"]
    assert frame["annotator"].to_list() == ["ann, 1", "bob", "bob"] and frame["both_bad"].to_list() == [
        False,
        True,
        False,
    ]
    assert frame["row"].to_list() == ([2, 3, 4] if ending in (".csv", ".tsv") else [1, 2, 3])


def test_a_tsv_row_with_too_many_values_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.tsv").write_text("model_a\tmodel_b\twinner\nx\ty\ttie\nx\ty\ttie\tmore\n")
    with pytest.raises(RowError, match=r"v\.tsv:3: there are 4 values for the 3 columns"):
        read_votes(tmp_path / "v.tsv")


def test_commas_in_a_tsv_are_named(tmp_path: Path) -> None:
    (tmp_path / "v.tsv").write_text("model_a,model_b,winner\nx,y,tie\n")
    with pytest.raises(InputError, match="with tabs between the values"):
        read_votes(tmp_path / "v.tsv")


@pytest.mark.parametrize("content", ['{"model_a": "x"', '{"model_a": "x"}\n{"model_a": "y"}\n', ""])
def test_a_json_file_that_is_no_array_of_objects_is_refused_with_the_right_ending(tmp_path: Path, content: str) -> None:
    (tmp_path / "v.json").write_text(content)
    with pytest.raises(InputError, match=r"v\.json"):
        read_votes(tmp_path / "v.json")


def test_a_packed_file_that_is_broken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.jsonl.gz").write_bytes(gzip.compress(text(".jsonl").encode())[:-9])
    with pytest.raises(InputError, match=r"v\.jsonl\.gz"):
        read_votes(tmp_path / "v.jsonl.gz")
    (tmp_path / "w.jsonl.gz").write_bytes(gzip.compress(b'{"model_a": "x"}\nno\n'))
    with pytest.raises(RowError, match=r"w\.jsonl\.gz:2: not JSON"):
        read_votes(tmp_path / "w.jsonl.gz")

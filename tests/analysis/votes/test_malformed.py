"""A file that is not what its ending says is an error with line, rule and remedy, not a library's advice."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from analysis.votes import read_votes
from qsched.records import InputError, RowError

HEADER = "model_a,model_b,winner,judge\n"

BAD = {
    "too many values": (HEADER + "a,b,tie,j1\na,b,model_a\na,b,tie,j1,more\n", 4, "5 values for the 4 columns"),
    "a comma in a name": (
        HEADER + '"a,c",b,tie,j1\na,c,b,tie,j1\n',
        3,
        "Put values with the separator in them in quotes",
    ),
    "an open quote": (HEADER + '"a,b,tie,j1\nc,d,tie,j2\n', 2, "opened and never closed"),
    "an open quote before others": (HEADER + 'a,b,tie,"j1\na,b,tie,"j2"\n', 2, "opened and never closed"),
    "a misplaced quote": (HEADER + 'a,b,tie,"j"1"\n"a,b,tie,j2\n', 2, "misplaced"),
    "text after a quote": (HEADER + 'a,b,tie,"j"1\na,b,tie,j2,"x"\n', 2, "misplaced"),
    "a value of two lines before": (HEADER + 'a,b,tie,"j\n1"\na,b,tie,j1,more\n', 4, "5 values"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_the_first_bad_line_of_a_csv_is_named_with_its_rule(tmp_path: Path, case: str, ending: str):
    text, line, words = BAD[case]
    path = tmp_path / f"v.{ending}"
    path.write_bytes(text.encode() if ending == "csv" else gzip.compress(text.encode()))
    with pytest.raises(RowError) as caught:
        read_votes(path)
    assert str(caught.value).startswith(f"{path}:{line}: ") and words in str(caught.value)
    assert "schema" not in str(caught.value).lower()


def test_a_csv_that_is_not_utf8_is_named_with_its_line_and_how_to_save_it(tmp_path: Path):
    path = tmp_path / "v.csv"
    path.write_bytes((HEADER + 'a,b,tie,j\na,"\nbé",tie,j1\n').encode("latin-1"))
    with pytest.raises(RowError, match=r"v\.csv:4: byte 0xe9 is not UTF-8. Save the file as csv in UTF-8"):
        read_votes(path)
    path.write_bytes((HEADER + "a,b,tie,j\n").encode("utf-16"))
    with pytest.raises(RowError, match=r"v\.csv:1: byte 0xff is not UTF-8"):
        read_votes(path)


def test_a_torn_gzip_file_is_an_error_of_ours(tmp_path: Path):
    (tmp_path / "v.csv.gz").write_bytes(gzip.compress((HEADER + "a,b,tie,j\n" * 50).encode())[:30])
    with pytest.raises(InputError, match=r"v\.csv\.gz"):
        read_votes(tmp_path / "v.csv.gz")


def test_a_column_named_twice_in_a_csv_is_refused(tmp_path: Path):
    path = tmp_path / "v.csv"
    path.write_text("model_a,model_b,winner,winner\na,b,tie,model_a\n")
    with pytest.raises(InputError, match=r"v\.csv has 2 columns 'winner'"):
        read_votes(path)


def test_a_column_that_is_only_called_like_a_second_one_is_no_second_one(tmp_path: Path):
    path = tmp_path / "v.csv"
    path.write_text("model_a,model_b,winner,winner_duplicated_0,,\na,b,tie,model_a,,\n")
    assert read_votes(path).n_votes == 1


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [("model_a", ["x"], "lists"), ("winner", {"is": "tie"}, "objects"), ("judge", ["j"], "lists")],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_column_of_lists_or_objects_is_refused_by_name(tmp_path, column: str, value: object, kind: str, suffix: str):
    frame = pl.DataFrame([{"model_a": "x", "model_b": "y", "winner": "tie", "judge": "j", column: value}] * 2)
    path = tmp_path / f"v{suffix}"
    frame.write_ndjson(path) if suffix == ".jsonl" else frame.write_parquet(path)
    with pytest.raises(InputError, match=rf"column '{column}' holds {kind}"):
        read_votes(path)


def test_columns_of_lists_that_are_no_part_of_a_vote_do_no_harm(tmp_path: Path):
    others = {"conversation": [{"role": "user"}], "tstamp": [1]}
    arena, ours = ("model_a", "model_b", "winner"), ("left_arm", "right_arm", "choice")
    for columns in (arena, ours):
        row = dict(zip(columns, ("x", "y", "tie"), strict=True))
        pl.DataFrame([{**row, **others}]).write_parquet(tmp_path / "v.parquet")
        assert read_votes(tmp_path / "v.parquet").n_votes == 1

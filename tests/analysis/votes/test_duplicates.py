"""The same votes named twice are never counted twice, with or without the ids that tell votes apart."""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path

import polars as pl
import pytest

from analysis.votes import read_votes
from qsched.records import InputError

VOTES = {
    "model_a": ["x", "y", "x", "x"],
    "model_b": ["y", "x", "z", "y"],
    "winner": ["model_a", "tie", "model_b", "model_a"],
    "judge": ["j1", "j2", "j1", "j1"],
    "prompt_id": ["p1", "p2", "p3", "p1"],
    "category": ["c", None, "c", "c"],
}


def write(path: Path, frame: pl.DataFrame | None = None) -> Path:
    frame = pl.DataFrame(VOTES) if frame is None else frame
    writer = {".csv": frame.write_csv, ".jsonl": frame.write_ndjson, ".parquet": frame.write_parquet}
    writer[path.suffix](path)
    return path


def test_a_file_named_twice_is_refused_under_whatever_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "v.csv")
    with pytest.raises(InputError, match=r"v\.csv is named twice.*Name it once"):
        read_votes([path, path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.csv").symlink_to(path)
    for other in ("v.csv", tmp_path / "link.csv", f"../{tmp_path.name}/v.csv"):
        with pytest.raises(InputError, match=r"v\.csv and .*\.csv are the same file"):
            read_votes([path, other])


def test_a_database_named_twice_is_refused(tmp_path: Path):
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("CREATE TABLE votes_table (left_arm, right_arm, choice)")
        connection.execute("INSERT INTO votes_table VALUES ('a', 'b', 'left')")
    connection.close()
    url = f"sqlite:///{tmp_path}/s.db"
    assert read_votes(url).n_votes == 1
    with pytest.raises(InputError, match=r"s\.db is named twice"):
        read_votes([url, url])


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_a_copy_in_another_form_or_order_is_refused_with_both_names_and_the_remedy(tmp_path: Path, suffix: str):
    one, other = write(tmp_path / "one.csv"), write(tmp_path / f"two{suffix}", pl.DataFrame(VOTES).reverse())
    with pytest.raises(InputError) as caught:
        read_votes([one, other])
    words = str(caught.value)
    assert words.startswith(f"{one} and {other} hold the same 4 votes") and "Name one of them" in words


def test_a_copy_is_found_among_three_files_and_without_a_column_of_the_other(tmp_path: Path):
    frame = pl.DataFrame(VOTES)
    one, two = write(tmp_path / "one.csv", frame), write(tmp_path / "two.csv", frame.head(2))
    bare = write(tmp_path / "bare.csv", frame.drop("category"))
    assert read_votes([one, two]).n_votes == 6, "part of another file may be honest repeats"
    with pytest.raises(InputError, match=r"one\.csv and .*bare\.csv hold the same 4 votes"):
        read_votes([one, two, bare])


def test_as_many_votes_that_differ_in_one_value_or_in_how_often_they_occur_are_no_copy(tmp_path: Path):
    frame = pl.DataFrame(VOTES)
    one = write(tmp_path / "one.csv", frame)
    another_judge = frame.with_columns(judge=pl.Series(["j1", "j2", "j1", "j3"]))
    another_number = pl.concat([frame[:3], frame[1:2]])
    for changed in (another_judge, another_number):
        assert read_votes([one, write(tmp_path / "two.csv", changed)]).n_votes == 8


def test_equal_rows_within_one_file_without_times_are_taken_as_repeats(tmp_path: Path):
    assert read_votes(write(tmp_path / "v.csv")).n_votes == 4


def test_a_compressed_copy_is_a_copy(tmp_path: Path):
    path = write(tmp_path / "v.csv")
    (tmp_path / "v.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(InputError, match="hold the same 4 votes"):
        read_votes([path, tmp_path / "v.csv.gz"])


def test_answers_of_several_arms_to_one_question_at_one_time_are_several_votes(tmp_path: Path):
    frame = pl.DataFrame(VOTES).head(3).rename({"prompt_id": "question_id"})
    frame = frame.with_columns(question_id=pl.lit("q1"), judge=pl.lit("j"), session=pl.lit("s"))
    frame = frame.with_columns(served_at=pl.lit("2026-01-01"))
    assert read_votes(write(tmp_path / "v.csv", frame)).n_votes == 3
    with pytest.raises(InputError, match=r"v\.csv:5: the same vote as .*v\.csv:2"):
        read_votes(write(tmp_path / "v.csv", pl.concat([frame, frame[:1]])))

"""Votes are read from every kind of source alike, and a wrong value is an error with its file, row and remedy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analysis.votes import exclude, read_votes
from qsched.records import COLUMNS, InputError, RowError, Vote


def make_rows(n: int = 12) -> list[dict[str, Any]]:
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    rows = []
    for i in range(n):
        vote = Vote(
            study="faces",
            question="overall",
            pair_id=f"pair{i}",
            prompt_id=f"p{i % 4}",
            category=None,
            left_arm="fp16" if i % 2 else "w4a8",
            right_arm="w4a8" if i % 2 else "fp16",
            choice=("left", "right", "tie")[i % 3],
            annotator=f"ann{i % 3}",
            session=f"s{i % 3}",
            served_at=start + timedelta(minutes=i),
            answered_at=start + timedelta(minutes=i, seconds=3),
            response_ms=900 + i,
        )
        rows.append(vote.model_dump(mode="json"))
    return rows


def write(rows: list[dict[str, Any]], path: Path) -> Path:
    frame = pl.DataFrame(rows, infer_schema_length=None, strict=False)
    writer = {".csv": frame.write_csv, ".jsonl": frame.write_ndjson, ".parquet": frame.write_parquet}
    writer[path.suffix](path)
    return path


def make_database(rows: list[dict[str, Any]], path: Path) -> str:
    from sqlalchemy import create_engine, text

    url = f"sqlite:///{path}"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE kept ({', '.join(COLUMNS)})"))
        names = ", ".join(f":{name}" for name in COLUMNS)
        # SQLite's own shapes: booleans as 0 and 1, times as text with a space.
        stored = [
            {**row, "simulated": int(row["simulated"]), "served_at": row["served_at"].replace("T", " ").rstrip("Z")}
            for row in rows
        ]
        connection.execute(text(f"INSERT INTO kept VALUES ({names})"), stored)
        connection.execute(text("CREATE VIEW votes_table AS SELECT * FROM kept"))
    engine.dispose()
    return url


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", "database"])
def test_every_kind_of_source_gives_the_same_table(tmp_path: Path, suffix: str):
    rows = make_rows()
    source = make_database(rows, tmp_path / "s.db") if suffix == "database" else write(rows, tmp_path / f"v{suffix}")
    votes = read_votes(source)
    frame = votes.frame
    assert frame.height == 12 and votes.style == "qsched" and votes.studies == ("faces",)
    for column in ("left_arm", "choice", "annotator", "prompt_id", "kind"):
        assert frame[column].cast(pl.String).to_list() == [row[column] for row in rows]
    assert frame["response_ms"].to_list() == [row["response_ms"] for row in rows]
    assert frame["served_at"].to_list() == [datetime.fromisoformat(row["served_at"]) for row in rows]
    assert frame["simulated"].sum() == 0 and frame["category"].null_count() == 12
    # No estimate uses the strength of a preference or the probability of a draw: they stay in the files.
    assert set(COLUMNS) - {"strength", "selection_probability"} <= set(frame.columns)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("choice", "LEFT", "choice is 'LEFT'; it must be one of left, right, tie, skip"),
        ("choice", " left", "choice is ' left'"),
        ("choice", None, "choice is empty"),
        ("right_arm", "w4a8", "left_arm and right_arm are both 'w4a8'"),
        ("annotator", "", "annotator is empty"),
        ("kind", "trial", "kind is 'trial'; it must be one of task, warmup, practice, gold, instructed, repeat"),
        ("kind", "gold", "expected is empty"),
        ("response_ms", -5, "response_ms is"),
        ("response_ms", 812.5, "whole number"),
        ("simulated", None, "simulated is empty"),
        ("served_at", "noon", "served_at is 'noon'"),
        ("expected", "middle", "expected is 'middle'"),
    ],
)
def test_a_wrong_value_names_file_row_and_rule(tmp_path: Path, suffix: str, column: str, value: object, words: str):
    rows = make_rows()
    rows[6] = {**rows[6], "left_arm": "w4a8", "right_arm": "fp16", column: value}
    path = write(rows, tmp_path / f"v{suffix}")
    with pytest.raises(RowError) as caught:
        read_votes(path)
    assert words in str(caught.value)
    line = 8 if suffix == ".csv" else 7
    assert str(caught.value).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize("column", ["left_arm", "right_arm", "choice"])
def test_a_missing_column_is_named_with_the_file(tmp_path: Path, column: str):
    rows = [{k: v for k, v in row.items() if k != column} for row in make_rows()]
    with pytest.raises(InputError, match=rf"v\.csv has no column '{column}'"):
        read_votes(write(rows, tmp_path / "v.csv"))


def test_columns_that_no_estimate_needs_may_be_missing_and_are_named(tmp_path: Path):
    rows = [{k: row[k] for k in ("left_arm", "right_arm", "choice")} for row in make_rows()]
    votes = read_votes(write(rows, tmp_path / "v.csv"))
    assert {"annotator", "prompt_id", "study"} <= set(votes.missing)
    kept, report = exclude(votes)
    assert kept.n_votes == 12 and any("annotator" in note for note in report.notes)


@pytest.mark.parametrize(
    ("winner", "choice", "both_bad"),
    [
        ("model_a", "left", False),
        ("model_b", "right", False),
        ("tie", "tie", False),
        ("tie (bothbad)", "tie", True),
        ("bothbad", "tie", True),
        ("both_bad", "tie", True),
    ],
)
def test_arena_winners_are_understood(tmp_path: Path, winner: str, choice: str, both_bad: bool):
    rows = [{"model_a": "x", "model_b": "y", "winner": winner, "judge": "j1", "tstamp": 1.5}]
    votes = read_votes(write(rows, tmp_path / "arena.jsonl"))
    (row,) = votes.frame.select("left_arm", "right_arm", "choice", "annotator", "both_bad").rows()
    assert row == ("x", "y", choice, "j1", both_bad) and votes.style == "arena"


def test_an_unknown_arena_winner_is_an_error_and_never_a_tie(tmp_path: Path):
    rows = [{"model_a": "x", "model_b": "y", "winner": w, "judge": "j"} for w in ("model_a", "invalid", "hmm")]
    with pytest.raises(RowError, match=r"arena\.csv:3: winner is 'invalid'.*2 rows"):
        read_votes(write(rows, tmp_path / "arena.csv"))


def test_several_files_are_one_table_and_the_same_vote_twice_is_an_error(tmp_path: Path):
    rows = make_rows()
    one, two = write(rows[:5], tmp_path / "one.csv"), write(rows[5:], tmp_path / "two.parquet")
    votes = read_votes([one, two])
    assert votes.n_votes == 12 and votes.values("source") == (str(one), str(two))
    both = write(rows[4:], tmp_path / "three.jsonl")
    with pytest.raises(InputError, match="the same vote as"):
        read_votes([one, both])


def test_mixed_studies_are_refused_and_questions_are_chosen(tmp_path: Path):
    rows = make_rows()
    rows[3]["study"] = "hands"
    with pytest.raises(InputError, match="2 studies: faces, hands"):
        read_votes(write(rows, tmp_path / "v.csv"))
    assert read_votes(tmp_path / "v.csv", allow_mixed=True).select(study="hands").n_votes == 1
    rows[3]["study"], rows[4]["question"] = "faces", "text"
    votes = read_votes(write(rows, tmp_path / "w.csv"))
    assert votes.questions == ("overall", "text") and votes.select(question="text").n_votes == 1
    with pytest.raises(InputError, match=r"No vote has question 'colour'\. The votes have: 'overall', 'text'"):
        votes.select(question="colour")


def test_ids_that_one_of_several_files_lacks_are_an_error(tmp_path: Path):
    rows = make_rows()
    bare = [{k: v for k, v in row.items() if k != "annotator"} for row in rows[5:]]
    sources = [write(rows[:5], tmp_path / "one.csv"), write(bare, tmp_path / "two.csv")]
    with pytest.raises(InputError, match=r"two\.csv has no column 'annotator'"):
        read_votes(sources)


def test_files_that_are_not_votes_are_refused_in_words(tmp_path: Path):
    empty, folder, odd = tmp_path / "e.csv", tmp_path / "d", tmp_path / "v.xlsx"
    empty.write_text("")
    folder.mkdir()
    odd.write_text("x")
    semicolons = tmp_path / "s.csv"
    semicolons.write_text("left_arm;right_arm;choice\na;b;left\n")
    broken = tmp_path / "b.jsonl"
    broken.write_text('{"left_arm": "a"}\n{"left_arm": \n')
    no_rows = tmp_path / "n.csv"
    no_rows.write_text("left_arm,right_arm,choice\n")
    fake = tmp_path / "f.parquet"
    fake.write_text("not parquet")
    for source, words in (
        (empty, "is empty"),
        (folder, "is a folder"),
        (odd, "ends in '.xlsx'"),
        (semicolons, "single column"),
        (broken, r"b\.jsonl:2: not JSON"),
        (no_rows, "there are no votes"),
        (fake, "cannot be read"),
        (tmp_path / "absent.csv", "does not exist"),
        (f"sqlite:///{tmp_path}/none.db", "does not exist"),
        ("nonsense://", "nonsense"),
    ):
        with pytest.raises(InputError, match=words):
            read_votes(source)
    with pytest.raises(InputError, match="No votes were named"):
        read_votes([])


def test_a_database_without_the_view_is_refused_and_a_password_never_shown(tmp_path: Path):
    import sqlite3

    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(InputError, match="no table or view 'votes_table'"):
        read_votes(f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(InputError) as caught:
        read_votes("postgresql+psycopg://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)


def test_names_in_any_script_and_with_commas_survive_csv(tmp_path: Path):
    rows = make_rows(4)
    for row in rows:
        row["annotator"], row["prompt_id"] = 'Zoë, "the" 猫\nline', "نص"
    votes = read_votes(write(rows, tmp_path / "v.csv"))
    assert votes.values("annotator") == ('Zoë, "the" 猫\nline',) and votes.values("prompt_id") == ("نص",)


def test_a_gold_pair_may_have_a_known_answer_to_one_of_its_questions_only(tmp_path: Path):
    rows = make_rows()
    gold = {**rows[6], "kind": "gold", "pair_id": "known", "question": "overall", "expected": "left"}
    other = {**gold, "question": "match", "expected": None}
    votes = read_votes(write([*rows, gold, other], tmp_path / "v.csv"), allow_mixed=True)
    assert votes.frame.filter(pl.col("kind") == "gold")["expected"].cast(pl.String).to_list() == ["left", None]
    with pytest.raises(RowError, match="expected is empty"):
        read_votes(write([*rows, gold, {**other, "pair_id": "unknown"}], tmp_path / "w.csv"), allow_mixed=True)

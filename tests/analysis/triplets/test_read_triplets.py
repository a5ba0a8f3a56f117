"""Triplet votes are read from every kind of file alike, and a wrong value is an error with its file and row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.triplets import TrapRule, code_triplets, read_triplets, screen
from analysis.votes import read_votes
from qsched.records import InputError, RowError
from tests.analysis.triplets.drawn import aic_rows, draw_rows, write_rows


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return draw_rows(damages={"w4a4": 0.5}, plain=60, boosted=30, people=6, prompts=8)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_kind_of_file_gives_the_same_table(tmp_path: Path, rows: list[dict[str, Any]], suffix: str):
    table = read_triplets(write_rows(rows, tmp_path / f"votes{suffix}"))
    assert table.layout == "qsched" and table.n_votes == len(rows)
    assert table.reference == "fp16"
    frame = table.frame
    for name in ("prompt_id", "left_arm", "right_arm", "presentation", "answer", "annotator", "kind", "factor", "zoom"):
        assert frame[name].to_list() == [row[name] for row in rows], name
    assert frame["row"][0] == (2 if suffix == ".csv" else 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answer": "tie"}, "answer is 'tie'; it must be left, not sure, right, skip"),
        ({"presentation": "fast"}, "it must be plain, boosted"),
        ({"annotator": ""}, "annotator is empty"),
        ({"annotator": " a1"}, "blanks around it"),
        ({"left_arm": "w4a4", "right_arm": "w4a4"}, "one picture twice is kind 'bias'"),
        ({"kind": "trap", "left_arm": "fp16", "right_arm": "fp16"}, "on one side only"),
        ({"kind": "bias", "left_arm": "fp16", "right_arm": "w4a4"}, "a bias item shows one picture twice"),
        ({"presentation": "boosted"}, "a boosted vote needs them all"),
        ({"response_ms": "fast"}, "it is not a whole number"),
        ({"zoom": 0}, "it must be 1 or more"),
        ({"answered_at": "1772368000"}, "it is not a time such as"),
    ],
)
def test_a_wrong_value_is_an_error_with_its_row(
    tmp_path: Path, rows: list[dict[str, Any]], change: dict[str, Any], words: str
):
    first = next(i for i, row in enumerate(rows) if row["kind"] == "task" and row["presentation"] == "plain")
    changed = [row | change if i == first else row for i, row in enumerate(rows)]
    with pytest.raises(RowError, match=words) as caught:
        read_triplets(write_rows(changed, tmp_path / "votes.csv"))
    assert caught.value.line == first + 2


def test_preference_votes_and_missing_columns_are_named(tmp_path: Path):
    path = write_rows([{"left_arm": "a", "right_arm": "b", "choice": "left"}], tmp_path / "votes.csv")
    with pytest.raises(InputError, match=r"has no column 'prompt_id', 'reference_arm'.*winrates` reads those"):
        read_triplets(path)


def test_the_same_vote_twice_is_refused(tmp_path: Path, rows: list[dict[str, Any]]):
    with pytest.raises(InputError, match="more than once"):
        read_triplets(write_rows([*rows, rows[3]], tmp_path / "votes.csv"))
    path = write_rows(rows, tmp_path / "again.csv")
    with pytest.raises(InputError, match="named twice"):
        read_triplets([path, path])


def test_codes_say_what_the_rows_say(tmp_path: Path, rows: list[dict[str, Any]]):
    table = screen(read_triplets(write_rows(rows, tmp_path / "votes.parquet")), TrapRule(share=0, least=0)).table
    codes = code_triplets(table)
    assert codes.pictures == ("fp16", "broken", "w4a4")
    for at, row in enumerate(rows):
        assert codes.pictures[codes.left[at]] == row["left_arm"]
        assert codes.pictures[codes.right[at]] == row["right_arm"]
        assert ("left", "not sure", "right")[codes.answer[at]] == row["answer"]
        assert codes.people[codes.person[at]] == row["annotator"]
        assert codes.prompts[codes.prompt[at]] == row["prompt_id"]
        assert ("task", "trap", "bias")[codes.kind[at]] == row["kind"]


def test_screening_leaves_out_who_fails_the_traps_and_counts_everything(rows: list[dict[str, Any]], tmp_path: Path):
    wrong = {"left": "right", "right": "left", "not sure": "left"}
    changed = []
    for row in rows:
        expected = "right" if row["left_arm"] == "fp16" else "left"
        answer = wrong[expected] if row["kind"] == "trap" and row["annotator"] == "a002" else row["answer"]
        changed.append(row | {"answer": answer})
    changed[0] = changed[0] | {"answer": "skip"}
    table = read_triplets(write_rows(changed, tmp_path / "votes.parquet"))
    found = screen(table)
    excluded = {reason: (votes, people) for reason, votes, people in found.excluded}
    assert excluded["skipped or not answered"] == (1, 1)
    of_a002 = sum(row["annotator"] == "a002" for row in rows)
    assert excluded["people with under 70 % of their traps right"] == (of_a002, 1)
    assert found.table.n_votes + sum(votes for _, votes, _ in found.excluded) == found.n_read == len(rows)
    assert "a002" not in found.table.values("annotator")
    with pytest.raises(InputError, match="No vote is left after screening"):
        screen(table, TrapRule(least=100))


def test_aic3_files_are_read_with_levels_traps_and_methods(tmp_path: Path):
    boosted = aic_rows(damages=(0.5, 1.5), each=2, workers=4, method="BTC")
    plain = [row | {"method": "IPTC", "toggle_count": 3} for row in aic_rows(damages=(0.5, 1.5), each=2, workers=4)]
    plain[0]["response"] = ""
    paths = [write_rows(boosted, tmp_path / "btc.csv"), write_rows(plain, tmp_path / "ptc.csv")]
    table = read_triplets(paths)
    assert table.layout == "aic-3" and table.n_votes == len(boosted) + len(plain)
    assert table.reference == "source"
    assert table.values("presentation") == ("boosted", "plain")
    assert "codec1-level02" in table.values("left_arm") and "img06" in table.values("prompt_id")
    assert len(table.values("annotator")) == 8, "worker 1 of one method is not worker 1 of the other"
    kinds = table.frame["kind"].value_counts().sort("kind")
    assert dict(zip(kinds["kind"], kinds["count"], strict=True)) == {
        "bias": 2 * sum(row["is_bias"] for row in boosted),
        "task": 2 * sum(not row["is_bias"] and not row["is_trap"] for row in boosted),
        "trap": 2 * sum(row["is_trap"] for row in boosted),
    }
    assert (table.frame["answer"] == "skip").sum() == 1
    assert set(table.frame["response_ms"].to_list()) == {3250}


def test_an_unknown_method_or_response_of_an_aic3_file_is_an_error(tmp_path: Path):
    for change, words in (({"method": "XYZ"}, "presentation is 'XYZ'"), ({"response": "both"}, "answer is 'both'")):
        made = aic_rows(damages=(0.5,), each=1, workers=2)
        made[4] |= change
        with pytest.raises(RowError, match=words):
            read_triplets(write_rows(made, tmp_path / "votes.csv"))


@pytest.mark.parametrize("rows", [draw_rows(damages={"a": 0.3}, plain=4), aic_rows(damages=[0.3], each=1, workers=4)])
def test_triplets_are_no_preferences_and_the_error_names_their_commands(rows: list[dict[str, Any]], tmp_path: Path):
    with pytest.raises(
        InputError, match="triplet votes of a fidelity study; read them with `qsched certify` or `qsched jnd`"
    ):
        read_votes(str(write_rows(rows, tmp_path / "votes.csv")))

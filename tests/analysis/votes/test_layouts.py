"""Votes in the columns of other tools: thirty layouts of the same or like votes, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analysis.votes import Asked, parse_map, parse_outcomes, read_votes
from analysis.votes.summary import summary_lines
from qsched.records import InputError, RowError

#: (left, right, choice) of the votes that most layouts hold.
VOTES = [("x", "y", "left"), ("y", "z", "right"), ("x", "z", "tie")]
#: The same without sides: the arm first in the alphabet on the left.
RANKED = [("x", "y", "left"), ("x", "z", "left"), ("y", "z", "left")]


def table(left: str, right: str, choice: str, words: dict[str, str], **more: list[Any]) -> dict[str, list[Any]]:
    columns = {left: [a for a, _, _ in VOTES], right: [b for _, b, _ in VOTES], choice: [words[c] for *_, c in VOTES]}
    return columns | more


LRT = {"left": "left", "right": "right", "tie": "tie"}
AB = {"left": "a", "right": "b", "tie": "tie"}
NUMBERS = {"left": "1", "right": "2", "tie": "0"}
ARENA = {"left": "model_a", "right": "model_b", "tie": "tie (bothbad)"}
BY_NAME = {0: "x", 1: "z", 2: "tie"}
WORKERS: dict[str, list[Any]] = {"worker_id": ["p", "q", "p"], "item_id": ["i", "j", "k"]}

#: name: (file's ending, its columns, --map, --outcome, expected votes, whether a guess needs --yes)
LAYOUTS: dict[str, tuple[str, Any, str, str, list[tuple[str, str, str]], bool]] = {
    "our own": (".csv", table("left_arm", "right_arm", "choice", LRT), "", "", VOTES, False),
    "our own, other words": (
        ".csv",
        table("left_arm", "right_arm", "choice", NUMBERS),
        "",
        "1=left,2=right,0=tie",
        VOTES,
        False,
    ),
    "arena": (".csv", table("model_a", "model_b", "winner", ARENA), "", "", VOTES, False),
    "arena in a json array": (".json", table("model_a", "model_b", "winner", ARENA), "", "", VOTES, False),
    "arena in jsonl.gz": (".jsonl.gz", table("model_a", "model_b", "winner", ARENA), "", "", VOTES, False),
    "arena in tsv": (".tsv", table("model_a", "model_b", "winner", ARENA), "", "", VOTES, False),
    "arena, odd words": (
        ".csv",
        table("model_a", "model_b", "winner", {"left": "A", "right": "B", "tie": "T"}),
        "",
        "A=left,B=right,T=tie",
        VOTES,
        False,
    ),
    "a/b": (".csv", table("model_1", "model_2", "label", AB, **WORKERS), "", "", VOTES, True),
    "a/b, mapped": (
        ".csv",
        table("model_1", "model_2", "label", AB),
        "left=model_1,right=model_2,winner=label",
        "a=left,b=right",
        VOTES,
        False,
    ),
    "left/right/winner": (".csv", table("left", "right", "winner", LRT), "", "", VOTES, True),
    "capitals and blanks": (
        ".csv",
        table("Model A", "Model B", "Preference", {"left": "A", "right": "B", "tie": "Tie"}),
        "",
        "",
        VOTES,
        True,
    ),
    "numbers, said": (".csv", table("system1", "system2", "vote", NUMBERS), "", "1=left,2=right,0=tie", VOTES, True),
    "any names, mapped": (
        ".csv",
        table("foo", "bar", "baz", NUMBERS),
        "left=foo,right=bar,winner=baz",
        "1=left,2=right,0=tie",
        VOTES,
        False,
    ),
    "parquet": (".parquet", table("method_a", "method_b", "judgement", AB), "", "", VOTES, True),
    "winner by name": (
        ".csv",
        {"arm_a": ["x", "y", "x"], "arm_b": ["y", "z", "z"], "winner": ["x", "z", "tie"]},
        "",
        "",
        VOTES,
        True,
    ),
    "winner by name, mapped": (
        ".csv",
        {"l": ["x", "y", "x"], "r": ["y", "z", "z"], "w": ["x", "z", "draw"]},
        "left=l,right=r,winner=w",
        "draw=tie",
        VOTES,
        False,
    ),
    "images": (".csv", table("image_left", "image_right", "answer", LRT), "", "", VOTES, True),
    "one-hot": (
        ".csv",
        {
            "model_a": ["x", "y", "x"],
            "model_b": ["y", "z", "z"],
            "winner_model_a": [1, 0, 0],
            "winner_model_b": [0, 1, 0],
            "winner_tie": [0, 0, 1],
        },
        "",
        "",
        VOTES,
        True,
    ),
    "one-hot, true and false": (
        ".parquet",
        {"model_a": ["x", "y"], "model_b": ["y", "z"], "wins_a": [True, False], "wins_b": [False, True]},
        "",
        "",
        VOTES[:2],
        True,
    ),
    "counts": (
        ".csv",
        {"model_a": ["x", "y"], "model_b": ["y", "z"], "wins_a": [2, 0], "wins_b": [1, 0], "ties": [0, 1]},
        "",
        "",
        [("x", "y", "left"), ("x", "y", "left"), ("x", "y", "right"), ("y", "z", "tie")],
        True,
    ),
    "scores of both": (
        ".csv",
        {
            "model_a": ["x", "y", "x"],
            "model_b": ["y", "z", "z"],
            "score_a": ["4.5", "1", "3"],
            "score_b": ["4", "2", "3.0"],
        },
        "",
        "",
        VOTES,
        True,
    ),
    "winner and loser": (
        ".csv",
        {"winner": ["x", "z"], "loser": ["y", "x"]},
        "",
        "",
        [("x", "y", "left"), ("x", "z", "right")],
        False,
    ),
    "chosen and rejected": (
        ".jsonl",
        {"better": ["x", "z"], "worse": ["y", "x"]},
        "",
        "",
        [("x", "y", "left"), ("x", "z", "right")],
        True,
    ),
    "ratings to be paired": (
        ".csv",
        {"model": ["x", "y", "z"], "rater": ["p"] * 3, "prompt": ["i"] * 3, "rating": [5, 3, 1]},
        "",
        "",
        RANKED,
        True,
    ),
    "ratings with a tie": (
        ".csv",
        {"model": ["x", "y"], "rater": ["p"] * 2, "prompt": ["i"] * 2, "mos": [4, 4]},
        "",
        "",
        [("x", "y", "tie")],
        True,
    ),
    "ranks, one arm per row": (
        ".csv",
        {"method": ["z", "x", "y"], "user": ["p"] * 3, "prompt": ["i"] * 3, "rank": [3, 1, 2]},
        "",
        "",
        RANKED,
        True,
    ),
    "ranking as text": (".csv", {"ranking": ["x > y > z"], "annotator": ["p"]}, "", "", RANKED, True),
    "ranking with ties": (
        ".csv",
        {"ranking": ["y>x=z"]},
        "",
        "",
        [("x", "y", "right"), ("x", "z", "tie"), ("y", "z", "left")],
        True,
    ),
    "ranking as a list": (".jsonl", {"ranking": [["x", "y", "z"]]}, "", "", RANKED, True),
    "rank columns": (
        ".csv",
        {"rank_1": ["x"], "rank_2": ["y"], "rank_3": ["z"], "worker": ["p"]},
        "",
        "",
        RANKED,
        True,
    ),
    "first, second, third": (".csv", {"First": ["x"], "Second": ["y"], "Third": ["z"]}, "", "", RANKED, True),
    "weights beside other columns": (
        ".csv",
        table("model_1", "model_2", "label", AB, times=[2, 1, 0]),
        "",
        "",
        [VOTES[0], VOTES[0], VOTES[1]],
        True,
    ),
}


def write(folder: Path, ending: str, columns: dict[str, list[Any]]) -> Path:
    path, frame = folder / f"votes{ending}", pl.DataFrame(columns)
    rows = frame.to_dicts()
    if ending == ".parquet":
        frame.write_parquet(path)
    elif ending in (".csv", ".tsv"):
        frame.write_csv(path, separator="," if ending == ".csv" else "\t")
    elif ending == ".json":
        path.write_text(json.dumps(rows))
    else:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(data) if ending.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", LAYOUTS)
def test_thirty_layouts_give_the_votes_that_they_hold(tmp_path: Path, name: str) -> None:
    ending, columns, said, outcome, expected, guessed = LAYOUTS[name]
    path = write(tmp_path, ending, columns)
    weights = "times" if "times" in columns else None
    asked = Asked(parse_map(said), parse_outcomes(outcome))
    if guessed:
        with pytest.raises(InputError, match=r"is understood as follows: .*add --yes"):
            read_votes(path, asked=asked, weights=weights)
        asked = Asked(asked.columns, asked.outcomes, accept=True)
    votes = read_votes(path, asked=asked, weights=weights)
    found = votes.frame.select(pl.col("left_arm", "right_arm", "choice").cast(pl.String)).rows()
    assert sorted(found) == sorted(expected)
    assert bool(votes.layouts) == (guessed or bool(said or outcome) or name == "winner and loser")


def test_there_are_thirty_layouts() -> None:
    assert len(LAYOUTS) >= 30


def test_other_columns_are_taken_by_their_usual_names_and_the_rest_is_named(tmp_path: Path) -> None:
    columns = table("model_1", "model_2", "label", AB, **WORKERS, browser=["f", "f", "c"])
    votes = read_votes(write(tmp_path, ".csv", columns), asked=Asked(accept=True))
    assert votes.frame["annotator"].to_list() == ["p", "q", "p"] and votes.frame["prompt_id"].to_list() == [
        "i",
        "j",
        "k",
    ]
    assert votes.unused == ("browser",)
    lines = "\n".join(summary_lines(votes))
    assert "3 arms: x, y, z" in lines and "not used: browser" in lines and "winner = label" not in votes.unused
    assert "'a' means left" in lines and "annotator = worker_id" in lines


@pytest.mark.parametrize("word", ["1", "2", "C", "better"])
def test_a_word_whose_meaning_is_unclear_is_never_guessed(tmp_path: Path, word: str) -> None:
    path = write(tmp_path, ".csv", {"model_1": ["x"], "model_2": ["y"], "label": [word]})
    with pytest.raises(InputError, match=rf"column 'label' has '{word}', whose meaning is not clear.*--outcome"):
        read_votes(path, asked=Asked(accept=True))


def test_a_winner_that_is_neither_arm_of_its_row_is_an_error_with_the_row(tmp_path: Path) -> None:
    path = write(tmp_path, ".csv", {"arm_a": ["x", "y"], "arm_b": ["y", "z"], "winner": ["x", "x"]})
    with pytest.raises(RowError, match=r"votes\.csv:3: winner is 'x', which is neither of the row's two arms"):
        read_votes(path, asked=Asked(accept=True))


def test_a_ranking_does_not_become_a_preference_for_a_side(tmp_path: Path) -> None:
    path = write(tmp_path, ".csv", {"ranking": ["x>y>z", "z>y>x"]})
    votes = read_votes(path, asked=Asked(accept=True))
    assert not votes.sides_known
    assert votes.frame["choice"].cast(pl.String).value_counts().sort("choice")["count"].to_list() == [3, 3]
    # The pairs of one ranking depend on each other: the ranking is their cluster, and keeps the number of its row.
    assert votes.frame["annotator"].n_unique() == 2 and votes.frame["row"].to_list() == [2, 2, 2, 3, 3, 3]


def test_two_ratings_of_one_arm_by_one_person_are_not_paired_at_random(tmp_path: Path) -> None:
    columns = {"model": ["x", "x", "y"], "rater": ["p"] * 3, "prompt": ["i"] * 3, "rating": [5, 3, 1]}
    with pytest.raises(RowError, match=r"votes\.csv:2: 'x' has several ratings by one annotator for one prompt"):
        read_votes(write(tmp_path, ".csv", columns), asked=Asked(accept=True))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"model_a": ["x"], "model_b": ["y"], "wins_a": ["1.5"], "wins_b": ["0"]},
            "wins_a is '1.5'; it must be a whole",
        ),
        (
            {"model_a": ["x"], "model_b": ["y"], "score_a": ["good"], "score_b": ["0"]},
            "score_a is 'good'; it must be a",
        ),
        ({"ranking": ["x>x"]}, "must rank 2 to 100 different arms"),
        ({"rank_1": ["x"], "rank_2": [None]}, "must rank 2 to 100 different arms"),
    ],
)
def test_a_wrong_number_or_ranking_is_an_error_with_its_row(
    tmp_path: Path, columns: dict[str, Any], words: str
) -> None:
    with pytest.raises(RowError, match=words):
        read_votes(write(tmp_path, ".csv", columns), asked=Asked(accept=True))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("winer=label", "'winer' is not one of left, right"),
        ("winner", "write NAME=NAME"),
        ("winner=a,choice=b", "'choice' is named twice"),
    ],
)
def test_a_wrong_map_is_an_error(said: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_map(said)


def test_a_column_that_is_not_there_and_columns_that_nobody_knows_are_errors_with_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path, ".csv", {"foo": ["x"], "bar": ["y"]})
    with pytest.raises(InputError, match=r"has no column 'baz'; it has foo, bar"):
        read_votes(path, asked=Asked({"left_arm": "baz"}))
    with pytest.raises(InputError, match=r"its columns are not understood: foo, bar\..*--map"):
        read_votes(path)


def test_an_outcome_of_a_column_with_gaps_is_the_whole_number_that_the_user_sees(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    pl.DataFrame({"model_1": ["x", "y"], "model_2": ["y", "z"], "preference": [1.0, 2.0]}).write_parquet(path)
    votes = read_votes(path, asked=Asked(outcomes=parse_outcomes("1=left,2=right"), accept=True))
    assert votes.frame["choice"].cast(pl.String).to_list() == ["left", "right"]


def test_an_outcome_that_no_row_has_is_no_reason_to_guess(tmp_path: Path) -> None:
    path = write(tmp_path, ".csv", {"model_1": ["x"], "model_2": ["y"], "label": ["1"]})
    with pytest.raises(InputError, match="column 'label' has '1', whose meaning is not clear"):
        read_votes(path, asked=Asked(outcomes={"one": "left"}, accept=True))


def test_triplet_votes_are_not_taken_for_preferences(tmp_path: Path) -> None:
    columns = {"left_arm": ["x"], "right_arm": ["y"], "answer": ["left"], "reference_arm": ["r"]}
    path = write(tmp_path, ".csv", {**columns, "presentation": ["plain"]})
    with pytest.raises(InputError, match=r"triplet votes of a fidelity study.*qsched certify"):
        read_votes(path)

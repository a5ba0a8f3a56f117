"""`winrates.py --assist METRIC`: the section, the JSON, and what is refused before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from analysis import winrates
from analysis.report.document import SCHEMA_PATH
from tests.analysis.report.simulated import scored_set, simulated_votes


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Votes on 20 prompts, their image set with 40 more prompts, and one without."""
    folder = tmp_path_factory.mktemp("assisted")
    whole = simulated_votes(n_prompts=60)
    voted = whole.filter(pl.col("prompt_id") < "prompt-020")
    voted.write_parquet(folder / "votes.parquet")
    return folder / "votes.parquet", scored_set(folder / "set", whole), scored_set(folder / "small", voted)


def run(*arguments: str | Path) -> tuple[int, str]:
    plain = ("--method", "sandwich", "--formats", "svg")
    done = CliRunner().invoke(winrates.app, [*map(str, arguments), *plain], catch_exceptions=True)
    return done.exit_code, str(done.exception) if done.exit_code == 1 else done.output


def test_the_contrasts_stand_beside_each_other_on_the_page_and_in_the_json(
    files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    votes, image_set, _ = files
    code, words = run(
        votes, "--image-set", image_set, "--baseline", "fp32", "--assist", "noise", "--out", tmp_path / "out"
    )
    assert code == 0, words
    document = json.loads((tmp_path / "out" / "winrates.json").read_text())
    Draft202012Validator(json.loads(SCHEMA_PATH.read_text())).validate(document)
    found = document["assisted"]
    assert (found["metric"], found["baseline"], found["n_others"]) == ("noise", "fp32", 40)
    assert [row["arm"] for row in found["rows"]] == ["w4a4", "w4a8", "w4a8+qsched"]
    against = {pair["arm_b"]: pair for pair in document["pairwise"] if pair["arm_a"] == "fp32"}
    for row in found["rows"]:
        assert row["log_odds"] == pytest.approx(-against[row["arm"]]["log_odds"], abs=1e-9)
        assert row["se"] == pytest.approx(against[row["arm"]]["log_odds_se"], rel=0.1)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "noise is known for the 20 prompts with votes and for 40 prompts" in page
    assert (tmp_path / "out" / "assisted.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--image-set", "SET", "--assist", "noise"), "needs --baseline ARM"),
        (("--baseline", "fp32", "--assist", "noise"), "needs --image-set FOLDER"),
        (("--image-set", "SET", "--baseline", "fp32", "--assist", "nosie"), "of knows, lower, noise, twin"),
        (("--image-set", "SET", "--baseline", "fp32", "--assist", "twin"), "20 of 20 prompts with votes"),
        (("--image-set", "SMALL", "--baseline", "fp32", "--assist", "noise"), "known for 0 prompts without votes"),
        (("--image-set", "SET", "--baseline", "fp32", "--assist", "noise", "--model", "davidson"), "Bradley-Terry"),
        (("--image-set", "SET", "--baseline", "fp32", "--assist", "noise", "--penalty", "firth"), "--penalty out"),
    ],
)
def test_what_cannot_help_is_refused_in_words(
    files: tuple[Path, Path, Path], tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    votes, image_set, small = files
    paths = {"SET": str(image_set), "SMALL": str(small)}
    code, output = run(votes, *(paths.get(each, each) for each in arguments), "--out", tmp_path / "out")
    assert code != 0 and words in output
    assert not (tmp_path / "out").exists()

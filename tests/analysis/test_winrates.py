"""The command: plain script from any folder, exit codes, and what it says about bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import polars as pl
import pytest

from analysis import winrates
from analysis.report import SCHEMA_PATH
from analysis.report.kit.command import shown_command
from tests.analysis.report.simulated import simulated_votes

SCRIPT = Path(winrates.__file__)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """run(*arguments) -> (exit code, stdout, stderr) of `main()`, in this process."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["winrates.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            winrates.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


QUICK = ("--resamples", "100", "--formats", "svg")


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    path = tmp_path / "votes.parquet"
    simulated_votes(votes_each=20).write_parquet(path)
    return path


@pytest.mark.slow
def test_the_plain_script_runs_from_another_folder(votes: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(votes), "--out", "made", *QUICK],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (elsewhere / "made").iterdir()} >= {
        "report.html",
        "winrates.csv",
        "strengths.csv",
        "winrates.json",
        "figures",
        "tables",
    }


def test_every_plain_script_finds_the_packages_as_that_one_does() -> None:
    """The others are run in the process of the tests (`script`), which has the packages."""
    begin = SCRIPT.read_text(encoding="utf-8").partition('if __name__ == "__main__" and not')[2].partition("\n\n")[0]
    assert "sys.path[:] = " in begin
    scripts = [path for path in SCRIPT.parent.glob("*.py") if "run_app(app)" in path.read_text(encoding="utf-8")]
    assert len(scripts) >= 9
    assert [path.name for path in scripts if begin not in path.read_text(encoding="utf-8")] == []


@pytest.mark.slow
def test_options_reach_the_settings(run, votes: Path, tmp_path: Path) -> None:
    code, _, _ = run(
        votes,
        "--out",
        tmp_path / "out",
        *QUICK,
        "--baseline",
        "fp32",
        "--model",
        "rao-kupper",
        "--position-effect",
        "--penalty",
        "ridge:0.5",
        "--intervals",
        "annotator",
        "--method",
        "sandwich",
        "--confidence",
        "0.9",
        "--seed",
        "7",
        "--equivalence-margin",
        "0.05",
        "--by",
        "category",
        "--exclude-annotator",
        "anno-001",
    )
    assert code == 0
    document = json.loads((tmp_path / "out" / "winrates.json").read_text(encoding="utf-8"))
    expected = {
        "model": "rao-kupper",
        "position_effect": True,
        "penalty": "ridge:0.5",
        "intervals": "annotator",
        "method": "sandwich",
        "confidence": 0.9,
        "seed": 7,
        "baseline": "fp32",
        "by": "category",
        "equivalence_margin": 0.05,
    }
    assert {name: document["settings"][name] for name in expected} == expected
    assert document["tie_parameter"]["name"] == "kappa"
    counted = {row["reason"]: row["n_votes"] for row in document["excluded"]["rows"]}
    assert counted["named annotator"] == 20


def test_votes_without_an_estimate_give_a_report_and_exit_code_three(run, tmp_path: Path) -> None:
    one = simulated_votes({"a": 0.0, "b": 0.0}, votes_each=10)
    two = simulated_votes({"c": 0.0, "d": 0.0}, votes_each=10, seed=2)
    path = tmp_path / "votes.csv"
    # Without sessions and pairs: the two halves would otherwise hold the same pair in the same session.
    pl.concat([one, two]).drop("session", "pair_id", "served_at", "answered_at").write_csv(path)
    code, _, err = run(path, "--out", tmp_path / "out", *QUICK)
    assert code == winrates.EXIT_NO_ESTIMATE == 3
    assert "no estimate" in err and "a, b | c, d" in err
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"choice": "middle"}, ["votes.csv:2", "middle", "left"]),
        ({"left_arm": ""}, ["votes.csv:2", "left_arm"]),
        ({"response_ms": "-5"}, ["votes.csv:2", "-5"]),
        ({"kind": "warmpu"}, ["votes.csv:2", "warmpu"]),
    ],
)
def test_a_bad_row_ends_with_code_two_its_line_and_no_report(
    change: dict[str, str], words: list[str], run, tmp_path: Path
) -> None:
    frame = simulated_votes(votes_each=5).with_columns(pl.all().cast(pl.String))
    first = frame[:1].with_columns(*(pl.lit(value).alias(name) for name, value in change.items()))
    path = tmp_path / "votes.csv"
    pl.concat([first, frame[1:]]).write_csv(path)
    code, _, err = run(path, "--out", tmp_path / "out")
    assert code == 2
    assert err.startswith("error: ") and "Traceback" not in err
    assert [word for word in words if word not in err] == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--baseline", "fp16"], ["fp16", "fp32"]),
        (["--question", "Which?"], ["Which?", "Which picture is better?"]),
        (["--exclude-annotator", "nobody"], ["nobody"]),
        (["--penalty", "ridge:-1"], ["ridge:-1"]),
        (["--formats", "svg,gif"], ["gif", "png"]),
        (["--image-set", "no/such/set"], ["no/such/set"]),
        (["--by", "study", "--study", "other"], ["other", "demo"]),
        (["--min-response-ms", "999999"], ["None of the 480 votes", "--min-response-ms 0"]),
        (["--min-votes", "999"], ["None of the 480 votes", "--min-votes 0"]),
        (["--title", " \u200b"], ["--title"]),
    ],
)
def test_a_bad_option_ends_with_code_two_and_the_choices(
    arguments: list[str], words: list[str], run, votes: Path, tmp_path: Path
) -> None:
    code, _, err = run(votes, "--out", tmp_path / "out", *QUICK, *arguments)
    assert code == 2
    assert [word for word in words if word not in err] == []


@pytest.mark.slow
def test_mixed_votes_of_people_and_simulation_are_refused_until_a_choice_is_made(run, tmp_path: Path) -> None:
    people = simulated_votes(votes_each=20)
    made = simulated_votes(votes_each=20, simulated=True, seed=2).with_columns(
        pl.col("annotator") + "-sim", pl.col("session") + "-sim"
    )
    path = tmp_path / "votes.parquet"
    pl.concat([people, made]).write_parquet(path)
    code, _, err = run(path, "--out", tmp_path / "out", *QUICK)
    assert code == 2 and "--exclude-simulated" in err and "--include-simulated" in err
    document = tmp_path / "out" / "winrates.json"
    assert run(path, "--out", tmp_path / "out", *QUICK, "--exclude-simulated")[0] == 0
    assert json.loads(document.read_text())["n_simulated"] == 0
    assert run(path, "--out", tmp_path / "out", *QUICK, "--include-simulated")[0] == 0
    assert json.loads(document.read_text())["n_simulated"] == 480
    assert "480 of these 960 votes come from simulated annotators" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.slow
def test_two_questions_need_a_choice_and_can_be_compared(run, tmp_path: Path) -> None:
    one = simulated_votes(votes_each=20)
    two = simulated_votes(votes_each=20, seed=3).with_columns(pl.lit("Which fits the text?").alias("question"))
    path = tmp_path / "votes.parquet"
    pl.concat([one, two]).write_parquet(path)
    code, _, err = run(path, "--out", tmp_path / "out", *QUICK)
    assert code == 2 and "--question" in err and "Which fits the text?" in err
    code, _, _ = run(path, "--out", tmp_path / "out", *QUICK, "--question", "Which fits the text?", "--by", "question")
    assert code == 0
    document = json.loads((tmp_path / "out" / "winrates.json").read_text())
    assert document["n_votes"] == 480 and len(document["strata"]["strata"]) == 2


@pytest.mark.slow
def test_two_studies_by_study_are_told_which_option_to_add(run, tmp_path: Path) -> None:
    one = simulated_votes(votes_each=20)
    two = simulated_votes(votes_each=20, seed=3).with_columns(pl.lit("second").alias("study"))
    path = tmp_path / "votes.parquet"
    pl.concat([one, two]).write_parquet(path)
    code, _, err = run(path, "--out", tmp_path / "out", *QUICK, "--by", "study")
    assert code == 2 and "Add --study NAME" in err and "'demo', 'second'" in err
    assert run(path, "--out", tmp_path / "out", *QUICK, "--by", "study", "--study", "second")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("n_votes", [1, 480])
@pytest.mark.parametrize("arena", [True, False])
def test_votes_without_prompt_ids_have_a_report_that_says_why_agreement_is_missing(
    n_votes: int, arena: bool, run, tmp_path: Path
) -> None:
    frame = simulated_votes(votes_each=20).head(n_votes).select("left_arm", "right_arm", "choice", "annotator")
    if arena:
        frame = frame.with_columns(pl.col("choice").replace({"left": "model_a", "right": "model_b"})).rename(
            {"left_arm": "model_a", "right_arm": "model_b", "choice": "winner", "annotator": "judge"}
        )
    frame.write_csv(tmp_path / "votes.csv")
    code, _, err = run(tmp_path / "votes.csv", "--out", tmp_path / "out", *QUICK)
    assert code == (3 if n_votes == 1 else 0), err
    document = json.loads((tmp_path / "out" / "winrates.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))
    assert document["agreement"] is None and document["annotators"]
    assert any("Agreement" in note and "prompt_id" in note for note in document["notes"])
    assert "How far annotators agree is not known" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_annotator_excluded_twice_by_name_is_listed_once(run, votes: Path, tmp_path: Path) -> None:
    twice = ("--exclude-annotator", "anno-001") * 2
    assert run(votes, "--out", tmp_path / "out", *QUICK, *twice)[0] == 0
    document = json.loads((tmp_path / "out" / "winrates.json").read_text(encoding="utf-8"))
    assert document["excluded"]["annotators"] == [{"annotator": "anno-001", "reason": "named annotator"}]


def test_a_baseline_that_lost_all_its_votes_is_refused_with_the_rule_and_its_remedy(run, tmp_path: Path) -> None:
    hasty = (pl.col("left_arm") == "w4a4") | (pl.col("right_arm") == "w4a4")
    frame = simulated_votes(votes_each=20).with_columns(response_ms=pl.when(hasty).then(20).otherwise("response_ms"))
    frame.write_parquet(tmp_path / "votes.parquet")
    code, _, err = run(tmp_path / "votes.parquet", "--out", tmp_path / "out", *QUICK, "--baseline", "w4a4")
    assert code == 2 and "'w4a4' has no votes left" in err
    assert "too fast" in err and "--min-response-ms 0" in err and "'fp32'" in err


@pytest.mark.slow
def test_simulation_json_beside_the_votes_is_read(run, tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    simulated_votes(votes_each=20, simulated=True).write_parquet(path)
    (tmp_path / "simulation.json").write_text('{"lapse rate": 0.05}', encoding="utf-8")
    assert run(path, "--out", tmp_path / "out", *QUICK)[0] == 0
    assert json.loads((tmp_path / "out" / "winrates.json").read_text())["simulation"] == {"lapse rate": 0.05}
    (tmp_path / "simulation.json").write_text("[1]", encoding="utf-8")
    assert run(path, "--out", tmp_path / "out", *QUICK)[0] == 2


def test_the_command_in_the_report_shows_no_password_and_no_output_folder() -> None:
    shown = shown_command(
        ["x", "postgresql://me:secret@host/db", "--out", "a b", "--title", "it's"], script="analysis/winrates.py"
    )
    assert "secret" not in shown and "a b" not in shown
    assert shown.startswith("python analysis/winrates.py 'postgresql://me:***@host/db' --title ")


def test_help_teaches_with_examples_and_names_the_exit_codes(run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert "winrates votes.parquet --out report/" in out and "no estimate" in out


@pytest.mark.slow
def test_no_control_sequence_of_a_name_reaches_the_terminal(run, tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    simulated_votes({"\x1b[31mred\x07": 0.9, "plain": 0.0}, votes_each=20).write_parquet(path)
    code, out, err = run(path, "--out", tmp_path / "out", *QUICK)
    assert code == 0
    assert "[31mred" in out
    assert "\x07" not in out + err and "\x1b[31mred" not in out + err


@pytest.mark.slow
def test_covariates_are_estimated_beside_the_reported_model(run, tmp_path: Path) -> None:
    frame = simulated_votes(votes_each=20)
    lengths = pl.int_range(frame.height, dtype=pl.Int64)
    frame = frame.with_columns(
        words_left=lengths * 7919 % 31,
        words_right=lengths * 104729 % 29,
        device=pl.Series(["phone" if i % 3 else "desk" for i in range(frame.height)]),
    )
    path = tmp_path / "votes.csv"
    frame.write_csv(path)
    out = tmp_path / "report"
    asked = [word for name in ("words", "response_ms", "device") for word in ("--covariate", name)]
    code, _, _ = run(path, "--out", out, *QUICK, *asked)
    assert code == 0
    document = json.loads((out / "winrates.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))
    fit = document["covariates"]["fit"]
    assert [each["kind"] for each in fit["covariates"]] == ["difference", "number", "levels"]
    arms = len(document["strengths"])
    assert len(fit["terms"]) == 1 + arms + 2 * arms and document["settings"]["covariates"][0] == "words"
    assert "With covariates" in (out / "report.html").read_text(encoding="utf-8")
    assert len((out / "covariates.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(fit["terms"])
    code, _, stderr = run(path, "--out", out, *QUICK, "--covariate", "wrds")
    assert code == 2 and "wrds" in stderr and "words_left" in stderr
    # A later run without covariates leaves no file of theirs.
    assert run(path, "--out", out, *QUICK)[0] == 0 and not (out / "covariates.csv").exists()


@pytest.mark.slow
def test_sequential_intervals_are_given_on_request(run, votes: Path, tmp_path: Path) -> None:
    assert run(votes, "--out", tmp_path / "report", *QUICK, "--sequential")[0] == 0
    document = json.loads((tmp_path / "report" / "winrates.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))
    assert len(document["sequential"]) == len(document["pairwise"])
    rates = {frozenset((row["arm_a"], row["arm_b"])): row for row in document["pairwise"]}
    for row in document["sequential"]:
        usual = rates[frozenset((row["arm_a"], row["arm_b"]))]
        assert row["low"] < row["win_rate"] < row["high"] and row["n_votes"] == document["n_votes"]
        assert row["high"] - row["low"] > usual["model_high"] - usual["model_low"]
    assert "Looking while the study runs" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_arm_that_never_won_is_named_and_can_be_left_out(run, tmp_path: Path) -> None:
    rows = [("a", "b", ("left", "right")[n % 2], n) for n in range(20)]
    rows += [("a", "lost", "left", n) for n in range(20)] + [("lost", "b", "right", n) for n in range(20)]
    path = tmp_path / "votes.csv"
    lines = [f"{a},{b},{choice},p{n % 10},q{n % 7}" for a, b, choice, n in rows]
    path.write_text("left_arm,right_arm,choice,annotator,prompt_id\n" + "\n".join(lines) + "\n")
    out = tmp_path / "report"
    code, _, err = run(path, "--out", out, "--formats", "svg", "--resamples", "100")
    written = json.loads((out / "winrates.json").read_text())
    assert code == 0 and [row["arm"] for row in written["strengths"]] == ["a", "b"]
    assert "'lost' is not in the estimate: it never won" in err
    code, _, err = run(path, "--out", out, "--formats", "svg", "--resamples", "100", "--exclude-arm", "lost")
    written = json.loads((out / "winrates.json").read_text())
    assert "'lost' is not in the estimate" not in err
    assert code == 0 and [row["arm"] for row in written["strengths"]] == ["a", "b"]
    assert {row["reason"]: row["n_votes"] for row in written["excluded"]["rows"]}["named arm"] == 40
    code, _, err = run(path, "--out", out, "--exclude-arm", "nobody")
    assert code == 2 and "'nobody' is to be excluded but has no vote; the arms are a, b, lost" in err
    code, _, err = run(path, "--out", out, "--exclude-arm", "a", "--exclude-arm", "b")
    assert code == 2 and "a comparison needs two" in err


@pytest.mark.slow
def test_votes_that_are_all_ties_have_a_report(run, tmp_path: Path) -> None:
    simulated_votes(votes_each=10, tie_share=1.1).write_parquet(tmp_path / "ties.parquet")
    code, _, stderr = run(tmp_path / "ties.parquet", "--out", tmp_path / "report", *QUICK)
    assert code == 0, stderr
    document = json.loads((tmp_path / "report" / "winrates.json").read_text(encoding="utf-8"))
    assert {row["win_rate"] for row in document["pairwise"]} == {0.5}
    assert all(claim["verdict"] == "undetected" for claim in document["claims"])


@pytest.mark.slow
def test_arena_votes_have_covariates_of_both_sides(run, tmp_path: Path) -> None:
    frame = simulated_votes(votes_each=20).select(
        model_a="left_arm", model_b="right_arm", judge="annotator", prompt_id="prompt_id", winner="choice"
    )
    frame = frame.with_columns(
        pl.col("winner").replace({"left": "model_a", "right": "model_b"}),
        token_a=pl.int_range(frame.height) * 7919 % 31,
        token_b=pl.int_range(frame.height) * 104729 % 29,
    )
    frame.write_ndjson(tmp_path / "arena.jsonl")
    out = tmp_path / "report"
    assert run(tmp_path / "arena.jsonl", "--out", out, *QUICK, "--covariate", "token")[0] == 0
    fit = json.loads((out / "winrates.json").read_text(encoding="utf-8"))["covariates"]["fit"]
    assert fit["covariates"][0]["kind"] == "difference" and len(fit["terms"]) == 1


def test_counts_are_refused_until_weights_says_what_they_are(run, tmp_path: Path) -> None:
    rows = [("a", "b", "model_a", 30), ("a", "b", "model_b", 20), ("b", "c", "model_a", 10), ("b", "c", "model_b", 40)]
    pl.DataFrame(rows, schema=["model_a", "model_b", "winner", "weight"], orient="row").write_csv(tmp_path / "v.csv")
    code, _, err = run(tmp_path / "v.csv", "--out", tmp_path / "report", *QUICK)
    assert code == 2 and "--weights weight" in err and not (tmp_path / "report").exists()
    assert run(tmp_path / "v.csv", "--out", tmp_path / "report", *QUICK, "--weights", "weight")[0] == 0
    document = json.loads((tmp_path / "report" / "winrates.json").read_text(encoding="utf-8"))
    assert document["n_votes"] == 100 and any("'weight' says how many votes" in note for note in document["notes"])

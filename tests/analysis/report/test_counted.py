"""The report from counts: the numbers of the report from votes, and words about what counts do not have."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import polars as pl
import pytest
from typer.testing import CliRunner

from analysis.options import EXCLUSIONS
from analysis.report import ReportSettings, find, write_report
from analysis.report.counted import NOT_IN_COUNTS, find_counted, find_large
from analysis.stats import EstimateSettings
from analysis.votes import ExclusionRules, read_votes
from analysis.votes.__main__ import app as votes_app
from analysis.votes.account import UNKNOWN
from analysis.votes.counting import CountedVotes, count_files
from analysis.winrates import app
from qsched.records import InputError
from tests.analysis.stats.test_counted import checked_frame

SETTINGS = ReportSettings(by="none", formats=("svg",), estimate=EstimateSettings(resamples=200))
SAME = ("strengths", "pairwise", "design_effect", "model_fit", "claims", "influence", "position_check", "n_votes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """votes.parquet, and counts/ made of it by the command."""
    place = tmp_path_factory.mktemp("counted")
    checked_frame().write_parquet(place / "votes.parquet")
    done = CliRunner().invoke(votes_app, ["count", str(place / "votes.parquet"), "--out", str(place / "counts")])
    assert done.exit_code == 0, done.output
    assert "left out: annotators left out for gold failures" in done.output
    return place


def numbers(value: object) -> object:
    """As JSON, rounded to nine digits: the iteration of the quasi-variances stops before the last ones."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items() if not key.startswith("quasi_")}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_the_report_from_counts_has_the_numbers_of_the_report_from_votes(folder: Path, tmp_path: Path) -> None:
    votes = find(read_votes(folder / "votes.parquet"), SETTINGS)
    counts = find_counted(folder / "counts", SETTINGS)
    documents = []
    for name, found in (("votes", votes), ("counts", counts)):
        write_report(found, tmp_path / name)
        documents.append(json.loads((tmp_path / name / "winrates.json").read_text(encoding="utf-8")))
    for key in SAME:
        assert numbers(documents[0][key]) == numbers(documents[1][key]), key
    assert documents[0]["settings"]["exclusions"] == documents[1]["settings"]["exclusions"]
    read, kept = (documents[0]["excluded"][key] for key in ("n_read", "n_kept"))
    assert (documents[1]["excluded"]["n_read"], documents[1]["excluded"]["n_kept"]) == (read, kept)
    assert (counts.n_annotators, counts.n_prompts) == (votes.n_annotators, votes.n_prompts)
    page = (tmp_path / "counts" / "report.html").read_text(encoding="utf-8")
    assert NOT_IN_COUNTS.replace("'", "&#39;") in page
    for heading in ("What was collected", "Who drives the result", "Exclusions, and the estimate under other choices"):
        assert heading in page


def test_whoever_counts_has_the_exclusions_of_the_report() -> None:
    count = next(one for one in votes_app.registered_commands if one.callback.__name__ == "count").callback
    report = app.registered_commands[0].callback

    def exclusions(command: Callable[..., None]) -> dict[str, object]:
        options = inspect.signature(command, eval_str=True).parameters.values()
        panels = {one: getattr(one.annotation.__metadata__[0], "rich_help_panel", None) for one in options}
        return {one.name: one.default for one, panel in panels.items() if panel == EXCLUSIONS}

    assert exclusions(count) == exclusions(report) and len(exclusions(count)) == 11


def test_counts_without_an_account_say_that_their_exclusions_are_not_known(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "counts").glob("*.parquet"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    found = find_counted(tmp_path, SETTINGS)
    assert UNKNOWN in found.notes and found.settings.rules.kinds == ()
    assert found.exclusions.n_read == found.n_votes == find_counted(folder / "counts", SETTINGS).n_votes


def test_an_account_of_other_votes_is_refused(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "counts").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    account = json.loads((tmp_path / "counts.json").read_text(encoding="utf-8"))
    (tmp_path / "counts.json").write_text(json.dumps({**account, "n_kept": 7}), encoding="utf-8")
    with pytest.raises(InputError, match=r"counts.json is about 7 votes, and the tables beside it have"):
        find_counted(tmp_path, SETTINGS)


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        (replace(SETTINGS, by="category"), "--by"),
        (replace(SETTINGS, covariates=("response_ms",)), "--covariate"),
        (replace(SETTINGS, sequential=True), "--sequential"),
        (replace(SETTINGS, study="one"), "--study"),
        (replace(SETTINGS, rules=ExclusionRules(min_response_ms=500)), "an exclusion option"),
    ],
)
def test_an_option_that_needs_votes_is_refused(folder: Path, settings: ReportSettings, option: str) -> None:
    with pytest.raises(InputError, match=f"{option}: not with --from-counts"):
        find_counted(folder / "counts", settings)


def test_the_command_takes_votes_or_counts_and_not_both(folder: Path, tmp_path: Path) -> None:
    counts, votes = ["--from-counts", str(folder / "counts")], [str(folder / "votes.parquet")]
    for arguments in ([], [*votes, *counts]):
        done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "no")])
        assert isinstance(done.exception, InputError) and "one of the two" in str(done.exception)
    done = CliRunner().invoke(
        app,
        [*counts, "--out", str(tmp_path / "out"), "--method", "sandwich", "--formats", "svg", "--exclude-arm", "arm0"],
    )
    assert isinstance(done.exception, InputError) and "an exclusion option" in str(done.exception)
    done = CliRunner().invoke(app, [*counts, "--out", str(tmp_path / "no"), "--looks", "votes.looks.json"])
    assert isinstance(done.exception, InputError) and "--looks are about files of votes" in str(done.exception)
    done = CliRunner().invoke(
        app, [*counts, "--out", str(tmp_path / "out"), "--method", "sandwich", "--formats", "svg"]
    )
    assert done.exit_code == 0 and (tmp_path / "out" / "report.html").is_file()


def test_an_arm_that_never_won_is_named_in_the_report_from_counts(folder: Path, tmp_path: Path) -> None:
    frame = checked_frame().filter(pl.col("kind") == "task", pl.col("choice") != "skip")
    loses = pl.when(pl.col("left_arm") == "arm0").then(pl.lit("right")).when(pl.col("right_arm") == "arm0")
    frame.with_columns(choice=loses.then(pl.lit("left")).otherwise(pl.col("choice"))).write_parquet(
        tmp_path / "v.parquet"
    )
    done = CliRunner().invoke(votes_app, ["count", str(tmp_path / "v.parquet"), "--out", str(tmp_path / "counts")])
    assert done.exit_code == 0, done.output
    found = find_counted(tmp_path / "counts", SETTINGS)
    assert found.estimate is None and found.existence is not None and found.existence.never_won == ("arm0",)


def test_simulated_votes_among_those_of_people_are_counted_on_the_page(tmp_path: Path) -> None:
    frame = checked_frame().with_columns(simulated=pl.col("annotator") == "ann07")
    frame.write_parquet(tmp_path / "v.parquet")
    arguments = ["count", str(tmp_path / "v.parquet"), "--out", str(tmp_path / "counts"), "--include-simulated"]
    done = CliRunner().invoke(votes_app, arguments)
    assert done.exit_code == 0, done.output
    votes = find(read_votes(tmp_path / "v.parquet"), replace(SETTINGS, rules=ExclusionRules(simulated="keep")))
    found = find_counted(tmp_path / "counts", SETTINGS)
    assert 0 < found.n_simulated == votes.n_simulated < found.n_votes
    write_report(found, tmp_path / "out")
    assert "votes come from simulated annotators" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_the_report_from_counts_of_a_study_that_was_looked_at_warns(tmp_path: Path) -> None:
    checked_frame().write_parquet(tmp_path / "v.parquet")
    (tmp_path / "v.looks.json").write_text("{}", encoding="utf-8")
    done = CliRunner().invoke(votes_app, ["count", str(tmp_path / "v.parquet"), "--out", str(tmp_path / "counts")])
    assert done.exit_code == 0 and "as if nobody had looked" in done.output
    assert any("v.looks.json" in words for words in find_counted(tmp_path / "counts", SETTINGS).warnings)


def test_large_files_are_counted_with_the_same_numbers_and_the_page_says_what_is_missing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    votes = [str(folder / "votes.parquet")]
    arguments = [*votes, "--method", "sandwich", "--formats", "svg", "--by", "none"]
    whole = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "whole")])
    monkeypatch.setattr("analysis.report.counted.MOST_VOTES_KEPT", 100)
    large = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "large")])
    assert whole.exit_code == large.exit_code == 0, large.output
    assert "More than 100 are counted" in large.output and "More than" not in whole.output
    one, other = (
        json.loads((tmp_path / name / "winrates.json").read_text(encoding="utf-8")) for name in ("whole", "large")
    )
    for key in SAME:
        assert numbers(one[key]) == numbers(other[key]), key
    assert one["settings"]["sources"] == other["settings"]["sources"] == votes
    page = (tmp_path / "large" / "report.html").read_text(encoding="utf-8")
    assert "how single annotators behaved" in page and "With --keep-votes all votes are" in page
    kept = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "kept"), "--keep-votes"])
    assert "More than 100" not in kept.output


def test_large_files_are_read_whole_if_something_needs_their_votes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.report.counted.MOST_VOTES_KEPT", 100)
    votes = [str(folder / "votes.parquet")]
    assert find_large(votes, SETTINGS) is not None
    assert find_large(votes, replace(SETTINGS, sequential=True)) is None
    assert find_large(votes, replace(SETTINGS, study="two")) is None, "the code that reads votes names the studies"
    frame = pl.read_parquet(votes[0])
    frame.write_csv(tmp_path / "v.csv")
    assert find_large([str(tmp_path / "v.csv")], SETTINGS) is None
    loses = pl.when(pl.col("left_arm") == "arm0").then(pl.lit("right")).when(pl.col("right_arm") == "arm0")
    frame.with_columns(choice=loses.then(pl.lit("left")).otherwise(pl.col("choice"))).write_parquet(
        tmp_path / "v.parquet"
    )
    assert find_large([str(tmp_path / "v.parquet")], SETTINGS) is None, "arms without an estimate are left out of votes"


def test_a_full_disk_is_said_in_the_terminal_and_on_the_page(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.report.counted.MOST_VOTES_KEPT", 100)
    monkeypatch.setattr(CountedVotes, "write", Mock(side_effect=OSError(28, "No space left on device")))
    arguments = [str(folder / "votes.parquet"), "--method", "sandwich", "--formats", "svg", "--by", "none"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
    words = "and failed there: No space left on device. So all votes were held in memory"
    assert done.exit_code == 0 and words in done.output, done.output
    assert words in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_vote_that_is_in_two_large_files_is_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.report.counted.MOST_VOTES_KEPT", 100)
    monkeypatch.setattr("analysis.votes.batches.ROWS_AT_ONCE", 100)
    n = 600
    frame = (
        checked_frame()
        .head(n)
        .with_columns(
            session=pl.col("annotator"),
            pair_id=pl.int_range(n).cast(pl.String),
            served_at=pl.datetime(2026, 1, 1, time_unit="ms", time_zone="UTC") + pl.duration(seconds=pl.int_range(n)),
        )
    )
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    frame.head(400).write_parquet(one)
    # Other names come first, so that the codes of a file's names are not those of the other file.
    frame.slice(399).reverse().write_parquet(other)
    with pytest.raises(InputError, match=r"one vote is in .*one\.parquet and in .*other\.parquet \(session"):
        count_files([one, other], ExclusionRules())
    with pytest.raises(InputError, match=r"in .* and in"):
        find_large([str(one), str(other)], SETTINGS)
    frame.slice(400).reverse().write_parquet(other)
    counted = count_files([one, other], ExclusionRules())
    assert counted.account.n_read == n and not any("counts? twice" in note for note in counted.account.notes)
    # A column without values says as much as none.
    frame.slice(399).drop("answered_at", strict=False).write_parquet(other)
    frame.head(400).with_columns(answered_at=pl.lit(None, dtype=pl.Datetime("ms", "UTC"))).write_parquet(one)
    with pytest.raises(InputError, match=r"in .* and in"):
        count_files([one, other], ExclusionRules())
    frame.head(400).write_parquet(one)
    frame.drop("served_at").slice(400).write_parquet(other)
    notes = count_files([one, other], ExclusionRules()).account.notes
    assert any(note.startswith("Not checked for 200 of the votes, which lack") for note in notes), notes


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ([lambda votes: votes, lambda votes: votes.drop("study")], "has no column 'study', unlike the files before"),
        ([lambda votes: votes, lambda votes: votes], "is a copy of"),
        (
            [lambda votes: votes, lambda votes: votes.with_columns(simulated=True, kind=pl.lit("practice"))],
            "are by simulated annotators",
        ),
    ],
)
def test_what_the_report_of_votes_refuses_is_not_counted(
    tmp_path: Path, changed: list[Callable[[pl.DataFrame], pl.DataFrame]], words: str
) -> None:
    paths = [tmp_path / f"{number}.parquet" for number in range(len(changed))]
    frame = checked_frame()
    for path, change in zip(paths, changed, strict=True):
        change(frame).write_parquet(path)
    with pytest.raises(InputError):
        find(read_votes(paths), SETTINGS)
    with pytest.raises(InputError, match=words):
        count_files(paths, ExclusionRules())


def test_large_files_name_lost_arms_unused_columns_the_study_and_votes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.report.counted.MOST_VOTES_KEPT", 100)
    monkeypatch.setattr("analysis.votes.batches.ROWS_AT_ONCE", 200)
    frame = checked_frame()
    ghost = frame.head(9).with_columns(left_arm=pl.lit("ghost"), response_ms=pl.lit(5, dtype=pl.Int32))
    other = frame.head(7).with_columns(study=pl.lit("two"))
    path = tmp_path / "v.parquet"
    pl.concat([frame, ghost, other], how="diagonal_relaxed").with_columns(mood="choice").write_parquet(path)
    settings = replace(SETTINGS, study="one", estimate=EstimateSettings(method="sandwich"))
    votes, large = find(read_votes(path, allow_mixed=True), settings), find_large([str(path)], settings)
    assert large is not None and (large.study, large.n_elsewhere) == (votes.study, votes.n_elsewhere) == ("one", 7)
    assert sum("Arm 'ghost' is not in this report" in words for words in large.warnings) == 1
    assert sum("Arm " in words for words in large.warnings) == sum("Arm " in words for words in votes.warnings)
    unused = "Columns of the votes that this report does not use: mood."
    assert unused in large.notes and unused in votes.notes

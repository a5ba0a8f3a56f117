"""Counts give what votes give: by `votes count`, and by the queries of docs/counts.md run in SQLite."""

from __future__ import annotations

import csv
import re
import sqlite3
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from analysis.stats import Estimate, EstimateSettings, VoteCounts, count_votes, estimate
from analysis.stats.counted import FILES, read_counts
from analysis.votes import ExclusionRules, exclude, read_votes
from analysis.votes.batches import to_frame
from analysis.votes.counting import count_files
from qsched.records import InputError
from tests.analysis.conftest import draw_study

DOCS = Path(__file__).parents[3] / "docs" / "counts.md"
SETTINGS = (
    EstimateSettings(resamples=200),
    EstimateSettings(model="davidson", position_effect=True, method="sandwich"),
    EstimateSettings(ties="drop", method="sandwich"),
    EstimateSettings(intervals="annotator", method="sandwich"),
)


def votes_frame(**choices: Any) -> pl.DataFrame:
    study = draw_study(**{"prompts": 6, **choices})
    names = {"left": "left_arm", "right": "right_arm", "prompt": "prompt_id"}
    frame = pl.DataFrame({names.get(name, name): values for name, values in study.items()})
    return frame.with_columns(kind=pl.lit("task"), response_ms=pl.lit(900), study=pl.lit("one"))


def checked_frame() -> pl.DataFrame:
    """With skips, fast votes, repeats, and annotators who fail gold items and instructed checks."""
    frame = votes_frame()
    odd = frame.head(40).with_columns(
        choice=pl.Series(["skip", "left"] * 20), response_ms=pl.Series([900, 100] * 20, dtype=pl.Int32)
    )
    checks = frame.filter(pl.col("annotator").is_in(["ann03", "ann04", "ann05"])).group_by("annotator").head(4)
    gold = checks.with_columns(kind=pl.lit("gold"), expected=pl.lit("left"))
    gold = gold.with_columns(
        choice=pl.when(pl.col("annotator") == "ann03").then(pl.lit("right")).otherwise(pl.lit("left"))
    )
    told = gold.with_columns(
        kind=pl.lit("instructed"),
        choice=pl.when(pl.col("annotator") == "ann04").then(pl.lit("right")).otherwise(pl.lit("left")),
    )
    repeats = frame.head(30).with_columns(kind=pl.lit("repeat"))
    return pl.concat([frame, odd, gold, told, repeats], how="diagonal_relaxed")


def assert_same(one: Any, other: Any, path: str = "") -> None:
    """Equal, numbers to 1e-12; quasi-variances to 1e-6, because they are found by an iteration that stops earlier."""
    if isinstance(one, float):
        exact = 1e-6 if ".quasi_" in path else 1e-12
        assert one == pytest.approx(other, rel=exact, abs=exact, nan_ok=True), path
    elif hasattr(one, "__dataclass_fields__"):
        for item in fields(one):
            assert_same(getattr(one, item.name), getattr(other, item.name), f"{path}.{item.name}")
    elif isinstance(one, np.ndarray):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12, err_msg=path)
    elif isinstance(one, (tuple, list)):
        assert len(one) == len(other), path
        for a, b in zip(one, other, strict=True):
            assert_same(a, b, path)
    else:
        assert one == other, path


def assert_same_estimates(counts: VoteCounts, votes: VoteCounts) -> None:
    for settings in SETTINGS:
        one, other = estimate(counts, settings), estimate(votes, settings)
        for item in fields(Estimate):
            if item.name != "fit":
                assert_same(getattr(one, item.name), getattr(other, item.name), item.name)


def write(tables: dict[str, pl.DataFrame], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")
    return folder


def test_counts_of_several_files_give_the_estimate_of_their_votes_to_rounding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.votes.batches.ROWS_AT_ONCE", 100)
    monkeypatch.setattr("analysis.votes.counting._PENDING", 150)
    frame = checked_frame().sample(fraction=1.0, shuffle=True, seed=3)
    paths = [tmp_path / f"{part}.parquet" for part in range(3)]
    for part, path in enumerate(paths):
        frame.gather_every(3, part).write_parquet(path)
    counted = count_files(paths, ExclusionRules())
    votes, report = exclude(read_votes(paths))
    assert (counted.account.n_read, counted.account.n_kept) == (report.n_read, report.n_kept)
    assert dict(counted.account.annotators) == dict(report.annotators) and len(report.annotators) == 2
    kept = count_votes(votes)
    assert kept.clusters["annotator x prompt"].counts.sum() > 100, "some must have judged a prompt twice"
    assert_same_estimates(read_counts(write(counted.tables, tmp_path / "counts")), kept)


def test_the_documented_queries_give_the_estimate_of_the_votes(tmp_path: Path) -> None:
    frame = votes_frame(each=20)
    frame = pl.concat([frame, frame.head(9).with_columns(choice=pl.lit("skip"))])
    database = sqlite3.connect(":memory:")
    columns = frame.columns
    database.execute(f"CREATE TABLE votes_table ({', '.join(columns)})")
    database.executemany(f"INSERT INTO votes_table VALUES ({', '.join('?' * len(columns))})", frame.rows())
    queries = re.findall(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(queries) == 1 + len(FILES)
    for query in queries:
        database.execute(query)
    folder = tmp_path / "counts"
    folder.mkdir()
    for name in FILES:
        found = database.execute(f"SELECT * FROM {name}")
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([item[0] for item in found.description])
            writer.writerows(found)
    path = tmp_path / "votes.parquet"
    frame.write_parquet(path)
    assert_same_estimates(read_counts(folder), count_votes(exclude(read_votes(path))[0]))


def tables_of(tmp_path: Path, frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    path = tmp_path / "votes.parquet"
    frame.write_parquet(path)
    return count_files([path], ExclusionRules()).tables


def test_without_prompts_the_interval_is_that_of_votes_without_prompts(tmp_path: Path) -> None:
    frame = votes_frame().drop("prompt_id")
    tables = tables_of(tmp_path, frame)
    assert set(tables) == {"by_annotator"}
    found = read_counts(write(tables, tmp_path / "counts"))
    assert_same_estimates(found, count_votes(exclude(read_votes(tmp_path / "votes.parquet"))[0]))


def test_counts_without_the_products_are_refused_because_somebody_may_have_judged_a_prompt_twice(
    tmp_path: Path,
) -> None:
    tables = tables_of(tmp_path, votes_frame())
    del tables["together"]
    with pytest.raises(InputError, match=r"has no together .* judged a prompt twice"):
        read_counts(write(tables, tmp_path / "counts"))


def test_tables_of_other_votes_are_refused(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, votes_frame())
    other = tables_of(tmp_path, votes_frame(seed=1))
    for name, words in (
        ("by_prompt", "do not count the same votes"),
        ("together", "cannot give|does not fit|not the same in both"),
        ("intersections", "does not fit"),
    ):
        with pytest.raises(InputError, match=words):
            read_counts(write({**tables, name: other[name]}, tmp_path / name))


@pytest.mark.parametrize("column", ["annotator", "prompt_id"])
@pytest.mark.parametrize("times", [1, 5])
def test_products_of_a_query_that_forgot_the_prompt_or_the_annotator_are_refused(
    tmp_path: Path, column: str, times: int
) -> None:
    """They are symmetric and of the right parity, and would make the two-way interval too narrow."""
    frame = votes_frame().group_by("annotator", "prompt_id", maintain_order=True).head(times)
    tables = tables_of(tmp_path, frame)
    kind = ["left_arm", "right_arm", "choice"]
    n = frame.group_by(column, *kind).len()
    joined = n.join(n, on=column, suffix="_other").group_by(*kind, *(f"{one}_other" for one in kind))
    made = joined.agg((pl.col("len") * pl.col("len_other")).sum().cast(pl.Int64).alias("products"))
    tables["together"] = made.rename({f"{one}_other": f"other_{one}" for one in kind})
    with pytest.raises(InputError, match=r"cannot give|does not fit"):
        read_counts(write(tables, tmp_path / "counts"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"votes": pl.lit(1.5)}, "row 1 has votes '1.5'; it must be a whole number"),
        ({"votes": pl.lit(-1)}, "row 1 has votes '-1'"),
        ({"choice": pl.lit("skip")}, "two rows|counted are left, right, tie"),
        ({"annotator": pl.lit("one")}, "two rows have one, .* Add them up"),
        ({"right_arm": pl.col("left_arm")}, "two rows|with itself"),
    ],
)
def test_a_table_that_breaks_the_contract_is_refused_with_the_row(
    tmp_path: Path, change: dict[str, pl.Expr], words: str
) -> None:
    tables = tables_of(tmp_path, votes_frame())
    tables["by_annotator"] = tables["by_annotator"].cast({"votes": pl.Float64}).with_columns(**change)
    if "votes" in change and "-1" in words:
        tables["by_annotator"] = tables["by_annotator"].cast({"votes": pl.Int64})
    with pytest.raises(InputError, match=words):
        read_counts(write(tables, tmp_path / "counts"))


def test_studies_in_two_files_are_not_counted_together(tmp_path: Path) -> None:
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    votes_frame().write_parquet(paths[0])
    votes_frame(seed=1).with_columns(study=pl.lit("two")).write_parquet(paths[1])
    with pytest.raises(InputError, match=r"several values of study \('one', 'two'\). Add --study"):
        count_files(paths, ExclusionRules())
    assert count_files(paths, ExclusionRules(), study="two").account.n_kept == 600


def test_simulated_votes_in_one_file_and_peoples_in_another_are_not_counted_together(tmp_path: Path) -> None:
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    votes_frame().with_columns(simulated=pl.lit(True)).write_parquet(paths[0])
    votes_frame(seed=1).with_columns(simulated=pl.lit(False)).write_parquet(paths[1])
    with pytest.raises(InputError, match="600 of 1,200 votes are by simulated annotators"):
        count_files(paths, ExclusionRules())
    assert count_files(paths, ExclusionRules(simulated="drop")).account.n_kept == 600


def test_a_bad_row_is_named_with_its_file_and_a_file_is_not_counted_twice(tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    votes_frame().with_columns(choice=pl.lit("perhaps")).write_parquet(path)
    with pytest.raises(InputError, match=r"votes.parquet, rows 1 to 600 .*perhaps"):
        count_files([path], ExclusionRules())
    with pytest.raises(InputError, match="named twice"):
        count_files([path, path], ExclusionRules())
    with pytest.raises(InputError, match="only parquet files are counted"):
        count_files([tmp_path / "votes.csv"], ExclusionRules())


@pytest.mark.parametrize("rule", [{"min_gold_accuracy": 0.8}, {"max_instructed_failures": 0}])
def test_a_rule_about_known_answers_that_no_file_has_is_refused_or_noted(tmp_path: Path, rule: dict[str, Any]) -> None:
    path = tmp_path / "votes.parquet"
    votes_frame().write_parquet(path)
    with pytest.raises(InputError, match="no file has all of them"):
        count_files([path], ExclusionRules(**rule))
    notes = count_files([path], ExclusionRules()).account.notes
    assert "Not checked, because no file has" in notes[-1] and "--min-gold-accuracy" in notes[-1]


def test_votes_that_do_not_say_who_was_on_the_left_are_not_counted_as_if_they_did(tmp_path: Path) -> None:
    """Else the winner would be on the left in every vote, and the report would find a preference for that side."""
    frame = votes_frame().filter(pl.col("choice") != "tie")
    sides, left = ("left_arm", "right_arm"), pl.col("choice") == "left"
    winner, loser = (pl.when(left).then(pl.col(one)).otherwise(pl.col(two)) for one, two in (sides, sides[::-1]))
    frame.select("annotator", "prompt_id", winner=winner, loser=loser).write_parquet(tmp_path / "votes.parquet")
    with pytest.raises(InputError, match="does not say which arm was on the left"):
        count_files([tmp_path / "votes.parquet"], ExclusionRules())


def test_a_study_that_no_vote_has_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    votes_frame().write_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"No vote has study 'two'. The votes have: 'one'"):
        count_files([tmp_path / "a.parquet"], ExclusionRules(), study="two")


def test_a_file_that_is_damaged_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    path.write_bytes(b"PAR1 and nothing of use")
    with pytest.raises(InputError, match=r"votes\.parquet cannot be read"):
        count_files([path], ExclusionRules())
    outside = pa.DictionaryArray.from_arrays(pa.array([0, 9]), ["a", "b"], safe=False)
    with pytest.raises(pa.ArrowInvalid, match="out of bounds"):
        to_frame(pa.table({"annotator": outside}))


def test_annotators_with_few_votes_and_doubtful_votes_are_left_out_as_from_the_votes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.votes.batches.ROWS_AT_ONCE", 100)
    frame = checked_frame().with_columns(doubt=pl.lit(None, dtype=pl.String))
    doubtful = frame.head(7).with_columns(doubt=pl.lit("response_ms"))
    frame = pl.concat([doubtful, frame[7:]]).filter(
        (pl.col("annotator") != "ann01") | (pl.int_range(pl.len()) % 9 == 0)
    )
    path = tmp_path / "votes.parquet"
    frame.write_parquet(path)
    for rules in (ExclusionRules(min_votes=12, doubtful=True), ExclusionRules(min_votes=12)):
        counted = count_files([path], rules)
        report = exclude(read_votes(path), rules)[1]
        assert "ann01" in dict(report.annotators)
        assert (counted.account.n_kept, dict(counted.account.annotators)) == (report.n_kept, dict(report.annotators))
        assert ("doubtful time" in {row.reason for row in counted.account.left_out if row.n_votes}) == rules.doubtful
        notes = [note for note in report.notes if "longer time" in note]
        assert len(notes) == (0 if rules.doubtful else 1) and set(notes) <= set(counted.account.notes)

"""`analysis/metrics.py`: a scored image set and its votes give a table, and a wrong set is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from analysis import metrics
from tests.analysis.report.simulated import STRENGTHS, scored_set, simulated_votes, write_image_set


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame, str]:
    folder = tmp_path_factory.mktemp("metrics")
    votes = simulated_votes(simulated=True, votes_each=60)
    votes.write_parquet(folder / "votes.parquet")
    image_set = scored_set(folder / "set", votes)
    done = CliRunner().invoke(
        metrics.app, [str(image_set), str(folder / "votes.parquet"), "--out", str(folder / "out")]
    )
    assert done.exit_code == 0, done.output
    return folder / "out", votes, done.output


def test_the_table_counts_agreement_as_a_reader_would(written: tuple[Path, pl.DataFrame, str]) -> None:
    out, votes, _ = written
    rows = {row["metric"]: row for row in csv.DictReader((out / "metrics-people.csv").open())}
    decided = votes.filter(pl.col("choice") != "tie")
    right = [
        STRENGTHS[vote[f"{vote['choice']}_arm"]] == max(STRENGTHS[vote["left_arm"]], STRENGTHS[vote["right_arm"]])
        for vote in decided.iter_rows(named=True)
    ]
    assert float(rows["knows"]["agreement"]) == pytest.approx(np.mean(right))
    assert rows["knows"]["agreement"] == rows["lower"]["agreement"] and rows["knows"]["auc"] == rows["lower"]["auc"]
    assert float(rows["knows"]["agreement_low"]) > 0.5
    assert float(rows["noise"]["agreement_low"]) < 0.5 < float(rows["noise"]["agreement_high"])
    assert rows["knows"]["same_best"] == "true" and float(rows["knows"]["tau"]) == 1.0
    assert float(rows["noise"]["behind_high"]) < 0


def test_votes_without_a_value_are_left_out_and_counted(written: tuple[Path, pl.DataFrame, str]) -> None:
    out, votes, _ = written
    rows = {row["metric"]: row for row in csv.DictReader((out / "metrics-people.csv").open())}
    decided = votes.filter(pl.col("choice") != "tie")
    without = decided.filter((pl.col("left_arm") != "fp32") & (pl.col("right_arm") != "fp32")).height
    assert int(rows["twin"]["n_votes"]) == without < int(rows["knows"]["n_votes"]) == decided.height
    assert f"twin ({decided.height - without:,})" in (out / "metrics-people.html").read_text()


def test_the_page_shouts_simulated_votes_and_shows_where_they_disagree(
    written: tuple[Path, pl.DataFrame, str],
) -> None:
    out, _, printed = written
    page = (out / "metrics-people.html").read_text()
    assert "Simulated votes." in page and "simulated annotators" in printed
    assert "Where they disagree most" in page and page.count("data:image/png") >= 2
    assert "no metric of the pictures can agree" in " ".join(page.split())
    assert (out / "metrics-people.tex").read_text().startswith("% needs")


def test_an_unscored_set_and_a_set_of_other_pictures_are_refused(tmp_path: Path) -> None:
    votes = simulated_votes(votes_each=10)
    votes.write_csv(tmp_path / "v.csv")
    write_image_set(tmp_path / "bare", votes, sizes={})
    done = CliRunner().invoke(metrics.app, [str(tmp_path / "bare"), str(tmp_path / "v.csv")])
    assert "run `qsched score" in str(done.exception)
    image_set = scored_set(tmp_path / "set", votes)
    votes.with_columns(pl.col("prompt_id") + "-other").write_csv(tmp_path / "w.csv")
    done = CliRunner().invoke(metrics.app, [str(image_set), str(tmp_path / "w.csv")])
    assert "Is it the right image set?" in str(done.exception)

"""A parquet file keeps texts as distinct values and codes; read so, they are the same votes as from any other file."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow
import pytest
from pyarrow import parquet

import analysis.stats.cluster_counts as counts_module
from analysis.stats import count_votes, fit_bradley_terry
from analysis.stats.cluster_counts import cluster_table
from analysis.stats.counts import count_arrays
from analysis.votes import exclude, read_votes
from analysis.votes.coded import codes, distinct
from analysis.votes.table import SCHEMA
from qsched.records import InputError, RowError
from tests.analysis.conftest import draw_study

WORDS = {"left": "model_a", "right": "model_b", "tie": "tie (bothbad)"}


def arena_frame() -> pl.DataFrame:
    study = draw_study()
    columns = {"model_a": study["left"], "model_b": study["right"], "judge": study["annotator"]}
    return pl.DataFrame({**columns, "prompt": study["prompt"], "winner": [WORDS[c] for c in study["choice"]]})


def test_parquet_and_csv_give_the_same_votes_and_the_same_counts(tmp_path: Path) -> None:
    # Row groups have dictionaries of their own, in orders of their own.
    arena_frame().write_parquet(tmp_path / "v.parquet", row_group_size=70)
    arena_frame().write_csv(tmp_path / "v.csv")
    one, two = (read_votes(tmp_path / name) for name in ("v.parquet", "v.csv"))
    assert one.frame.schema == two.frame.schema and one.frame.schema["annotator"] == SCHEMA["annotator"]
    texts = [table.frame.drop("source", "row").cast({pl.Categorical: pl.String}) for table in (one, two)]
    assert texts[0].equals(texts[1])
    assert one.frame["row"].to_list() == list(range(1, one.n_votes + 1))
    first, second = (count_votes(exclude(table)[0]) for table in (one, two))
    assert first.arms == second.arms and np.array_equal(first.outcomes, second.outcomes)
    for name in ("annotator", "prompt"):
        assert first.clusters[name].labels == second.clusters[name].labels
        assert np.array_equal(first.clusters[name].counts, second.clusters[name].counts)


def test_codes_are_those_of_sorted_values_whatever_the_order_of_the_file() -> None:
    values = ["m", "b", "z", "b", "a", "q", "z", "a", "a", "m"]
    labels, code = codes(pl.Series("text", values, dtype=pl.Categorical))
    assert labels == tuple(sorted(set(values))) and [labels[i] for i in code] == values


def test_a_value_that_first_occurs_far_down_is_found() -> None:
    values = ["b"] * 5000 + ["a", "b"]
    series = pl.Series("text", values, dtype=pl.Categorical)
    labels, code = codes(series)
    assert labels == ("a", "b") and [labels[i] for i in code] == values
    assert sorted(distinct(series).to_list()) == ["a", "b"]


def test_clusters_are_counted_when_first_asked_for_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(counts_module, "cluster_table", lambda *given: asked.append(given) or cluster_table(*given))
    study = draw_study()
    counts = count_arrays(study["left"], study["right"], study["choice"], annotator=study["annotator"])
    fit_bradley_terry(counts)
    assert not asked, "a point fit needs no clusters"
    copied = pickle.loads(pickle.dumps(counts))
    assert set(counts.clusters) == {"annotator"} and len(asked) == 1
    assert counts.clusters["annotator"].counts.sum() == counts.n_votes and len(asked) == 1
    assert np.array_equal(copied.clusters["annotator"].counts, counts.clusters["annotator"].counts)


def test_a_vote_without_an_annotator_is_refused_before_clusters_are_counted() -> None:
    frame = pl.DataFrame({"left_arm": ["a", "b"], "right_arm": ["b", "a"], "choice": ["left"] * 2})
    with pytest.raises(InputError, match="'annotator' has 1 empty"):
        count_votes(frame.with_columns(annotator=pl.Series(["p", None])))


def write_winners(path: Path, pools: list[list[str | None]], indices: list[list[int | None]]) -> Path:
    """An arena-style file whose winners are given as chunks of codes, each with a dictionary of its own."""
    chunks = [
        pyarrow.DictionaryArray.from_arrays(pyarrow.array(at), pyarrow.array(pool))
        for pool, at in zip(pools, indices, strict=True)
    ]
    n = sum(len(at) for at in indices)
    columns = {"model_a": ["x"] * n, "model_b": ["y"] * n, "winner": pyarrow.chunked_array(chunks)}
    parquet.write_table(pyarrow.table(columns), path)
    return path


def test_a_dictionary_that_repeats_a_value_or_has_one_too_many_is_read_as_its_words(tmp_path: Path) -> None:
    path = write_winners(tmp_path / "v.parquet", [["tie", "model_a", "tie", "never used"]], [[0, 1, 2, 0]])
    assert read_votes(path).frame["choice"].cast(pl.String).to_list() == ["tie", "left", "tie", "tie"]


def test_an_empty_value_of_a_dictionary_is_refused_with_its_row(tmp_path: Path) -> None:
    path = write_winners(tmp_path / "v.parquet", [["tie", "model_a"], ["model_b", "tie"]], [[0, 1], [0, None]])
    with pytest.raises(RowError, match=r"v\.parquet:4: winner is empty"):
        read_votes(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_column_that_is_called_row_is_not_in_the_way_of_the_number_of_the_row(tmp_path: Path, suffix: str) -> None:
    frame = arena_frame().with_columns(row=pl.lit("seven"))
    broken = frame.with_row_index("i").with_columns(
        winner=pl.when(pl.col("i") == 4).then(pl.lit("nobody")).otherwise(pl.col("winner"))
    )
    path = tmp_path / f"v{suffix}"
    write = {".csv": "write_csv", ".parquet": "write_parquet", ".jsonl": "write_ndjson"}[suffix]
    getattr(frame, write)(path)
    assert read_votes(path).n_votes == frame.height
    getattr(broken.drop("i"), write)(path)
    line = 6 if suffix == ".csv" else 5
    with pytest.raises(RowError, match=rf":{line}: winner is 'nobody'"):
        read_votes(path)


def test_reading_parquet_does_not_import_pandas(tmp_path: Path) -> None:
    arena_frame().write_parquet(tmp_path / "v.parquet")
    code = "import sys; from analysis.votes import read_votes; read_votes(sys.argv[1]); print('pandas' in sys.modules)"
    call = [sys.executable, "-c", code, tmp_path / "v.parquet"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""Frames of pandas, polars and pyarrow as votes: the same table as from a file, the same messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from analysis.votes import read_votes
from qsched.records import InputError, RowError
from tests.analysis.report.simulated import simulated_votes

KINDS = {
    "polars": lambda frame: frame,
    "lazy polars": lambda frame: frame.lazy(),
    "pandas": lambda frame: frame.to_pandas(),
    "pandas with an index of its own": lambda frame: frame.to_pandas().set_index(pd.RangeIndex(7, 7 + len(frame))),
    "pandas with columns of objects": lambda frame: frame.to_pandas().astype({"left_arm": object, "expected": object}),
    "pyarrow": lambda frame: frame.to_arrow(),
}


def gold_votes() -> pl.DataFrame:
    """Votes of which two are gold, so that `expected` has a value in some rows only."""
    votes = simulated_votes(n_annotators=3, votes_each=10).with_row_index("at")
    gold = pl.col("at") < 2
    return votes.with_columns(
        kind=pl.when(gold).then(pl.lit("gold")).otherwise("kind"),
        expected=pl.when(gold).then(pl.lit("left")).otherwise(None),
    ).drop("at")


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_gives_the_same_votes_as_its_file(kind: str, tmp_path: Path) -> None:
    votes = gold_votes()
    votes.write_parquet(tmp_path / "votes.parquet")
    frame: Any = KINDS[kind](votes)
    table, from_file = read_votes(frame), read_votes(tmp_path / "votes.parquet")
    assert table.sources == ("frame",) and table.missing == from_file.missing
    assert table.frame.drop("source").equals(from_file.frame.drop("source"))
    assert table.frame["expected"].null_count() == 28


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_value_in_a_frame_is_named_with_its_row_counted_from_one(kind: str) -> None:
    votes = gold_votes()
    votes[4, "choice"] = "middle"
    with pytest.raises(RowError, match=r"^frame:5: .*middle"):
        read_votes(KINDS[kind](votes))


def test_whole_numbers_that_pandas_made_floating_because_of_a_gap_are_read() -> None:
    votes = gold_votes().to_pandas()
    votes["both_bad"] = [None, *[False] * 29]
    votes["annotator"] = [float(i % 3) for i in range(30)]
    assert read_votes(votes).values("annotator") == ("0", "1", "2")


def test_several_sources_may_be_frames_and_files_but_each_only_once(tmp_path: Path) -> None:
    votes = gold_votes()
    votes[:10].write_parquet(tmp_path / "votes.parquet")
    frame = votes[10:].to_pandas()
    table = read_votes([tmp_path / "votes.parquet", frame])
    assert table.n_votes == 30 and table.sources[1] == "frame 2"
    with pytest.raises(InputError, match="frame 1 and frame 2 are the same frame"):
        read_votes([frame, frame])


def test_what_is_not_a_table_of_votes_is_refused_with_what_is_needed() -> None:
    with pytest.raises(InputError, match="frame has no column 'left_arm'"):
        read_votes(pd.DataFrame({"right_arm": ["a"], "choice": ["left"]}))
    with pytest.raises(InputError, match=r"a frame \(pandas, polars\), not int"):
        read_votes([3])  # on purpose
    twice = pd.DataFrame([["a", "b", "left", "c"]], columns=["left_arm", "right_arm", "choice", "left_arm"])
    with pytest.raises(InputError, match="left_arm"):
        read_votes(twice)

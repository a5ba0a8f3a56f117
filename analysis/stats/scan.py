"""Counts straight from files, for very many votes: only the columns that a fit needs are read, as codes or in a stream.

The careful way is `read_votes`, `exclude`, `count_votes`. This one takes files that hold nothing to exclude (no
practice, gold or other kinds, no skips) and says so where they do; a wrong value is looked up by `read_votes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from analysis.stats.counts import OUTCOMES, VoteCounts, count_votes
from analysis.votes import arena
from analysis.votes.read import read_votes, style_of
from analysis.votes.sources import open_source
from qsched.records import InputError

_KEYS = ("left_arm", "right_arm", "choice")


def scan_counts(sources: str | Path | Sequence[str | Path], *, clusters: bool = True) -> VoteCounts:
    """Count the votes of parquet, csv or jsonl files (or a database) of either style.

    With `clusters`, also by annotator and prompt where those ids are there (memory: some ten bytes a vote); without,
    in one streamed pass whose memory does not grow. InputError where something is wrong or needs excluding.
    """
    listed = [sources] if isinstance(sources, (str, Path)) else list(sources)
    parts = [_columns(source, clusters=clusters) for source in listed]
    shared = [name for name in parts[0].collect_schema().names() if all(name in p.collect_schema() for p in parts)]
    rows = pl.concat([part.select(shared) for part in parts])
    try:
        if clusters:
            _refuse_kinds(rows)
            texts = [name for name in shared if name != "kind"]
            return count_votes(rows.select(pl.col(name).cast(pl.Categorical) for name in texts).collect())
        return _streamed(rows, shared)
    except InputError:
        read_votes(listed)  # names the row of a wrong value; returns where the values are right
        raise
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{', '.join(map(str, listed))} cannot be read: {error}") from error


def _columns(source: str | Path, *, clusters: bool) -> pl.LazyFrame:
    opened = open_source(source)
    rows = opened.rows
    if style_of(opened) == "arena":
        rows = arena.rename_arena(rows, opened.columns)
    ids = ("annotator", "prompt_id") if clusters else ()
    names = rows.collect_schema().names()
    return rows.select(pl.col(name).cast(pl.String) for name in (*_KEYS, *ids, "kind") if name in names)


def _refuse_kinds(rows: pl.LazyFrame) -> None:
    if "kind" in rows.collect_schema():
        other = rows.filter(pl.col("kind") != "task").select(pl.col("kind").first()).collect()
        if other.height and other.item() is not None:
            raise InputError(
                f"There are votes of kind {other.item()!r}. Use read_votes and exclude, which count what they drop."
            )


def _streamed(rows: pl.LazyFrame, shared: Sequence[str]) -> VoteCounts:
    keys = [name for name in shared if name in (*_KEYS, "kind")]
    table = rows.group_by(keys).len().collect(engine="streaming")
    _refuse_kinds(table.lazy())
    for name in _KEYS:
        if table[name].null_count():
            raise InputError(f"Column {name!r} has empty values; every vote needs one.")
    unknown = sorted(set(table["choice"].to_list()) - set(OUTCOMES))
    if unknown:
        raise InputError(f"A vote has choice {unknown[0]!r}; here it must be one of {', '.join(OUTCOMES)}.")
    left, right = table["left_arm"].to_list(), table["right_arm"].to_list()
    same = next((a for a, b in zip(left, right, strict=True) if a == b), None)
    if same is not None:
        raise InputError(f"A vote compares {same!r} with itself.")
    if not left:
        raise InputError("There are no votes to count.")
    arms = tuple(sorted({*left, *right}))
    place = {arm: index for index, arm in enumerate(arms)}
    cells: dict[tuple[int, int], list[float]] = {}
    for a, b, choice, n in zip(left, right, table["choice"].to_list(), table["len"].to_list(), strict=True):
        cells.setdefault((place[a], place[b]), [0.0, 0.0, 0.0])[OUTCOMES.index(choice)] += n
    pairs = sorted(cells)
    return VoteCounts(
        arms=arms,
        left=np.array([i for i, _ in pairs], dtype=np.int64),
        right=np.array([j for _, j in pairs], dtype=np.int64),
        position=np.ones(len(pairs)),
        covariates=np.zeros((len(pairs), 0)),
        outcomes=np.array([cells[pair] for pair in pairs]),
    )

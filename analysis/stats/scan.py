"""Counts straight from files, for very many votes: only the columns that a fit needs are read, as codes or in a stream.

The careful way is `read_votes`, `exclude`, `count_votes`. This one takes files that hold nothing to exclude (no
practice, gold or other kinds, no skips) and says so where they do; a wrong value is looked up by `read_votes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from analysis.stats.counts import CLUSTER_COLUMNS, KEYS, OUTCOMES, VoteCounts, count_coded
from analysis.votes import arena
from analysis.votes.coded import Coded, codes, codes_of_parquet, join_codes, relabel
from analysis.votes.duplicates import refuse_named_twice
from analysis.votes.read import read_votes, style_of
from analysis.votes.sources import Source, open_source
from qsched.records import InputError


def scan_counts(sources: str | Path | Sequence[str | Path], *, clusters: bool = True) -> VoteCounts:
    """Count the votes of parquet, csv or jsonl files (or a database) of either style.

    With `clusters`, also by annotator and prompt where those ids are there (memory: some ten bytes a vote); without,
    in one streamed pass whose memory does not grow. InputError where something is wrong or needs excluding.
    """
    listed = [sources] if isinstance(sources, (str, Path)) else list(sources)
    opened = [open_source(source) for source in listed]
    refuse_named_twice(listed, [source.name for source in opened])
    try:
        return _coded(opened) if clusters else _streamed(opened)
    except InputError:
        read_votes(listed)  # names the row of a wrong value; returns where the values are right
        raise
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{', '.join(map(str, listed))} cannot be read: {error}") from error


def _coded(sources: Sequence[Source]) -> VoteCounts:
    parts = [_codes_of(source) for source in sources]
    for part in parts:
        _refuse_kinds(part.pop("kind", ((), None))[0])
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    return count_coded({name: join_codes([part[name] for part in parts]) for name in shared})


def _codes_of(source: Source) -> dict[str, Coded]:
    """Our names of the columns that are there, coded."""
    style = style_of(source)
    wanted = (*KEYS, *CLUSTER_COLUMNS, "kind")
    if style == "arena":
        found = {name: theirs for name, theirs in arena.columns_of(source.columns).items() if name in wanted}
    else:
        found = {name: name for name in wanted if name in source.columns}
    if source.parquet is not None:
        coded = codes_of_parquet(source.parquet, list(dict.fromkeys(found.values())))
    else:
        texts = source.rows.select(pl.col(name).cast(pl.Categorical) for name in dict.fromkeys(found.values()))
        coded = {series.name: codes(series) for series in texts.collect()}
    ours = {name: coded[theirs] for name, theirs in found.items()}
    return {**ours, "choice": relabel(ours["choice"], arena.WINNERS)} if style == "arena" else ours


def _refuse_kinds(kinds: Sequence[str]) -> None:
    other = next((kind for kind in kinds if kind != "task"), None)
    if other is not None:
        raise InputError(f"There are votes of kind {other!r}. Use read_votes and exclude, which count what they drop.")


def _columns(source: Source) -> pl.LazyFrame:
    rows = source.rows
    if style_of(source) == "arena":
        rows = arena.rename_arena(rows, source.columns)
    names = rows.collect_schema().names()
    return rows.select(pl.col(name).cast(pl.String) for name in (*KEYS, "kind") if name in names)


def _streamed(sources: Sequence[Source]) -> VoteCounts:
    counted = [_columns(source).group_by(pl.all()).len().collect(engine="streaming") for source in sources]
    for part in counted:
        if "kind" in part.columns:
            _refuse_kinds(part["kind"].unique().sort().to_list())
    table = pl.concat([part.select(*KEYS, "len") for part in counted])
    for name in KEYS:
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

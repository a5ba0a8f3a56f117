"""The same votes twice: a source named twice, a copy of a source, or one vote in two rows; each is an error."""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import polars as pl

from analysis.votes.sources import VotesSource, place_of
from qsched.records import InputError

#: With the arms: the pair of an arena-style file may be its question, which many arms answer.
IDENTITY = (
    *("study", "question", "session", "annotator", "pair_id"),
    *("left_arm", "right_arm", "kind", "served_at", "answered_at"),
)
#: Without one of these, equal rows may be two votes.
NEEDED = ("session", "pair_id", "served_at")


def refuse_named_twice(sources: Sequence[VotesSource], names: Sequence[str]) -> None:
    """InputError if two of the sources are one file, one database or one frame; `names` are what to print for them."""
    seen: dict[str | Path | int, str] = {}
    for source, name in zip(sources, names, strict=True):
        place = place_of(source)
        if place in seen:
            kind = "frame" if isinstance(place, int) else "file"
            what = f"{name} is named twice" if seen[place] == name else f"{seen[place]} and {name} are the same {kind}"
            raise InputError(f"{what}; its votes would be counted twice. Name it once.")
        seen[place] = name


def refuse_copied_files(paths: Sequence[Path]) -> None:
    """InputError if two files have the same bytes; nothing is known of their rows."""
    by_size: dict[int, list[Path]] = {}
    for path in paths:
        if path.is_file():
            by_size.setdefault(path.stat().st_size, []).append(path)
    for same in by_size.values():
        for one, other in combinations(same, 2):
            if filecmp.cmp(one, other, shallow=False):
                raise InputError(f"{other} is a copy of {one}; its votes would be counted twice. Name one of them.")


def refuse_copies(frames: Sequence[pl.DataFrame], names: Sequence[str]) -> None:
    """InputError if all rows of one source equal those of another, in any order, in the columns that both have."""
    for (one, name), (two, other) in combinations(zip(frames, names, strict=True), 2):
        if one.height != two.height or one.height == 0:
            continue
        shared = [column for column in one.columns if column in two.columns and column not in ("source", "row")]
        signed = [frame.select(*shared, pl.lit(sign).alias("sign:")) for frame, sign in ((one, 1), (two, -1))]
        surplus = pl.concat(signed).group_by(shared).agg(pl.col("sign:").sum())
        if not (surplus["sign:"] != 0).any():
            raise InputError(
                f"{name} and {other} hold the same {one.height} votes (equal {', '.join(shared)}). Name one of them. "
                "If these are other votes, write what tells them apart into both files, such as annotator or served_at."
            )


def refuse_vote_twice(frame: pl.DataFrame) -> None:
    """InputError if two rows are one vote. Without session, pair and time they could be honest repeats: not checked."""
    if not all(column in frame.columns for column in NEEDED):
        return
    keys = [column for column in IDENTITY if column in frame.columns]
    # Equal rows have equal hashes: the search for equal rows, which takes much memory, is only made if two are equal.
    if frame.select(keys).hash_rows().n_unique() == frame.height:
        return
    twice = frame.filter(pl.col("served_at").is_not_null() & pl.struct(keys).is_duplicated())
    if twice.height:
        first, second = twice.sort(*keys, "source", "row").select("source", "row").rows()[:2]
        raise InputError(
            f"{second[0]}:{second[1]}: the same vote as {first[0]}:{first[1]} (equal {', '.join(keys)}). "
            "Name each file once, and leave out copied rows."
        )

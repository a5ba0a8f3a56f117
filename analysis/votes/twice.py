"""Find a vote that is in two files, or far apart in one, while files are read a batch at a time.

What tells votes apart is hashed to 64 bits, as in `duplicates.refuse_vote_twice`: study, question, session, person,
pair, arms, kind and times. The hashes go to disk in parts by their value, so that equal ones are in one part and memory
does not grow with the number of votes. Votes with equal hashes are then looked up and compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.votes.coded import codes
from analysis.votes.duplicates import IDENTITY, NEEDED
from analysis.votes.table import VotesTable
from qsched.records import InputError

Hashes: TypeAlias = NDArray[np.uint64]
PARTS = 16
UNCHECKED = (
    "Not checked for {n:,} of the votes, which lack session, pair_id or served_at: whether one of them is in two "
    "files, or far apart in one. It would count twice."
)
#: Votes are compared of so many equal hashes, the smallest ones: two votes that differ almost never have one hash.
_MOST_COMPARED = 100_000
_ODD = np.uint64(0x9E3779B97F4A7C15)


class VoteTwiceError(InputError):
    """The same vote is in two places of large files."""


class SeenVotes:
    """The hashes of votes that were read, and the number of those that lack what tells votes apart."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._files: list[Any] = [stack.enter_context((folder / f"seen{part}").open("w+b")) for part in range(PARTS)]
        self._n_unchecked = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Keep the hashes of a batch."""
        hashes = hashes_of(frame)
        self._n_unchecked += frame.height - (0 if hashes is None else len(hashes))
        if hashes is None:
            return
        part = hashes >> np.uint64(60)
        order = np.argsort(part, kind="stable")
        ends = np.searchsorted(part[order], np.arange(PARTS + 1, dtype=np.uint64))
        for number in range(PARTS):
            self._files[number].write(hashes[order[ends[number] : ends[number + 1]]].tobytes())

    def unchecked_note(self) -> tuple[str, ...]:
        """What a report says of votes that could not be compared with others; nothing if there are none."""
        return (UNCHECKED.format(n=self._n_unchecked),) if self._n_unchecked else ()

    def refuse_twice(self, read_again: Callable[[], Iterable[VotesTable]]) -> None:
        """VoteTwiceError for the first vote that is there twice; equal hashes are looked up in `read_again()`."""
        found = np.concatenate([_equal(file) for file in self._files])
        if not len(found):
            return
        wanted = found[:_MOST_COMPARED]
        seen: dict[tuple[Any, ...], str] = {}
        for votes in read_again():
            hashes = hashes_of(votes.frame)
            if hashes is None:
                continue
            kept = votes.frame.filter(pl.col("served_at").is_not_null()).filter(np.isin(hashes, wanted))
            source = votes.sources[0]
            for row in kept.select(_text_or_null(kept, name) for name in IDENTITY).iter_rows():
                if row in seen:
                    where = f"twice in {source}" if seen[row] == source else f"in {seen[row]} and in {source}"
                    raise VoteTwiceError(
                        f"At least one vote is {where} (session {row[IDENTITY.index('session')]!r}; equal hashes: "
                        f"{len(found):,}). It would be counted twice. Name each file once, and leave out copied rows."
                    )
                seen[row] = source


def _text_or_null(frame: pl.DataFrame, name: str) -> pl.Expr:
    """A column as text; without values where a file does not have it, as `hashes_of` takes it."""
    return (pl.col(name) if name in frame.columns else pl.lit(None)).cast(pl.String).alias(name)


def hashes_of(frame: pl.DataFrame) -> Hashes | None:
    """A hash of each vote with a time; None if the votes do not have what tells them apart."""
    if not all(column in frame.columns for column in NEEDED):
        return None
    frame = frame.filter(pl.col("served_at").is_not_null())
    if frame.height == 0:
        return None
    total = np.zeros(frame.height, dtype=np.uint64)
    for name in IDENTITY:
        # A column that is absent is as one without values, so that files with other columns can be compared.
        total *= _ODD
        if name in frame.columns:
            total ^= _hash(frame[name])
        total ^= total >> np.uint64(29)
    return total * _ODD


def _hash(column: pl.Series) -> Hashes:
    """A hash of each value, 0 where there is none. Names are hashed as texts, because each batch has its own codes."""
    found = np.zeros(len(column), dtype=np.uint64)
    known, given = column.is_not_null().to_numpy(), column.drop_nulls()
    if column.dtype in (pl.Categorical, pl.String):
        labels, code = codes(given)
        found[known] = pl.Series(labels, dtype=pl.String).hash(seed=0).to_numpy()[code]
    else:
        found[known] = given.to_physical().cast(pl.Int64).hash(seed=0).to_numpy()
    return found


def _equal(file: Any) -> Hashes:
    file.seek(0)
    values, n = np.unique(np.frombuffer(file.read(), dtype=np.uint64), return_counts=True)
    return np.asarray(values[n > 1])

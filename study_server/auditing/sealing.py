"""Seal what was voted: add the votes of the last seconds to the study's hash chain, and note the new head.

A vote's own path is not touched: the server's sweep calls `seal_all`, and a study's head is public at /s/{slug}/seals.
"""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from qsched.records.evidence import ROW_FIELDS, chain_start, extend, leaf_of
from study_server.auditing import queries
from study_server.db import Tx
from study_server.db.statements import Row

#: Votes in one transaction: others wait meanwhile.
AT_ONCE = 200
#: PostgreSQL hands out ids before it commits; a vote that comes so late has an id this much lower at most.
LOOK_BACK = 10_000


class Chain(NamedTuple):
    """The salt (secret until the study is opened), the head after `length` votes, and the preregistration's text."""

    salt: str
    head: str
    length: int
    preregistration: str | None


class Seal(NamedTuple):
    """The head after the first `votes` votes, and when it was noted (milliseconds since 1970 UTC)."""

    votes: int
    head: str
    sealed_ms: int


def open_chain(tx: Tx, study_id: int) -> Chain:
    """The study's chain, locked by this transaction; begun if there is none."""
    row = tx.one(queries.CHAIN, study=study_id)
    if row is None:
        salt = secrets.token_hex(32)
        tx.run(queries.BEGIN_CHAIN, study=study_id, salt=salt, head=chain_start(salt))
        row = tx.one(queries.CHAIN, study=study_id)
        assert row is not None
    return Chain(*row)


def read_seals(tx: Tx, study_id: int) -> list[Seal]:
    """Every seal, the oldest first."""
    return [Seal(*row) for row in tx.all(queries.SEALS, study=study_id)]


def seal_study(tx: Tx, study_id: int, *, now: int) -> int:
    """Add up to AT_ONCE votes to the chain; returns how many.

    A seal is noted once no vote is left to add: it says that every vote of its time is in the chain before it.
    """
    chain = open_chain(tx, study_id)
    after = int(tx.scalar(queries.NEWEST_SEALED, study=study_id)) - LOOK_BACK
    rows = tx.all(queries.UNSEALED, study=study_id, after=after, limit=AT_ONCE)
    leaves = [leaf_of(chain.salt, as_record(row)) for row in rows]
    for place, (row, leaf) in enumerate(zip(rows, leaves, strict=True)):
        tx.run(queries.ADD_LEAF, study=study_id, position=chain.length + place, leaf=leaf, vote=row[0])
    head, length = extend(chain.head, leaves), chain.length + len(leaves)
    if leaves:
        tx.run(queries.EXTEND_CHAIN, study=study_id, head=head, length=length)
    if len(rows) < AT_ONCE and length > int(tx.scalar(queries.NEWEST_SEAL, study=study_id)):
        tx.run(queries.ADD_SEAL, study=study_id, votes=length, head=head, now=now)
    return len(leaves)


def seal_all(tx: Tx, *, now: int) -> int:
    """`seal_study` for every study; returns how many votes were sealed."""
    return sum(seal_study(tx, int(number), now=now) for (number,) in tx.all(queries.STUDIES))


def as_record(row: Row) -> dict[str, Any]:
    """A row of the chain, the same from both databases."""
    record: dict[str, Any] = dict(zip(ROW_FIELDS, row, strict=True))
    record["simulated"] = bool(record["simulated"])
    probability = record["selection_probability"]
    record["selection_probability"] = None if probability is None else float(probability)
    return record

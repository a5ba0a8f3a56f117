"""Seal the votes: add the votes of the last seconds to the study's hash chain, and note the new head.

A vote's own path is not touched: the server calls `seal_all` every few seconds. A study's head is public at
/s/{slug}/seals.
"""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from qsched.records.evidence import PLACES_FIELD, ROW_FIELDS, chain_start, extend, leaf_of
from study_server.auditing import queries
from study_server.db import Tx
from study_server.db.statements import Row

#: Votes in one transaction: others wait meanwhile, for some ten milliseconds.
AT_ONCE = 50
#: PostgreSQL hands out ids before it commits; a vote that comes late has an id this much lower at most.
LOOK_BACK = {"sqlite": 0, "postgresql": 1_000}


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


def read_chain(tx: Tx, study_id: int) -> Chain:
    """A chain that was begun, not locked."""
    row = tx.one(queries.READ_CHAIN, study=study_id)
    if row is None:
        raise LookupError(f"study {study_id} has no chain")
    return Chain(*row)


def read_seals(tx: Tx, study_id: int, *, newest: int = 2**31) -> list[Seal]:
    """The newest seals (by default all), the oldest of them first."""
    return [Seal(*row) for row in tx.all(queries.SEALS, study=study_id, newest=newest)][::-1]


def seal_all(tx: Tx, *, now: int) -> int:
    """Add up to AT_ONCE votes of all studies to their chains, in the order of their numbers; returns how many.

    Seals are noted once no vote is left to add: each says that every vote of its time is in the chain before it. What
    is sealed already is not looked at again, however many votes and studies there are.
    """
    tx.one(queries.TAKE_TURNS)
    after = int(tx.scalar(queries.NEWEST_SEALED)) - LOOK_BACK[tx.dialect]
    rows = tx.all(queries.UNSEALED, after=after, limit=AT_ONCE)
    by_study: dict[int, list[Row]] = {}
    for numbered in rows:
        by_study.setdefault(int(numbered[0]), []).append(numbered[1:])
    for study, votes in by_study.items():
        chain = open_chain(tx, study)
        leaves = [leaf_of(chain.salt, as_record(row)) for row in votes]
        added = enumerate(zip(votes, leaves, strict=True), start=chain.length)
        tx.many(
            queries.ADD_LEAF,
            [{"study": study, "position": place, "leaf": leaf, "vote": row[0]} for place, (row, leaf) in added],
        )
        head, length = extend(chain.head, leaves), chain.length + len(leaves)
        tx.run(queries.EXTEND_CHAIN, study=study, head=head, length=length)
    if len(rows) < AT_ONCE:
        for study, head, length in tx.all(queries.UNNOTED):
            tx.run(queries.ADD_SEAL, study=study, votes=length, head=head, now=now)
    return len(rows)


def as_record(row: Row) -> dict[str, Any]:
    """A row of the chain, the same from both databases."""
    *fields, places = row
    record: dict[str, Any] = dict(zip(ROW_FIELDS, fields, strict=True))
    if places is not None:
        record[PLACES_FIELD] = places
    record["simulated"] = bool(record["simulated"])
    probability = record["selection_probability"]
    record["selection_probability"] = None if probability is None else float(probability)
    return record

"""Write the votes table of a study to parquet, csv or jsonl; the file holds exactly what the database does.

The rows are read in batches from one snapshot of the database, so that memory stays flat and voting goes on. Every
batch is checked against the contract before it is written, the counts are taken from the same snapshot, and the file
appears whole or not at all. Rows are in the order in which the votes were stored.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import polars as pl

from qsched.errors import InputError, IntegrityError
from qsched.files import atomic_file
from qsched.records import COLUMNS
from study_server.db.database import Database
from study_server.db.statements import Row, Statement, Tx
from study_server.errors import NotFound
from study_server.export.check import check_batch
from study_server.export.formats import FORMATS, TIME, open_table
from study_server.export.rankings import pairs_of_rankings

T = TypeVar("T")
BATCH_ROWS = 50_000

HAS_TRIPLETS = Statement("""
    SELECT 1 FROM triplets t JOIN pairs p ON p.id = t.pair_id WHERE p.study_id = :study LIMIT 1
""")
LEFT_OUT = Statement("SELECT left_out FROM studies WHERE id = :study")
STUDY = Statement("SELECT id FROM studies WHERE slug = :slug")
NEWEST = Statement("SELECT COALESCE(MAX(id), 0) FROM votes")
# Of one range of the primary key.
COUNTS = Statement("""
    SELECT COUNT(*),
           COALESCE(SUM(CASE WHEN s.state = 'excluded' THEN 1 ELSE 0 END), 0),
           COALESCE(SUM(CASE WHEN s.state <> 'excluded' AND v.surplus_reason IS NOT NULL THEN 1 ELSE 0 END), 0)
    FROM votes v [[sqlite: NOT INDEXED | postgresql: ]] JOIN sessions s ON s.id = v.session_id
    WHERE v.id > :after AND v.id <= :last AND s.study_id = :study AND NOT s.preview
""")
# A walk of the corrections, which are few.
SUPERSEDED = Statement("""
    SELECT COUNT(*)
    FROM votes n [[sqlite: CROSS | postgresql: ]] JOIN votes v ON v.id = n.supersedes_id
    JOIN sessions s ON s.id = v.session_id
    WHERE n.supersedes_id > 0 AND s.study_id = :study AND NOT s.preview AND s.state <> 'excluded'
      AND v.surplus_reason IS NULL
""")
PAIRS = Statement("""
    SELECT p.id, p.pair_key, r.prompt_key, r.category, f.arm, s.arm, p.sample_index, t.arm, o.arm
    FROM pairs p
    JOIN prompts r ON r.id = p.prompt_id
    JOIN images f ON f.id = p.first_image_id
    JOIN images s ON s.id = p.second_image_id
    LEFT JOIN ranked_sets k ON k.pair_id = p.id
    LEFT JOIN images t ON t.id = k.third_image_id
    LEFT JOIN images o ON o.id = k.fourth_image_id
    WHERE p.study_id = :study
""")
SESSIONS = Statement("""
    SELECT s.id, s.pseudonym, a.pseudonym, s.simulated
    FROM sessions s JOIN annotators a ON a.id = s.annotator_id
    WHERE s.study_id = :study
""")
# NOT INDEXED: SQLite then reads in the order of ids; by the index on sessions it would sort all rows in memory.
VOTES = Statement("""
    SELECT v.session_id, a.pair_id, v.question, v.choice, a.first_on_left, a.served_ms, v.answered_ms, v.response_ms,
           a.kind,
           CASE WHEN substr(a.expected, 1, 1) = '{' THEN [[sqlite: json_extract(a.expected, '$.' || v.question)
                | postgresql: CAST(a.expected AS json) ->> v.question]] ELSE a.expected END,
           v.strength, a.selection_probability, v.doubt, a.places, v.id
    FROM votes v [[sqlite: NOT INDEXED | postgresql: ]]
    JOIN assignments a ON a.id = v.assignment_id
    JOIN sessions s ON s.id = v.session_id
    WHERE s.study_id = :study AND s.state <> 'excluded' AND NOT s.preview
      AND v.surplus_reason IS NULL AND v.id > :after AND v.id <= :through
      AND NOT EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id AND n.id <= :through)
    ORDER BY v.id LIMIT :limit
""")
EVERY = 2**62
# Rows that are read at once: about ten milliseconds of the database.
PIECE_ROWS = 5_000
#: Pauses of an export beside annotators: as long as the reading and writing between them.
GENTLE = 1.0

_PAIR_SCHEMA = {
    "pair": pl.Int64,
    "pair_id": pl.String,
    "prompt_id": pl.String,
    "category": pl.String,
    "first_arm": pl.String,
    "second_arm": pl.String,
    "sample_index": pl.Int64,
    "third_arm": pl.String,
    "fourth_arm": pl.String,
}
_SESSION_SCHEMA = {"session_number": pl.Int64, "session": pl.String, "annotator": pl.String, "simulated": pl.Boolean}
_VOTE_SCHEMA = {
    "session_number": pl.Int64,
    "pair": pl.Int64,
    "question": pl.String,
    "choice": pl.String,
    "first_on_left": pl.Boolean,
    "served_at": pl.Int64,
    "answered_at": pl.Int64,
    "response_ms": pl.Int64,
    "kind": pl.String,
    "expected": pl.String,
    "strength": pl.Int64,
    "selection_probability": pl.Float64,
    "doubt": pl.String,
    "places": pl.String,
    "id": pl.Int64,
}


class StoredRows(NamedTuple):
    """The rows of a study in the database, and why some of them are in no export."""

    total: int
    excluded: int
    surplus: int
    superseded: int


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What was written and what was left out: rows_in_database = written + superseded + surplus + excluded.

    `excluded` are rows of excluded annotators. An owner's previews are in no count. `left_out` counts the pairs of the
    image set that the study does not show, by reason.
    """

    path: Path
    rows_in_database: int
    written: int
    superseded: int
    surplus: int
    excluded: int
    simulated: int
    kinds: dict[str, int]
    left_out: dict[str, int] = field(default_factory=dict)


def export_votes(
    database: Database, *, study: str, path: Path, through: int = EVERY, rest: float = 0.0
) -> ExportSummary:
    """Write the effective votes of `study` (every kind) to `path`; the ending gives the format.

    With `through` only those up to this number, as they stood with it: a later correction does not count. Then nothing
    is compared with the counts of the whole.

    `rest` is how long to pause after each piece, in multiples of what the piece took: on a busy machine the database's
    process would else keep a processor from annotators.

    Raises NotFound for an unknown study, InputError for an unknown ending, IntegrityError if a stored row breaks the
    contract or the counts disagree (then nothing is written).
    """
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: the ending {path.suffix!r} is not one of {', '.join(FORMATS)}")
    written = simulated = rows = 0
    kinds: Counter[str] = Counter()
    with database.snapshot() as tx, atomic_file(path, parents=True) as draft:
        number = study_number(tx, study)
        left_out = pairs_left_out(tx, number)
        if tx.one(HAS_TRIPLETS, study=number) is not None:
            raise InputError(f"study {study!r} is a fidelity study: its rows are triplets, which the votes table lacks")
        total, excluded, surplus, superseded = count_stored(tx, number, rest=rest)
        with open_table(draft) as write:
            for answers, frame in _batches(tx, number, study, through, rest):
                check_batch(frame, study=study, first_row=written + 1)
                write(frame)
                written += frame.height
                rows += answers
                simulated += int(frame["simulated"].sum())
                kinds.update(dict(frame["kind"].value_counts().iter_rows()))
        if through == EVERY and rows + surplus + superseded + excluded != total:
            raise IntegrityError(
                f"{study}: {total} vote rows, but {rows} effective, {superseded} superseded, "
                f"{surplus} surplus and {excluded} of excluded annotators; "
                "the database contradicts itself and nothing was written"
            )
    return ExportSummary(path, total, written, superseded, surplus, excluded, simulated, dict(kinds), left_out)


def pairs_left_out(tx: Tx, study: int) -> dict[str, int]:
    """How many pairs of the image set a study does not show, by reason; empty if it was not counted."""
    stored = tx.scalar(LEFT_OUT, study=study)
    return {} if stored is None else dict(json.loads(stored))


def study_number(tx: Tx, slug: str) -> int:
    """The number of a study in this database; NotFound for an unknown slug."""
    row = tx.one(STUDY, slug=slug)
    if row is None:
        raise NotFound(f"no study {slug!r} in this database; `qsched study list` shows them")
    return int(row[0])


def count_stored(tx: Tx, study: int, *, rest: float = 0.0) -> StoredRows:
    """The stored rows of a study, counted range by range."""
    total = excluded = surplus = 0
    ranges = range(0, int(tx.scalar(NEWEST)), BATCH_ROWS)
    for found in with_rests((tx.one(COUNTS, study=study, after=i, last=i + BATCH_ROWS) for i in ranges), rest):
        more = map(int, found or (0, 0, 0))
        total, excluded, surplus = (sum(both) for both in zip((total, excluded, surplus), more, strict=True))
    return StoredRows(total, excluded, surplus, int(tx.scalar(SUPERSEDED, study=study)))


def with_rests(pieces: Iterable[T], rest: float) -> Iterator[T]:
    """The pieces, with a pause of `rest` times what making and using one took after each."""
    began = time.perf_counter()
    for piece in pieces:
        yield piece
        time.sleep(rest * (time.perf_counter() - began))
        began = time.perf_counter()


def _batches(tx: Tx, study: int, slug: str, through: int, rest: float) -> Iterator[tuple[int, pl.DataFrame]]:
    """The votes table in pieces, at least one, in the contract's columns and order, with the answers in each piece."""
    pairs = pl.DataFrame(tx.all(PAIRS, study=study), schema=_PAIR_SCHEMA, orient="row")
    sessions = _frame(tx.all(SESSIONS, study=study), _SESSION_SCHEMA, ("simulated",))
    read: list[Row] = []
    empty = True
    for rows in with_rests(_pieces(tx, study, through), rest):
        read += rows
        if len(read) >= BATCH_ROWS:
            yield len(read), _table(read, pairs, sessions, slug)
            read, empty = [], False
    if read or empty:
        yield len(read), _table(read, pairs, sessions, slug)


def _pieces(tx: Tx, study: int, through: int) -> Iterator[list[Row]]:
    """The rows of VOTES, up to PIECE_ROWS at a time."""
    after = 0
    while rows := tx.all(VOTES, study=study, through=through, after=after, limit=PIECE_ROWS):
        after = rows[-1][-1]
        yield rows


def _table(rows: list[Row], pairs: pl.DataFrame, sessions: pl.DataFrame, slug: str) -> pl.DataFrame:
    votes = _frame(rows, _VOTE_SCHEMA, ("first_on_left",))
    votes = votes.join(pairs, on="pair", how="left", maintain_order="left")
    votes = votes.join(sessions, on="session_number", how="left", maintain_order="left")
    if votes["places"].null_count() < votes.height:
        votes = pairs_of_rankings(votes)
    left, right = (
        pl.when(pl.col("first_on_left") == is_first).then("first_arm").otherwise("second_arm")
        for is_first in (True, False)
    )
    return votes.with_columns(
        study=pl.lit(slug, pl.String),
        left_arm=left,
        right_arm=right,
        served_at=pl.col("served_at").cast(TIME),
        answered_at=pl.col("answered_at").cast(TIME),
    ).select(COLUMNS)


def _frame(rows: list[Row], schema: dict[str, type[pl.DataType]], flags: tuple[str, ...]) -> pl.DataFrame:
    """Rows as columns; SQLite keeps booleans as 0 and 1."""
    stored = {name: pl.Int8 if name in flags else dtype for name, dtype in schema.items()}
    return pl.DataFrame(rows, schema=stored, orient="row").with_columns(pl.col(*flags).cast(pl.Boolean))

"""Write the triplets table of a fidelity study, and the table of changed content that its certificate asks for.

A trap made from the reference is the arm "degraded reference". What a vote was shown comes from two places: factor,
crop and clipping from the prepared triplet, zoom, flicker and toggles from the page, which sent them with the vote.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from qsched.errors import InputError, IntegrityError
from qsched.files import atomic_file
from qsched.records import TRIPLET_COLUMNS, Choice, TripletAnswer, TripletVote
from qsched.records.image_set import first_problem
from study_server.db.database import Database
from study_server.db.statements import Row, Statement, Tx
from study_server.export.formats import FORMATS, TIME, open_table
from study_server.export.votes import (
    BATCH_ROWS,
    HAS_TRIPLETS,
    PIECE_ROWS,
    ExportSummary,
    count_stored,
    study_number,
    with_rests,
)

TRIPLET_VOTES = Statement("""
    SELECT p.pair_key, r.prompt_key, ref.arm, f.arm, s.arm, a.first_on_left, t.presentation, v.choice, n.pseudonym,
           se.pseudonym, a.served_ms, v.answered_ms, v.response_ms, a.kind, p.sample_index, t.factor,
           t.crop_x, t.crop_y, t.crop_width, t.crop_height, t.clipped, v.display, se.simulated
    FROM votes v [[sqlite: NOT INDEXED | postgresql: ]]
    JOIN assignments a ON a.id = v.assignment_id
    JOIN sessions se ON se.id = v.session_id
    JOIN annotators n ON n.id = se.annotator_id
    JOIN pairs p ON p.id = a.pair_id
    JOIN prompts r ON r.id = p.prompt_id
    JOIN triplets t ON t.pair_id = p.id
    JOIN images ref ON ref.id = t.reference_image_id
    JOIN images f ON f.id = p.first_image_id
    JOIN images s ON s.id = p.second_image_id
    WHERE se.study_id = :study AND se.state <> 'excluded' AND NOT se.preview
      AND v.surplus_reason IS NULL
      AND NOT EXISTS (SELECT 1 FROM votes later WHERE later.supersedes_id = v.id)
    ORDER BY v.id
""")
CONTENT = Statement("""
    SELECT r.prompt_key, i.sample_index, i.arm, d.changed, d.mean, d.spot
    FROM differences d JOIN images i ON i.id = d.image_id JOIN prompts r ON r.id = i.prompt_id
    WHERE d.study_id = :study ORDER BY r.prompt_key, i.sample_index, i.arm
""")
CONTENT_COLUMNS = ("prompt_id", "sample_index", "arm", "changed", "flip_mean", "flip_spot")
_ANSWERS = {
    Choice.LEFT: TripletAnswer.LEFT,
    Choice.RIGHT: TripletAnswer.RIGHT,
    Choice.TIE: TripletAnswer.NOT_SURE,
    Choice.SKIP: TripletAnswer.SKIP,
}
_TYPES: dict[str, Any] = {
    **dict.fromkeys(TRIPLET_COLUMNS, pl.String),
    **dict.fromkeys(("served_at", "answered_at"), TIME),
    **dict.fromkeys(
        ("response_ms", "sample_index", "zoom", "crop_x", "crop_y", "crop_width", "crop_height", "toggles"), pl.Int64
    ),
    **dict.fromkeys(("factor", "rate_hz", "clipped"), pl.Float64),
    "simulated": pl.Boolean,
}


def is_fidelity(database: Database, study: str) -> bool:
    """Whether a study asks about triplets; NotFound for an unknown one."""
    with database.snapshot() as tx:
        return tx.one(HAS_TRIPLETS, study=study_number(tx, study)) is not None


def export_triplets(database: Database, *, study: str, path: Path, rest: float = 0.0) -> ExportSummary:
    """Write the effective triplet votes of `study` (every kind) to `path`; the ending gives the format.

    `rest`: as of export_votes.

    Raises NotFound for an unknown study, InputError for an unknown ending or a preference study, IntegrityError if a
    stored row breaks the contract or the counts disagree (then nothing is written).
    """
    _check_ending(path)
    written = simulated = 0
    kinds: Counter[str] = Counter()
    with database.snapshot() as tx, atomic_file(path, parents=True) as draft:
        number = _fidelity_study(tx, study)
        total, excluded, surplus, superseded = count_stored(tx, number, rest=rest)
        with open_table(draft) as write:
            for votes in _batches(tx, number, study, rest):
                rows = [vote.model_dump(mode="python") for vote in votes]
                write(pl.DataFrame(rows, schema=_TYPES, orient="row"))
                written += len(rows)
                simulated += sum(vote.simulated for vote in votes)
                kinds.update(vote.kind.value for vote in votes)
        if written + surplus + superseded + excluded != total:
            raise IntegrityError(
                f"{study}: {total} vote rows, but {written} effective, {superseded} superseded, "
                f"{surplus} surplus and {excluded} of excluded annotators; "
                "the database contradicts itself and nothing was written"
            )
    return ExportSummary(path, total, written, superseded, surplus, excluded, simulated, dict(kinds))


def export_content(database: Database, *, study: str, path: Path) -> dict[str, tuple[int, int]]:
    """Write which pictures have other content than their reference; returns changed and all pictures of each arm.

    One row for each picture that is not the reference: prompt_id, sample_index, arm, changed, and what that rests on.
    """
    _check_ending(path)
    with database.snapshot() as tx:
        rows = tx.all(CONTENT, study=_fidelity_study(tx, study))
    frame = pl.DataFrame(rows, schema=list(CONTENT_COLUMNS), orient="row").with_columns(
        pl.col("changed").cast(pl.Boolean)
    )
    with atomic_file(path, parents=True) as draft:
        if path.suffix == ".parquet":
            frame.write_parquet(draft)
        elif path.suffix == ".csv":
            frame.write_csv(draft)
        else:
            frame.write_ndjson(draft)
    counts = frame.group_by("arm", maintain_order=True).agg(pl.col("changed").sum(), pl.len().alias("all"))
    return {arm: (int(changed), int(pictures)) for arm, changed, pictures in counts.iter_rows()}


def _check_ending(path: Path) -> None:
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: the ending {path.suffix!r} is not one of {', '.join(FORMATS)}")


def _fidelity_study(tx: Tx, study: str) -> int:
    number = study_number(tx, study)
    if tx.one(HAS_TRIPLETS, study=number) is None:
        raise InputError(f"study {study!r} is a preference study; it has no triplets")
    return number


def _batches(tx: Tx, number: int, study: str, rest: float) -> Iterator[list[TripletVote]]:
    """The votes in batches of BATCH_ROWS, at least one; they are read and checked PIECE_ROWS at a time."""
    votes: list[TripletVote] = []
    row_number, empty = 0, True
    for rows in with_rests(tx.batches(TRIPLET_VOTES, PIECE_ROWS, study=number), rest):
        for row in rows:
            row_number += 1
            try:
                votes.append(TripletVote.model_validate(_values(row, study)))
            except ValidationError as error:
                where = f"{study}: vote {row_number} breaks the contract"
                raise IntegrityError(f"{where}: {first_problem(error)}; nothing was written") from error
        if len(votes) >= BATCH_ROWS:
            yield votes
            votes, empty = [], False
    if votes or empty:
        yield votes


def _values(row: Row, study: str) -> dict[str, Any]:
    key, prompt, reference, first, second, first_on_left, presentation, choice = row[:8]
    annotator, session, served, answered = row[8:12]
    response, kind, sample, factor, x, y, width, height, clipped, display, simulated = row[12:]
    view = (json.loads(display) if display else {}).get("view", {})
    scale, boosted = view.get("scale"), presentation == "boosted"
    return {
        "study": study,
        "triplet_id": key,
        "prompt_id": prompt,
        "reference_arm": reference,
        "left_arm": first if first_on_left else second,
        "right_arm": second if first_on_left else first,
        "presentation": presentation,
        "answer": _ANSWERS[Choice(choice)],
        "annotator": annotator,
        "session": session,
        "served_at": _time(served),
        "answered_at": _time(answered),
        "response_ms": response,
        "kind": kind,
        "sample_index": sample,
        "factor": factor,
        "zoom": round(scale) if scale is not None and scale >= 1 and scale == round(scale) else None,
        "rate_hz": view.get("rate_hz") if boosted else None,
        "crop_x": x,
        "crop_y": y,
        "crop_width": width,
        "crop_height": height,
        "clipped": clipped,
        "toggles": view.get("swaps"),
        "simulated": bool(simulated),
    }


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)

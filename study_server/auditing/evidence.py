"""Open a study: write everything that its opponents need to check it, as files for everybody.

    preregistration.json   as it was preregistered (if it was)
    chain.json          salt, head and length of the chain
    seals.jsonl         every head that the server published, with its time
    rows.jsonl          every vote ever stored, in the chain's order, with its leaf and why it counts or not; a vote
                        that was deleted at its person's request has a leaf only
    excluded.jsonl      annotators that the owner left out, with time and reason
    pairs.jsonl         every pair with its arms and the hashes of its pictures
    designs.jsonl       every design that the study has had
    votes.parquet       the votes table, for the analysis; of a fidelity study triplets.parquet, and content.parquet
                        with the pictures whose content changed
    votes.looks.json    of a study with a stopping rule: what each planned look found
    manifest.json       the SHA-256 of each of these files

No platform id, demographic answer, cookie or address is in any of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsched.errors import InputError
from qsched.files import write_atomic
from qsched.records.evidence import MANIFEST, sha256
from study_server.auditing import queries
from study_server.auditing.preregistering import read_pairs
from study_server.auditing.sealing import as_record, open_chain, read_chain, read_seals, seal_all
from study_server.clock import now_ms
from study_server.db.database import Database
from study_server.db.statements import Tx
from study_server.export.triplets import export_content, export_triplets
from study_server.export.votes import HAS_TRIPLETS, export_votes, study_number
from study_server.studies.cache import find_study
from study_server.studies.looks import SETTLED_MS, find_due_look, looks_of, read_stopping


@dataclass(frozen=True, slots=True)
class Opened:
    """Votes in the chain (`deleted` of them without a row), its head, the manifest's SHA-256, and whether
    the study was preregistered, and its status (open, paused or closed)."""

    votes: int
    deleted: int
    head: str
    sha256: str
    preregistered: bool
    status: str


def write_evidence(database: Database, *, study: str, folder: Path) -> Opened:
    """Seal what is not sealed yet and write the files; InputError for a folder that is not empty."""
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; evidence goes into a folder of its own")
    with database.transaction() as tx:
        number = study_number(tx, study)
        fidelity = tx.one(HAS_TRIPLETS, study=number) is not None
        _refuse_due_look(tx, study)
        while seal_all(tx, now=now_ms()):
            pass
        open_chain(tx, number)  # a study without votes has one too
    # A snapshot: whoever votes in another study does not wait for the files.
    with database.snapshot() as tx:
        chain = read_chain(tx, number)
        texts = {
            "chain.json": json.dumps(
                {"schema_version": 1, "study": study, "salt": chain.salt, "head": chain.head, "votes": chain.length},
                indent=1,
            )
            + "\n",
            "seals.jsonl": _lines(seal._asdict() for seal in read_seals(tx, number)),
            "rows.jsonl": _lines(_rows(tx, number)),
            "excluded.jsonl": _lines(
                {"annotator": who, "excluded_ms": at, "reason": why}
                for who, at, why in tx.all(queries.EXCLUDED, study=number)
            ),
            "pairs.jsonl": _lines(read_pairs(tx, number)),
            "designs.jsonl": _lines(_designs(tx, number)),
        }
        deleted = len(tx.all(queries.DELETED, study=number))
        ((status,),) = tx.all(queries.STATUS, study=number)
    if chain.preregistration is not None:
        texts["preregistration.json"] = chain.preregistration
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_atomic(folder / name, text.encode())
    if fidelity:
        export_triplets(database, study=study, path=folder / "triplets.parquet")
        export_content(database, study=study, path=folder / "content.parquet")
    else:
        export_votes(database, study=study, path=folder / "votes.parquet")
    looks = looks_of(database, study)
    if looks is not None:
        write_atomic(folder / "votes.looks.json", (looks.model_dump_json(indent=1) + "\n").encode())
    files = {path.name: sha256(path.read_bytes()) for path in sorted(folder.iterdir())}
    manifest = json.dumps({"schema_version": 1, "study": study, "files": files}, indent=1) + "\n"
    write_atomic(folder / MANIFEST, manifest.encode())
    return Opened(chain.length, deleted, chain.head, sha256(manifest), chain.preregistration is not None, status)


def _refuse_due_look(tx: Tx, slug: str) -> None:
    """InputError for a look that its votes make due: without it the evidence would look as if it had been dropped."""
    study = find_study(tx, slug)
    stopping = read_stopping(tx, study)
    if stopping is None:
        return
    due = find_due_look(tx, study, stopping, now=now_ms() + SETTLED_MS)
    if due is not None:
        raise InputError(f"look {due.number} of study {slug!r} is due: run `qsched study look {slug}`, then this again")


def _rows(tx: Tx, study: int) -> list[dict[str, Any]]:
    found = [
        {
            "position": position,
            "leaf": leaf,
            "surplus": surplus,
            "excluded": bool(excluded),
            "row": as_record(tuple(row)),
        }
        for position, leaf, surplus, excluded, *row in tx.all(queries.SEALED, study=study)
    ]
    found += [
        {"position": position, "leaf": leaf, "surplus": None, "excluded": False, "row": None}
        for position, leaf in tx.all(queries.DELETED, study=study)
    ]
    return sorted(found, key=lambda line: int(line["position"]))


def _designs(tx: Tx, study: int) -> Iterator[dict[str, Any]]:
    """The first design is the preregistered one; each is the text as it was stored."""
    row = tx.one(queries.DESIGN, study=study)
    assert row is not None
    texts = [design for (design,) in tx.all(queries.DESIGNS, study=study)]
    if not texts or texts[-1] != row[3]:
        texts.append(row[3])
    yield from ({"version": version, "design": text} for version, text in enumerate(texts, 1))


def _lines(records: Any) -> str:
    return "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)

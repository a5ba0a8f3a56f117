"""Write a study as a folder that others can read: tables, study card, checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qsched.errors import InputError
from qsched.files import write_atomic
from study_server.db.database import Database
from study_server.export import export_triplets, export_votes, is_fidelity
from study_server.export.display import export_display
from study_server.export.sessions import export_demographics, export_reports, export_sessions
from study_server.export.votes import ExportSummary
from study_server.publication.card import AgreementFigures, study_card
from study_server.publication.words import card_page
from study_server.studies.cache import find_study
from study_server.studies.looks import looks_of

LOOKS = "votes.looks.json"
Agree = Callable[[Path], AgreementFigures | None]


@dataclass(frozen=True, slots=True)
class Publication:
    """What was written: the folder, its tables by name, and the summary of the votes."""

    folder: Path
    tables: dict[str, str]
    votes: ExportSummary


def publish(
    database: Database, slug: str, folder: Path, *, agree: Agree, with_demographics: bool = False
) -> Publication:
    """Write the study into a new folder; InputError if the folder has something in it.

    `agree` computes the agreement from the votes file: the server knows no statistics.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; name a new folder")
    with database.snapshot() as tx:
        study = find_study(tx, slug)
    folder.mkdir(parents=True, exist_ok=True)
    fidelity = is_fidelity(database, slug)
    tables = {"votes": "triplets.parquet" if fidelity else "votes.parquet"}
    votes = folder / tables["votes"]
    exported = (export_triplets if fidelity else export_votes)(database, study=slug, path=votes)
    tables |= {"display": "display.parquet", "sessions": "sessions.parquet", "reports": "reports.parquet"}
    export_display(database, study=slug, path=folder / tables["display"])
    export_sessions(database, study=slug, path=folder / tables["sessions"])
    export_reports(database, study=slug, path=folder / tables["reports"])
    looks = None if fidelity else looks_of(database, slug)
    if looks is not None:
        write_atomic(folder / LOOKS, (looks.model_dump_json(indent=1) + "\n").encode())
    if with_demographics:
        tables["demographics"] = "demographics.parquet"
        export_demographics(database, study=slug, path=folder / tables["demographics"])
    with database.snapshot() as tx:
        card = study_card(
            tx,
            study,
            votes=votes,
            display=folder / tables["display"],
            exported=exported,
            agreement=None if fidelity else agree(votes),
        )
    write_atomic(folder / "study-card.json", (json.dumps(card, ensure_ascii=False, indent=1) + "\n").encode())
    write_atomic(folder / "README.md", card_page(card, tables=tables, looks=None if looks is None else LOOKS).encode())
    _write_checksums(folder)
    return Publication(folder, tables, exported)


def _write_checksums(folder: Path) -> None:
    lines = []
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
    write_atomic(folder / "SHA256SUMS", "".join(lines).encode())

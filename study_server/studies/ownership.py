"""The owner's side of a study's life: list, open and close, delete."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from pydantic import ValidationError

from qsched.records.image_set import first_problem
from study_server.db.database import Database
from study_server.db.models import AssignmentRecord, PairRecord, SessionRecord, StudyRecord, VoteRecord
from study_server.errors import NotFound
from study_server.studies.design import StudyDesign

STATUSES = ("open", "paused", "closed")


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One line of `qsched study list`. `problem` says why the stored design cannot be read; the target is then None."""

    slug: str
    title: str
    status: str
    pairs: int
    target_votes: int | None
    valid_votes: int
    sessions: int
    problem: str | None = None


def list_studies(database: Database) -> list[StudyRow]:
    """Every study with its counts, oldest first. `valid_votes` counts task pairs' filled slots, not leases."""
    with database.session() as session:
        rows = []
        for study in session.scalars(sa.select(StudyRecord).order_by(StudyRecord.id)):
            pairs = session.scalar(
                sa.select(sa.func.count()).where(
                    PairRecord.study_id == study.id, PairRecord.pool == "task", ~PairRecord.disabled
                )
            )
            votes = session.scalar(
                sa.select(sa.func.count())
                .select_from(AssignmentRecord)
                .join(SessionRecord, SessionRecord.id == AssignmentRecord.session_id)
                .where(SessionRecord.study_id == study.id, AssignmentRecord.state == "voted", AssignmentRecord.counted)
            )
            sessions = session.scalar(sa.select(sa.func.count()).where(SessionRecord.study_id == study.id))
            target, problem = _target(study.design, pairs or 0)
            rows.append(
                StudyRow(study.slug, study.title, study.status, pairs or 0, target, votes or 0, sessions or 0, problem)
            )
        return rows


def _target(stored: str, pairs: int) -> tuple[int | None, str | None]:
    """The votes that a stored design asks for, or why it cannot be read."""
    try:
        design = StudyDesign.model_validate_json(stored)
    except ValidationError as error:
        return None, first_problem(error)
    return design.votes_total or pairs * design.votes_per_pair, None


def set_status(database: Database, slug: str, status: str) -> None:
    """Open, pause or close a study; NotFound for a slug that does not exist."""
    if status not in STATUSES:
        raise ValueError(f"{status!r} is not one of {STATUSES}")
    with database.session() as session:
        done = session.execute(
            sa.update(StudyRecord).where(StudyRecord.slug == slug).values(status=status).returning(StudyRecord.id)
        )
        if done.first() is None:
            raise NotFound(f"no study {slug!r}; `qsched study list` shows them")


def vote_rows(database: Database, slug: str) -> int:
    """How many vote rows, corrections and surplus included, a study holds."""
    with database.session() as session:
        count = session.scalar(
            sa.select(sa.func.count())
            .select_from(VoteRecord)
            .join(SessionRecord, SessionRecord.id == VoteRecord.session_id)
            .join(StudyRecord, StudyRecord.id == SessionRecord.study_id)
            .where(StudyRecord.slug == slug)
        )
        return count or 0


def delete_study(database: Database, slug: str, *, data_folder: Path) -> None:
    """Remove a study with its votes and picture copies, for good."""
    with database.session() as session:
        done = session.execute(sa.delete(StudyRecord).where(StudyRecord.slug == slug).returning(StudyRecord.id))
        if done.first() is None:
            raise NotFound(f"no study {slug!r}; `qsched study list` shows them")
    shutil.rmtree(data_folder / slug, ignore_errors=True)

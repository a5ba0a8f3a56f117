"""The owner's side of a study's life: list, open and close, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from qsched.locations import Location, remove_folder
from study_server.clock import now_ms
from study_server.db.database import Database
from study_server.db.models import PairRecord, PromptRecord, StudyRecord
from study_server.db.participation_models import SessionRecord, VoteRecord
from study_server.errors import Conflict, NotFound
from study_server.media.store import study_folder
from study_server.studies.actions import COMMAND_LINE, record_action
from study_server.studies.events import PAUSED, emit
from study_server.studies.progress import StudyRow, read_studies

STATUSES = ("open", "paused", "closed")
ACTIONS = {"open": "opened", "paused": "paused", "closed": "closed"}


def list_studies(database: Database) -> list[StudyRow]:
    """Every study with its counts, oldest first."""
    with database.snapshot() as tx:
        return read_studies(tx)


def set_status(database: Database, slug: str, status: str, *, by: str = COMMAND_LINE) -> None:
    """Open, pause or close a study; NotFound for a slug that does not exist, Conflict for a study half imported.

    When this returns for `closed`, every vote that will ever be accepted is stored: votes being written are waited for.
    """
    if status not in STATUSES:
        raise ValueError(f"{status!r} is not one of {STATUSES}")
    with database.session() as session:
        if database.dialect == "postgresql":
            # A vote holds a row of `sessions` from its look at the study's status to its commit.
            session.execute(sa.text("LOCK TABLE sessions IN EXCLUSIVE MODE"))
        study = session.scalars(sa.select(StudyRecord).where(StudyRecord.slug == slug)).one_or_none()
        if study is None:
            raise NotFound(f"no study {slug!r}; `qsched study list` shows them")
        if study.status == "importing":
            raise Conflict(f"study {slug!r} is not imported to the end; `qsched study create` finishes it")
        if status == "paused" and study.status != status:
            emit(session, PAUSED, study=slug, key=f"{study.uid}:paused:{now_ms()}", data={"by": by})
        study.status = status
        record_action(session, ACTIONS[status], actor=by, study=slug)


@dataclass(frozen=True, slots=True)
class ReportedPair:
    """A pair that people reported as not visible, or that is taken out."""

    pair_key: str
    prompt: str
    reports: int
    disabled: bool


def reported_pairs(database: Database, slug: str) -> list[ReportedPair]:
    """The pairs of a study with reports of missing pictures, or taken out; NotFound for an unknown slug."""
    with database.session() as session:
        study = _study_id(session, slug)
        rows = session.execute(
            sa.select(PairRecord.pair_key, PromptRecord.prompt_key, PairRecord.problems, PairRecord.disabled)
            .join(PromptRecord, PromptRecord.id == PairRecord.prompt_id)
            .where(PairRecord.study_id == study, sa.or_(PairRecord.disabled, PairRecord.problems > 0))
            .order_by(PairRecord.disabled.desc(), PairRecord.problems.desc(), PairRecord.pair_key)
        )
        return [ReportedPair(*row) for row in rows]


def enable_pairs(database: Database, slug: str, *, keys: Sequence[str] | None = None, by: str = COMMAND_LINE) -> int:
    """Hand out again the pairs that were taken out (all, or those named); returns how many."""
    with database.session() as session:
        study = _study_id(session, slug)
        disabled = sa.select(PairRecord.pair_key).where(PairRecord.study_id == study, PairRecord.disabled)
        unknown = sorted(set(keys or ()) - set(session.scalars(disabled)))
        if unknown:
            raise NotFound(f"{', '.join(unknown)}: no pair of study {slug!r} that is taken out has this name")
        where = [PairRecord.study_id == study, PairRecord.disabled]
        if keys is not None:
            where.append(PairRecord.pair_key.in_(keys))
        enabled = session.scalars(
            sa.update(PairRecord).where(*where).values(disabled=False, problems=0).returning(PairRecord.id)
        ).all()
        if enabled:
            what = f"{len(enabled)} pairs" if keys is None else ", ".join(keys)
            record_action(session, "pairs enabled", actor=by, study=slug, detail=what)
        return len(enabled)


def _study_id(session: Session, slug: str) -> int:
    study = session.scalar(sa.select(StudyRecord.id).where(StudyRecord.slug == slug))
    if study is None:
        raise NotFound(f"no study {slug!r}; `qsched study list` shows them")
    return study


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


def delete_study(database: Database, slug: str, *, data_folder: Location) -> None:
    """Remove a study with its votes and picture copies, for good."""
    with database.session() as session:
        study = _study_id(session, slug)
        data_path = session.scalar(sa.select(StudyRecord.data_path).where(StudyRecord.id == study))
        session.execute(sa.delete(StudyRecord).where(StudyRecord.id == study))
        record_action(session, "study deleted", actor=COMMAND_LINE, study=slug)
    remove_folder(study_folder(data_folder, slug, data_path))

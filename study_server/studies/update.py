"""Apply a changed study.yaml to a study that exists, and keep every version of its design."""

from __future__ import annotations

import math
from dataclasses import dataclass

import sqlalchemy as sa

from qsched.errors import InputError
from study_server.clock import now_ms
from study_server.db.database import Database
from study_server.db.lock import exclusive_setup
from study_server.db.models import DesignVersionRecord, StudyRecord, VoteBudgetRecord
from study_server.db.participation_models import SessionRecord
from study_server.errors import NotFound
from study_server.studies.actions import COMMAND_LINE, record_action
from study_server.studies.changes import DesignChange, design_changes
from study_server.studies.design import StudyDesign


@dataclass(frozen=True, slots=True)
class DesignVersion:
    """A version of a design: since when, what it changed, and how many sessions began under it."""

    version: int
    changed_ms: int
    keys: tuple[str, ...]
    consent_version: str
    sessions: int


def update_study(database: Database, design: StudyDesign, *, set_id: str, by: str = COMMAND_LINE) -> list[DesignChange]:
    """Give the study of this slug the design, if every change is harmless; returns the changes.

    Raises NotFound for an unknown slug, InputError for another image set or a change that is refused; then nothing
    changes. Running servers show the new texts within a few seconds.
    """
    with exclusive_setup(database), database.session() as session:
        study = session.scalars(sa.select(StudyRecord).where(StudyRecord.slug == design.slug)).one_or_none()
        if study is None:
            raise NotFound(f"no study {design.slug!r}; `qsched study create` makes it")
        if study.set_id != set_id:
            raise InputError(
                f"study {design.slug!r} shows the image set {study.set_id!r}, the file names {set_id!r}; "
                "other pictures are another study: choose another slug"
            )
        before = StudyDesign.model_validate_json(study.design)
        changes = design_changes(before, design)
        refuse_changes(design.slug, [change for change in changes if change.refusal is not None])
        if not changes:
            return []
        study.design = design.model_dump_json()
        study.title = design.first(design.title)
        _grow_budget(session, study.id, (design.votes_total or 0) - (before.votes_total or 0))
        latest = sa.select(sa.func.max(DesignVersionRecord.version)).where(DesignVersionRecord.study_id == study.id)
        session.add(
            DesignVersionRecord(
                study_id=study.id,
                version=(session.scalar(latest) or 0) + 1,
                design=study.design,
                changed_ms=now_ms(),
            )
        )
        record_action(
            session,
            "design changed",
            actor=by,
            study=design.slug,
            detail="; ".join(f"{change.key}: {change.before} -> {change.after}" for change in changes),
        )
        return changes


def stored_set_id(database: Database, slug: str) -> str:
    """The image set that a study shows; NotFound for an unknown slug."""
    with database.session() as session:
        set_id = session.scalar(sa.select(StudyRecord.set_id).where(StudyRecord.slug == slug))
    if set_id is None:
        raise NotFound(f"no study {slug!r}; `qsched study list` shows them")
    return set_id


def refuse_changes(slug: str, refused: list[DesignChange]) -> None:
    """InputError that names every change in `refused` and why it cannot be applied."""
    if refused:
        reasons = "".join(
            f"\n  {change.key}: {change.before} -> {change.after}: {change.refusal}" for change in refused
        )
        raise InputError(
            f"study {slug!r} exists, and these keys cannot change:{reasons}\n"
            "Take the change back, or choose another slug for a new study."
        )


def design_history(database: Database, slug: str) -> list[DesignVersion]:
    """Every version of a study's design, oldest first; NotFound for an unknown slug."""
    with database.session() as session:
        study = session.scalar(sa.select(StudyRecord.id).where(StudyRecord.slug == slug))
        if study is None:
            raise NotFound(f"no study {slug!r}; `qsched study list` shows them")
        columns = (DesignVersionRecord.version, DesignVersionRecord.changed_ms, DesignVersionRecord.design)
        rows = session.execute(
            sa.select(*columns).where(DesignVersionRecord.study_id == study).order_by(DesignVersionRecord.version)
        ).all()
        began = sa.select(SessionRecord.started_ms).where(SessionRecord.study_id == study, ~SessionRecord.preview)
        started = session.scalars(began).all()
    versions: list[DesignVersion] = []
    before: StudyDesign | None = None
    ends = [changed_ms for _, changed_ms, _ in rows[1:]] + [math.inf]
    for (version, changed_ms, stored), end in zip(rows, ends, strict=True):
        design = StudyDesign.model_validate_json(stored)
        keys = () if before is None else tuple(change.key for change in design_changes(before, design))
        sessions = sum(changed_ms <= at < end for at in started)
        versions.append(DesignVersion(version, changed_ms, keys, design.consent.version, sessions))
        before = design
    return versions


def _grow_budget(session: sa.orm.Session, study: int, more: int) -> None:
    """Spread `more` votes over the study's budget rows."""
    rows = session.scalars(sa.select(VoteBudgetRecord).where(VoteBudgetRecord.study_id == study)).all()
    for number, row in enumerate(rows):
        row.remaining += more // len(rows) + (number < more % len(rows))

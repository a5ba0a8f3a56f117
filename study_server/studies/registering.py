"""A study's registration: the clauses of its design, with the time at which the server stored it.

The design is stored when the study is made, before anybody can vote, and its clauses and trap rule cannot change after
that (`changes`), so the registration is earlier than every vote.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from qsched.errors import InputError
from qsched.records.registration import Registration, TrapPlan
from study_server.db.database import Database
from study_server.db.models import StudyRecord
from study_server.errors import NotFound
from study_server.studies.design import StudyDesign


def registration_of(database: Database, slug: str, *, arm: str | None) -> Registration:
    """The registration of one arm's clauses (of the only one, without `arm`).

    Raises NotFound for an unknown study, InputError for a study without such clauses.
    """
    with database.session() as session:
        row = session.execute(
            sa.select(StudyRecord.design, StudyRecord.created_ms).where(StudyRecord.slug == slug)
        ).one_or_none()
    if row is None:
        raise NotFound(f"no study {slug!r}; `qsched study list` shows them")
    design = StudyDesign.model_validate_json(row[0])
    claimed = () if design.fidelity is None else design.fidelity.clauses
    names = ", ".join(one.arm for one in claimed)
    found = [one for one in claimed if arm in (None, one.arm)]
    if not found:
        problem = f"claims nothing of {arm!r}; it names {names}" if claimed else "has no clauses"
        raise InputError(
            f"study {slug!r} {problem}; clauses are fixed in study.yaml (fidelity: clauses) when a study is made"
        )
    if len(found) > 1:
        raise InputError(f"study {slug!r} has clauses of {names}; name one with --arm")
    traps = design.fidelity.traps if design.fidelity is not None else TrapPlan()
    return Registration(
        study=slug,
        registered_at=datetime.fromtimestamp(row[1] / 1000, UTC),
        traps=TrapPlan(share=traps.share, least=traps.least),
        **found[0].model_dump(),
    )

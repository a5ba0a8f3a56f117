"""The log of what owners did: one row per action, written in the transaction of the action, never changed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from study_server.clock import now_ms
from study_server.db import Statement, Tx
from study_server.db.owner_models import OwnerActionRecord

#: Who acts where nobody is signed in.
COMMAND_LINE = "command line"
PAGE_ROWS = 50

RECORD = Statement("""
    INSERT INTO owner_actions (at_ms, actor, study, action, detail) VALUES (:now, :actor, :study, :action, :detail)
""")
LATEST = Statement("""
    SELECT id, at_ms, actor, study, action, detail FROM owner_actions
    WHERE id < :before AND (CAST(:study AS TEXT) IS NULL OR study = :study)
    ORDER BY id DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class OwnerAction:
    """One row of the log; `at_ms` is the time in milliseconds since 1970 UTC."""

    id: int
    at_ms: int
    actor: str
    study: str | None
    action: str
    detail: str | None


def record_action(
    target: Session | Tx, action: str, *, actor: str, study: str | None = None, detail: str | None = None
) -> None:
    """Add a row in the caller's transaction: an ORM session's, or a job's of the writer."""
    if isinstance(target, Tx):
        target.run(RECORD, now=now_ms(), actor=actor, study=study, action=action, detail=detail)
    else:
        target.add(OwnerActionRecord(at_ms=now_ms(), actor=actor, study=study, action=action, detail=detail))


def latest_actions(
    tx: Tx, *, study: str | None = None, before: int = 2**62, limit: int = PAGE_ROWS
) -> list[OwnerAction]:
    """The newest actions with an id below `before`, of one study or of all."""
    return [OwnerAction(*row) for row in tx.all(LATEST, study=study, before=before, limit=limit)]

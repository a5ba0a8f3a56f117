"""One person's session in a study: what the transaction locks, reads, changes and saves."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from study_server.assignment import queries
from study_server.assignment.policy import Candidate
from study_server.db import Tx
from study_server.db.statements import Row
from study_server.db.states import SessionState, StudyStatus
from study_server.errors import NotSignedIn
from study_server.studies.design import StudyDesign


@dataclass(slots=True)
class AnnotatorSession:
    """One session, locked by this transaction; changes are written back by `save_session`.

    `held` are open pairs for its next trial that were locked with it; empty if none was looked for.
    """

    id: int
    study_id: int
    annotator_id: int
    simulated: bool
    state: SessionState
    started_ms: int
    plan: str
    position: int
    done: int
    practice_done: int
    voided: int
    left_balance: int
    recent: tuple[int, ...]
    last_assignment_id: int | None
    tab_token: str | None
    tab_seen_ms: int | None
    judged_ms: int | None
    preview: bool
    status: StudyStatus
    stored_plan: str | None = field(default=None, compare=False)
    held: list[Candidate] = field(default_factory=list, compare=False)

    @classmethod
    def from_row(cls, row: Row) -> AnnotatorSession:
        """From the columns of SESSION_COLUMNS, which are the fields in their order."""
        session = cls(*row)
        session.simulated = bool(session.simulated)
        session.preview = bool(session.preview)
        session.recent = tuple(map(int, row[_RECENT].split(","))) if row[_RECENT] else ()
        session.stored_plan = session.plan
        return session

    @property
    def outstanding(self) -> int:
        """Trials handed out and not yet answered."""
        return self.position - self.done - self.practice_done - self.voided

    @property
    def total(self) -> int:
        """Scored trials of the session."""
        return len(self.plan) - self.plan.count("P") - self.voided

    def seconds_left(self, design: StudyDesign, now: int) -> int | None:
        """Until the session's time is over; None without a limit."""
        if design.max_minutes is None:
            return None
        return max(0, (self.started_ms + design.max_minutes * 60_000 - now) // 1000)


# In the order of SESSION_COLUMNS.
COLUMNS = tuple(column.name for column in fields(AnnotatorSession) if column.compare)
SESSION_WIDTH = len(COLUMNS)
_RECENT = COLUMNS.index("recent")


def load_session(tx: Tx, *, key: str, study: int) -> AnnotatorSession:
    """Lock and read the session whose token hashes to `key`; NotSignedIn if it does not exist (any more)."""
    row = tx.one(queries.LOCK_SESSION, key=key, study=study)
    if row is None:
        raise NotSignedIn("this session is unknown or over; open the study's link again")
    return AnnotatorSession.from_row(row)


def save_session(tx: Tx, session: AnnotatorSession, *, now: int) -> None:
    """Write a session back."""
    tx.later(
        queries.SAVE_SESSION,
        session=session.id,
        state=session.state,
        position=session.position,
        done=session.done,
        practice_done=session.practice_done,
        voided=session.voided,
        left_balance=session.left_balance,
        recent=",".join(map(str, session.recent)),
        last_assignment_id=session.last_assignment_id,
        tab_token=session.tab_token,
        tab_seen_ms=session.tab_seen_ms,
        judged_ms=session.judged_ms,
        now=now,
    )
    if session.plan != session.stored_plan:
        tx.run(queries.SAVE_PLAN, session=session.id, plan=session.plan)
        session.stored_plan = session.plan

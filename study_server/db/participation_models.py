"""The tables of what people leave: annotators, their platform identities, sessions, assignments, votes and reports.

Platform identities are kept apart from everything that is exported.
"""

from __future__ import annotations

from sqlalchemy import Double, ForeignKey, Index, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from study_server.db.models import Base, Key


class AnnotatorRecord(Base):
    """One person. An excluded one keeps every vote, but none of them counts or is exported."""

    __tablename__ = "annotators"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    pseudonym: Mapped[str] = mapped_column(unique=True)
    created_ms: Mapped[int]
    excluded_ms: Mapped[int | None]
    excluded_reason: Mapped[str | None]


class PlatformIdentityRecord(Base):
    """Who an annotator is on a recruiting platform; never joined into an export."""

    __tablename__ = "platform_identities"
    __table_args__ = (UniqueConstraint("study_id", "platform", "external_id"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotators.id", ondelete="CASCADE"), index=True)
    platform: Mapped[str]
    external_id: Mapped[str]


class PlatformSessionRecord(Base):
    """The platform's own names of one participation (study and submission)."""

    __tablename__ = "platform_sessions"
    __table_args__ = (UniqueConstraint("annotator_id", "external_session"),)

    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotators.id", ondelete="CASCADE"))
    platform: Mapped[str]
    external_study: Mapped[str | None]
    external_session: Mapped[str | None]


class SessionRecord(Base):
    """One session. `plan` has one letter per trial (see assignment.policy); `position` is the next to hand out.

    `token_hash` is the SHA-256 of the random token in the cookie, `judged_ms` the time of the last vote or report.
    `state` is also `excluded`, and `not_understood` if the questions about the instructions were not passed;
    `comprehension` has their tries and outcome as JSON. `preview` is an owner's walk, which counts nowhere. A person
    quotes `withdraw_code` to have their data deleted.
    """

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_withdraw_code", "withdraw_code", unique=True),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotators.id", ondelete="CASCADE"), index=True)
    pseudonym: Mapped[str] = mapped_column(unique=True)
    simulated: Mapped[bool]
    state: Mapped[str] = mapped_column(comment="active | finished | screened_out")
    consent_version: Mapped[str]
    started_ms: Mapped[int]
    finished_ms: Mapped[int | None]
    plan: Mapped[str]
    position: Mapped[int] = mapped_column(server_default="0")
    done: Mapped[int] = mapped_column(server_default="0")
    practice_done: Mapped[int] = mapped_column(server_default="0")
    voided: Mapped[int] = mapped_column(server_default="0")
    left_balance: Mapped[int] = mapped_column(server_default="0")
    recent: Mapped[str] = mapped_column(server_default="", comment="prompt ids of the latest trials, oldest first")
    last_assignment_id: Mapped[int | None]
    tab_token: Mapped[str | None]
    tab_seen_ms: Mapped[int | None]
    token_hash: Mapped[str | None] = mapped_column(unique=True)
    judged_ms: Mapped[int | None]
    screening: Mapped[str | None]
    demographics: Mapped[str | None]
    comprehension: Mapped[str | None]
    preview: Mapped[bool] = mapped_column(server_default=false())
    withdraw_code: Mapped[str | None]


class AssignmentRecord(Base):
    """One pair shown once to one person. `counted` says whether it holds one of the pair's slots."""

    __tablename__ = "assignments"
    __table_args__ = (
        Index("ix_assignments_session_position", "session_id", "position"),
        Index(
            "ix_assignments_leases",
            "lease_expires_ms",
            sqlite_where=text("state = 'leased'"),
            postgresql_where=text("state = 'leased'"),
        ),
        # A person never judges a pair twice, except as a repeat.
        Index(
            "uq_assignments_once",
            "annotator_id",
            "pair_id",
            unique=True,
            sqlite_where=text("kind IN ('task', 'warmup', 'gold', 'trap', 'bias') AND state <> 'void'"),
            postgresql_where=text("kind IN ('task', 'warmup', 'gold', 'trap', 'bias') AND state <> 'void'"),
        ),
        Index("ix_assignments_pair", "pair_id"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    annotator_id: Mapped[int]
    pair_id: Mapped[int] = mapped_column(ForeignKey("pairs.id", ondelete="CASCADE"))
    kind: Mapped[str]
    position: Mapped[int]
    first_on_left: Mapped[bool]
    expected: Mapped[str | None]
    state: Mapped[str] = mapped_column(comment="leased | voted | expired | void | reported")
    counted: Mapped[bool]
    reopened: Mapped[bool] = mapped_column(server_default=false())
    served_ms: Mapped[int]
    lease_expires_ms: Mapped[int]
    successor_id: Mapped[int | None]
    selection_probability: Mapped[float | None] = mapped_column(Double)
    #: Of a ranked set: numbers of the pictures as they lay, "2031".
    places: Mapped[str | None]


class VoteRecord(Base):
    """One answer to one question. Never changed: a correction is a new row that names the old one.

    `doubt` says why a stored value is not credible.
    """

    __tablename__ = "votes"
    __table_args__ = (
        UniqueConstraint("session_id", "idempotency_key", "question"),
        Index("ix_votes_assignment", "assignment_id"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignments.id", ondelete="CASCADE"))
    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    question: Mapped[str]
    choice: Mapped[str]
    response_ms: Mapped[int]
    hidden_ms: Mapped[int]
    painted_ms: Mapped[int | None]
    answered_ms: Mapped[int]
    idempotency_key: Mapped[str]
    display: Mapped[str | None] = mapped_column(comment="JSON: input, viewport, layout as the page told it")
    supersedes_id: Mapped[int | None] = mapped_column(ForeignKey("votes.id", ondelete="CASCADE"), unique=True)
    surplus_reason: Mapped[str | None]
    strength: Mapped[int | None] = mapped_column(comment="1 slightly, 2 clearly")
    doubt: Mapped[str | None]


class ReportRecord(Base):
    """An annotator's word that a pair cannot be judged."""

    __tablename__ = "reports"
    __table_args__ = (UniqueConstraint("session_id", "idempotency_key"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignments.id", ondelete="CASCADE"))
    problem: Mapped[str]
    detail: Mapped[str | None]
    reported_ms: Mapped[int]
    idempotency_key: Mapped[str]

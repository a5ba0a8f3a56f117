"""The tables of owners: accounts, sign-ins, API tokens, webhooks, and the log of what was done."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from study_server.db.models import Base, Key


class OwnerRecord(Base):
    """An account for the owner's pages. An `owner` may act, a `viewer` may look."""

    __tablename__ = "owners"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str] = mapped_column(comment="owner | viewer")
    password_hash: Mapped[str]
    created_ms: Mapped[int]


class OwnerSignInRecord(Base):
    """A browser that is signed in. Without an account: by the link that a server on 127.0.0.1 printed."""

    __tablename__ = "owner_sign_ins"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("owners.id", ondelete="CASCADE"))
    token_hash: Mapped[str] = mapped_column(unique=True)
    started_ms: Mapped[int]
    seen_ms: Mapped[int]


class OwnerActionRecord(Base):
    """What an owner did, at the pages or at the command line. Rows are only added."""

    __tablename__ = "owner_actions"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    at_ms: Mapped[int]
    actor: Mapped[str]
    study: Mapped[str | None] = mapped_column(comment="slug; the row outlives the study")
    action: Mapped[str]
    detail: Mapped[str | None]


class ApiTokenRecord(Base):
    """A token of the owner's API, known by its SHA-256. A revoked one stays, since the log names it."""

    __tablename__ = "api_tokens"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[str] = mapped_column(comment="read, manage, people, with spaces between")
    created_ms: Mapped[int]
    expires_ms: Mapped[int]
    used_ms: Mapped[int | None]
    revoked_ms: Mapped[int | None]


class WebhookRecord(Base):
    """An address that receives events. `study` is a slug, null for all. The secret signs, so it is stored in clear."""

    __tablename__ = "webhooks"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    url: Mapped[str]
    secret: Mapped[str]
    events: Mapped[str] = mapped_column(comment="names with spaces between")
    study: Mapped[str | None]
    allow_private: Mapped[bool] = mapped_column(server_default=false())
    created_ms: Mapped[int]
    disabled_ms: Mapped[int | None]


class WebhookDeliveryRecord(Base):
    """An event on its way to a webhook: written with what happened, sent later, kept as a log for a while.

    `event_key` says what happened, so that nothing is sent twice; `due_ms` is the time of the next attempt.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event_key"),
        Index("ix_webhook_deliveries_state_due_ms", "state", "due_ms"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    message_id: Mapped[str]
    event: Mapped[str]
    study: Mapped[str | None]
    event_key: Mapped[str]
    body: Mapped[str]
    created_ms: Mapped[int]
    due_ms: Mapped[int]
    attempts: Mapped[int] = mapped_column(server_default="0")
    state: Mapped[str] = mapped_column(comment="waiting | delivered | failed")
    status: Mapped[int | None] = mapped_column(comment="of the last answer")
    problem: Mapped[str | None]
    done_ms: Mapped[int | None]


class StudyArrivalsRecord(Base):
    """How many browsers were shown a study's consent page for the first time; nothing of them is stored."""

    __tablename__ = "study_arrivals"

    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)
    browsers: Mapped[int]


class RevokedLinkRecord(Base):
    """A personal link that an owner took back before anybody used it."""

    __tablename__ = "revoked_links"

    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    revoked_ms: Mapped[int]

"""The tables of owners: accounts, sign-ins, API tokens, and the log of what was done."""

from __future__ import annotations

from sqlalchemy import ForeignKey
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

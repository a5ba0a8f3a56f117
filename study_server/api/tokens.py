"""Tokens of the owner's API: shown once, known to the database by their SHA-256, with scopes and an end.

A token is 256 random bits, so a plain hash keeps it as safe as argon2id keeps a password, and costs a call nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from qsched.errors import InputError
from qsched.records.owner_api import SCOPES, Scope
from study_server.clock import now_ms
from study_server.db import Database, Statement, Tx
from study_server.db.owner_models import ApiTokenRecord
from study_server.errors import NotFound
from study_server.studies.actions import COMMAND_LINE, record_action

#: What secret scanners look for.
PREFIX = "qsched_"
DAY_MS = 24 * 3_600_000
MOST_DAYS = 3_650
# The time of the last use is written this often, not with each call.
NOTE_EVERY_MS = 60_000
NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}")
_TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")

TOKEN = Statement("""
    SELECT id, name, scopes, created_ms, expires_ms, used_ms, revoked_ms FROM api_tokens WHERE token_hash = :hash
""")
NOTE_USED = Statement("UPDATE api_tokens SET used_ms = :now WHERE id = :id")


@dataclass(frozen=True, slots=True)
class ApiToken:
    """One token as the database knows it; times in milliseconds since 1970 UTC."""

    id: int
    name: str
    scopes: tuple[Scope, ...]
    created_ms: int
    expires_ms: int
    used_ms: int | None
    revoked_ms: int | None

    def state(self, now: int) -> str:
        """valid, revoked or expired."""
        if self.revoked_ms is not None:
            return "revoked"
        return "expired" if now >= self.expires_ms else "valid"


def create_token(
    database: Database, name: str, *, scopes: Sequence[str], days: int, by: str = COMMAND_LINE
) -> tuple[str, ApiToken]:
    """Make a token; the text is returned here and never again. InputError for what does not fit."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is not a name for a token: lower-case letters, digits and . _ @ -, at most 63 characters"
        )
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise InputError(f"scope {unknown[0] if unknown else ''!r} is not one of {', '.join(SCOPES)}")
    if not 1 <= days <= MOST_DAYS:
        raise InputError(f"{days} days: a token is valid for 1 to {MOST_DAYS}")
    text = PREFIX + secrets.token_urlsafe(32)
    now = now_ms()
    with database.session() as session:
        if session.scalar(sa.select(ApiTokenRecord.id).where(ApiTokenRecord.name == name)) is not None:
            raise InputError(f"there is a token {name!r}, valid or not; choose a name that the log can tell apart")
        record = ApiTokenRecord(
            name=name,
            token_hash=_hash(text),
            scopes=" ".join(scope for scope in SCOPES if scope in scopes),
            created_ms=now,
            expires_ms=now + days * DAY_MS,
        )
        session.add(record)
        record_action(session, "API token created", actor=by, detail=f"{name}: {record.scopes}, {days} days")
        session.flush()
        return text, _token(record)


def list_tokens(database: Database) -> list[ApiToken]:
    """Every token, the newest first, also those that are over."""
    with database.session() as session:
        rows = session.scalars(sa.select(ApiTokenRecord).order_by(ApiTokenRecord.id.desc()))
        return [_token(row) for row in rows]


def revoke_token(database: Database, name: str, *, by: str = COMMAND_LINE) -> None:
    """End a token at once; NotFound for an unknown name, InputError for one that is revoked."""
    with database.session() as session:
        record = session.scalars(sa.select(ApiTokenRecord).where(ApiTokenRecord.name == name)).one_or_none()
        if record is None:
            raise NotFound(f"there is no token {name!r}; `qsched admin token list` shows them")
        if record.revoked_ms is not None:
            raise InputError(f"the token {name!r} is revoked already")
        record.revoked_ms = now_ms()
        record_action(session, "API token revoked", actor=by, detail=name)


def find_token(tx: Tx, text: str) -> ApiToken | None:
    """The token of this text; None for one that is unknown, revoked or expired."""
    if not _TOKEN.fullmatch(text):
        return None
    row = tx.one(TOKEN, hash=_hash(text))
    if row is None:
        return None
    number, name, scopes, *times = row
    token = ApiToken(number, name, _scopes(scopes), *times)
    return token if token.state(now_ms()) == "valid" else None


def note_used(tx: Tx, *, token_id: int) -> None:
    """The token was used just now."""
    tx.run(NOTE_USED, id=token_id, now=now_ms())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _scopes(stored: str) -> tuple[Scope, ...]:
    return tuple(scope for scope in SCOPES if scope in stored.split())


def _token(record: ApiTokenRecord) -> ApiToken:
    return ApiToken(
        record.id,
        record.name,
        _scopes(record.scopes),
        record.created_ms,
        record.expires_ms,
        record.used_ms,
        record.revoked_ms,
    )

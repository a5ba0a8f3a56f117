"""Accounts for the owner's pages, as `qsched admin` makes and removes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

import sqlalchemy as sa
from sqlalchemy.orm import Session

from qsched.errors import InputError
from study_server.admin.passwords import hash_password
from study_server.clock import now_ms
from study_server.db.database import Database
from study_server.db.owner_models import OwnerRecord, OwnerSignInRecord
from study_server.errors import NotFound
from study_server.studies.actions import COMMAND_LINE, record_action

Role = Literal["owner", "viewer"]
ROLES: tuple[Role, ...] = get_args(Role)
NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}")


@dataclass(frozen=True, slots=True)
class Account:
    """One account; `created_ms` in milliseconds since 1970 UTC."""

    name: str
    role: str
    created_ms: int


def create_account(database: Database, name: str, *, role: str, password: str) -> None:
    """Make an account; InputError for a name that is taken or not a name, an unknown role or a weak password."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is not a name for an account: lower-case letters, digits and . _ @ -, at most 63 characters"
        )
    if role not in ROLES:
        raise InputError(f"role {role!r} is not one of {', '.join(ROLES)}")
    stored = hash_password(password)
    with database.session() as session:
        if session.scalar(sa.select(OwnerRecord.id).where(OwnerRecord.name == name)) is not None:
            raise InputError(f"the account {name!r} exists; `qsched admin password {name}` sets a new password")
        session.add(OwnerRecord(name=name, role=role, password_hash=stored, created_ms=now_ms()))
        record_action(session, "account created", actor=COMMAND_LINE, detail=f"{name}, {role}")


def set_password(database: Database, name: str, password: str) -> None:
    """Give an account a new password and end its sign-ins; NotFound for an unknown name."""
    stored = hash_password(password)
    with database.session() as session:
        number = _account_id(session, name)
        session.execute(sa.update(OwnerRecord).where(OwnerRecord.id == number).values(password_hash=stored))
        session.execute(sa.delete(OwnerSignInRecord).where(OwnerSignInRecord.owner_id == number))
        record_action(session, "password changed", actor=COMMAND_LINE, detail=name)


def remove_account(database: Database, name: str) -> None:
    """Remove an account and end its sign-ins; NotFound for an unknown name."""
    with database.session() as session:
        session.execute(sa.delete(OwnerRecord).where(OwnerRecord.id == _account_id(session, name)))
        record_action(session, "account removed", actor=COMMAND_LINE, detail=name)


def list_accounts(database: Database) -> list[Account]:
    """Every account by name."""
    with database.session() as session:
        columns = (OwnerRecord.name, OwnerRecord.role, OwnerRecord.created_ms)
        return [Account(*row) for row in session.execute(sa.select(*columns).order_by(OwnerRecord.name))]


def _account_id(session: Session, name: str) -> int:
    number = session.scalar(sa.select(OwnerRecord.id).where(OwnerRecord.name == name))
    if number is None:
        raise NotFound(f"there is no account {name!r}; `qsched admin list` shows them")
    return number

"""Who is signed in: a random token in a cookie, of which the database holds the SHA-256 only.

A sign-in ends after IDLE_MS without a request, and after LONGEST_MS in any case.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from study_server.clock import now_ms
from study_server.db import Statement, Tx
from study_server.studies.actions import record_action

IDLE_MS = 12 * 3_600_000
LONGEST_MS = 7 * 24 * 3_600_000
# The time of the last request is written this often, not with each.
NOTE_EVERY_MS = 60_000
#: Who came by the link that the server printed.
BY_LINK = "the printed link"

ACCOUNT = Statement("SELECT id, role, password_hash FROM owners WHERE name = :name")
ANY_ACCOUNT = Statement("SELECT 1 FROM owners LIMIT 1")
INSERT_SIGN_IN = Statement("""
    INSERT INTO owner_sign_ins (owner_id, token_hash, started_ms, seen_ms) VALUES (:owner, :hash, :now, :now)
""")
SIGN_IN = Statement("""
    SELECT s.id, s.owner_id, o.name, o.role, s.started_ms, s.seen_ms
    FROM owner_sign_ins s LEFT JOIN owners o ON o.id = s.owner_id WHERE s.token_hash = :hash
""")
NOTE_SEEN = Statement("UPDATE owner_sign_ins SET seen_ms = :now WHERE id = :id")
END = Statement("DELETE FROM owner_sign_ins WHERE token_hash = :hash")
END_OLD = Statement("DELETE FROM owner_sign_ins WHERE seen_ms < :idle_since OR started_ms < :started_before")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """An owner at a browser. `token` is the cookie's value; forms are protected by a token made of it."""

    id: int
    name: str
    role: str
    token: str
    seen_ms: int

    @property
    def may_act(self) -> bool:
        """Whether this person may change anything."""
        return self.role == "owner"

    @property
    def subject(self) -> str:
        """What the CSRF token of this person's forms is made of."""
        return f"owner:{self.token}"


def hash_token(token: str) -> str:
    """As the database knows a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def begin(tx: Tx, *, owner_id: int | None, name: str, token: str) -> None:
    """Store a new sign-in, and forget those that are over."""
    now = now_ms()
    tx.run(END_OLD, idle_since=now - IDLE_MS, started_before=now - LONGEST_MS)
    tx.run(INSERT_SIGN_IN, owner=owner_id, hash=hash_token(token), now=now)
    record_action(tx, "signed in", actor=name)


def find(tx: Tx, *, token: str, link_is_open: bool) -> SignedIn | None:
    """The sign-in of a cookie; None if it is unknown or over, or came by a link that is not valid any more."""
    row = tx.one(SIGN_IN, hash=hash_token(token))
    if row is None:
        return None
    number, owner_id, name, role, started_ms, seen_ms = row
    now = now_ms()
    if now - seen_ms > IDLE_MS or now - started_ms > LONGEST_MS:
        return None
    if owner_id is None:
        return SignedIn(number, BY_LINK, "owner", token, seen_ms) if link_is_open else None
    return SignedIn(number, name, role, token, seen_ms)


def note_seen(tx: Tx, *, sign_in_id: int) -> None:
    """The person is still there."""
    tx.run(NOTE_SEEN, id=sign_in_id, now=now_ms())


def end(tx: Tx, *, signed_in: SignedIn) -> None:
    """Sign out."""
    tx.run(END, hash=hash_token(signed_in.token))
    record_action(tx, "signed out", actor=signed_in.name)

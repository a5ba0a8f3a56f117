"""Webhooks as an owner makes, lists, tests and removes them, and the log of deliveries."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from study_server.clock import now_ms
from study_server.db import Statement, Tx
from study_server.errors import BadRequest, NotFound
from study_server.studies.actions import record_action
from study_server.studies.events import EVENTS, TEST, event_body
from study_server.webhooks.addresses import check_url
from study_server.webhooks.signing import new_secret

MOST_WEBHOOKS = 50
LOG_ROWS = 50

INSERT = Statement("""
    INSERT INTO webhooks (url, secret, events, study, allow_private, created_ms)
    VALUES (:url, :secret, :events, :study, :private, :now)
    RETURNING id
""")
COUNT = Statement("SELECT COUNT(*) FROM webhooks")
STUDY = Statement("SELECT 1 FROM studies WHERE slug = :slug")
WEBHOOKS = Statement("""
    SELECT id, url, events, study, allow_private, created_ms, disabled_ms FROM webhooks ORDER BY id
""")
DELETE = Statement("DELETE FROM webhooks WHERE id = :id RETURNING url")
ADD_TEST = Statement("""
    INSERT INTO webhook_deliveries
        (webhook_id, message_id, event, study, event_key, body, created_ms, due_ms, attempts, state)
    SELECT id, CAST(:message AS TEXT), CAST(:event AS TEXT), study, CAST(:message AS TEXT), CAST(:body AS TEXT),
           CAST(:now AS BIGINT), CAST(:now AS BIGINT), 0, 'waiting'
    FROM webhooks WHERE id = :id AND disabled_ms IS NULL
    RETURNING id
""")
LOG = Statement("""
    SELECT d.id, d.webhook_id, w.url, d.message_id, d.event, d.study, d.created_ms, d.due_ms, d.attempts, d.state,
           d.status, d.problem, d.done_ms
    FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
    ORDER BY d.id DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook, without its secret. `disabled_ms` is when its receiver asked for no more (410)."""

    id: int
    url: str
    events: tuple[str, ...]
    study: str | None
    allow_private: bool
    created_ms: int
    disabled_ms: int | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to a webhook, or there, or given up; `status` and `problem` are of the last attempt."""

    id: int
    webhook: int
    url: str
    message_id: str
    event: str
    study: str | None
    created_ms: int
    due_ms: int
    attempts: int
    state: str
    status: int | None
    problem: str | None
    done_ms: int | None


def create_webhook(
    tx: Tx, *, url: str, events: Sequence[str], study: str | None, allow_private: bool, by: str
) -> tuple[int, str]:
    """The number of a new webhook and its secret, which is shown here and never again; BadRequest for a misfit."""
    check_url(url, allow_private=allow_private)
    unknown = [event for event in events if event not in EVENTS]
    if unknown or not events:
        raise BadRequest(f"the event {unknown[0] if unknown else ''!r} is not one of {', '.join(EVENTS)}")
    if study is not None and tx.one(STUDY, slug=study) is None:
        raise NotFound(f"no study {study!r}; `qsched study list` shows them")
    if int(tx.scalar(COUNT)) >= MOST_WEBHOOKS:
        raise BadRequest(f"there are {MOST_WEBHOOKS} webhooks, the most that are kept; remove one first")
    secret = new_secret()
    kept = " ".join(event for event in EVENTS if event in events)
    number = tx.scalar(INSERT, url=url, secret=secret, events=kept, study=study, private=allow_private, now=now_ms())
    record_action(tx, "webhook created", actor=by, study=study, detail=f"{number}: {url} ({kept})")
    return int(number), secret


def list_webhooks(tx: Tx) -> tuple[Webhook, ...]:
    """Every webhook, the oldest first."""
    return tuple(
        Webhook(number, url, tuple(events.split()), study, bool(private), created, disabled)
        for number, url, events, study, private, created, disabled in tx.all(WEBHOOKS)
    )


def remove_webhook(tx: Tx, *, number: int, by: str) -> None:
    """Remove a webhook with what still waits for it; NotFound for an unknown number."""
    row = tx.one(DELETE, id=number)
    if row is None:
        raise NotFound(f"there is no webhook {number}; `qsched admin webhook list` shows them")
    record_action(tx, "webhook removed", actor=by, detail=f"{number}: {row[0]}")


def send_test(tx: Tx, *, number: int, by: str) -> str:
    """Put a test event on its way; returns its id. NotFound for a webhook that is unknown or switched off."""
    message, now = f"msg_{secrets.token_urlsafe(18)}", now_ms()
    body = event_body(TEST, now, {"webhook": number})
    if tx.one(ADD_TEST, id=number, message=message, event=TEST, body=body, now=now) is None:
        raise NotFound(f"there is no webhook {number}, or its receiver wants nothing any more")
    record_action(tx, "webhook tested", actor=by, detail=str(number))
    return message


def latest_deliveries(tx: Tx, *, limit: int = LOG_ROWS) -> tuple[Delivery, ...]:
    """The newest deliveries first."""
    return tuple(Delivery(*row) for row in tx.all(LOG, limit=limit))

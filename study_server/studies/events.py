"""What happened to a study, for webhooks: rows of an outbox, written in the transaction of what happened.

A row is there exactly if the change is; sending is somebody else's business (study_server.webhooks).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from study_server.clock import now_ms
from study_server.db import Statement, Tx

FINISHED = "study.finished"
PAUSED = "study.paused"
QUALITY = "study.quality_alarm"
TEST = "webhook.test"
#: What a webhook can ask for, with the words that the owner's page has for it.
EVENTS: Mapping[str, str] = {
    FINISHED: "the study has all its votes",
    PAUSED: "somebody paused the study",
    QUALITY: "an annotator is worth a look, or pictures were taken out",
}

# One row for each webhook that asked for this event of this study, and none that it has already.
EMIT = Statement("""
    INSERT INTO webhook_deliveries
        (webhook_id, message_id, event, study, event_key, body, created_ms, due_ms, attempts, state)
    SELECT w.id, CAST(:message AS TEXT), CAST(:event AS TEXT), CAST(:study AS TEXT), CAST(:key AS TEXT),
           CAST(:body AS TEXT), CAST(:now AS BIGINT), CAST(:now AS BIGINT), 0, 'waiting'
    FROM webhooks w
    WHERE w.disabled_ms IS NULL AND (w.study IS NULL OR w.study = :study)
      AND (' ' || w.events || ' ') LIKE ('% ' || CAST(:event AS TEXT) || ' %')
    ON CONFLICT (webhook_id, event_key) DO NOTHING
""")


def emit(target: Session | Tx, event: str, *, study: str, key: str, data: Mapping[str, Any] | None = None) -> None:
    """Add an event of a study in the caller's transaction; `key` names what happened for all time."""
    now = now_ms()
    values = {
        "message": f"msg_{secrets.token_urlsafe(18)}",
        "event": event,
        "study": study,
        "key": key,
        "body": event_body(event, now, {"study": study, **(data or {})}),
        "now": now,
    }
    if isinstance(target, Tx):
        target.run(EMIT, **values)
    else:
        target.execute(sa.text(EMIT.sqlite), values)


def event_body(event: str, at_ms: int, data: Mapping[str, Any]) -> str:
    """The JSON that a webhook gets: type, timestamp and data, as the Standard Webhooks have it."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"type": event, "timestamp": at, "data": data}, separators=(",", ":"), ensure_ascii=False)

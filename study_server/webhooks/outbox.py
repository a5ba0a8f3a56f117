"""The outbox: what is due, claimed for a while by whoever sends it, and what came of it.

A claim only moves the time of the next attempt: a server that dies while it sends leaves the event to be sent again,
so a receiver gets each event at least once and knows it by its id.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from study_server.clock import now_ms
from study_server.db import Statement, Tx
from study_server.studies.actions import record_action

#: Who acts where a receiver asks for it.
RECEIVER = "webhook receiver"
# Longer than an attempt can take.
CLAIM_MS = 60_000
#: Seconds until the next attempt after the first, second ... one failed; after the last an event is given up.
PAUSES = (5, 30, 120, 600, 3_600, 4 * 3_600, 12 * 3_600, 24 * 3_600)
KEEP_MS = 30 * 24 * 3_600_000
GONE = 410

ANY_DUE = Statement("SELECT 1 FROM webhook_deliveries WHERE state = 'waiting' AND due_ms <= :now LIMIT 1")
DUE = Statement("""
    SELECT d.id, d.message_id, d.body, d.attempts, w.id, w.url, w.secret, w.allow_private
    FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
    WHERE d.state = 'waiting' AND d.due_ms <= :now
    ORDER BY d.due_ms LIMIT :limit [[sqlite: | postgresql: FOR UPDATE OF d SKIP LOCKED]]
""")
CLAIM = Statement("UPDATE webhook_deliveries SET due_ms = :again, attempts = attempts + 1 WHERE id = :id")
DELIVERED = Statement("""
    UPDATE webhook_deliveries SET state = 'delivered', status = :status, problem = NULL, done_ms = :now WHERE id = :id
""")
AGAIN = Statement("""
    UPDATE webhook_deliveries SET due_ms = :due, status = :status, problem = :problem WHERE id = :id
""")
FAILED = Statement("""
    UPDATE webhook_deliveries SET state = 'failed', status = :status, problem = :problem, done_ms = :now WHERE id = :id
""")
DISABLE = Statement("UPDATE webhooks SET disabled_ms = :now WHERE id = :webhook AND disabled_ms IS NULL")
GIVE_UP_ALL = Statement("""
    UPDATE webhook_deliveries SET state = 'failed', problem = 'the receiver wants nothing any more', done_ms = :now
    WHERE webhook_id = :webhook AND state = 'waiting'
""")
FORGET_OLD = Statement("DELETE FROM webhook_deliveries WHERE state <> 'waiting' AND done_ms < :before")


@dataclass(frozen=True, slots=True)
class Due:
    """An event to send now; `attempts` counts this one."""

    id: int
    message_id: str
    body: str
    attempts: int
    webhook: int
    url: str
    secret: str
    allow_private: bool


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """What came of an attempt: the receiver's status, or None and what kept it from answering."""

    due: Due
    status: int | None
    problem: str | None

    @property
    def delivered(self) -> bool:
        """Whether the receiver said that it got the event."""
        return self.status is not None and 200 <= self.status < 300


def is_anything_due(tx: Tx) -> bool:
    """Whether an event waits to be sent; one index probe."""
    return tx.one(ANY_DUE, now=now_ms()) is not None


def claim_due(tx: Tx, *, limit: int) -> tuple[Due, ...]:
    """Events to send now, which nobody else sends for CLAIM_MS."""
    now = now_ms()
    claimed = []
    for number, message, body, attempts, webhook, url, secret, private in tx.all(DUE, now=now, limit=limit):
        tx.run(CLAIM, id=number, again=now + CLAIM_MS)
        claimed.append(Due(number, message, body, attempts + 1, webhook, url, secret, bool(private)))
    return tuple(claimed)


def note_outcome(tx: Tx, *, outcome: AttemptOutcome) -> None:
    """Delivered, again later, or given up; a receiver that answers 410 gets nothing any more."""
    due, now = outcome.due, now_ms()
    values = {"id": due.id, "status": outcome.status}
    if outcome.delivered:
        tx.run(DELIVERED, now=now, **values)
    elif outcome.status == GONE:
        tx.run(FAILED, now=now, problem="the receiver wants nothing any more", **values)
        tx.run(DISABLE, webhook=due.webhook, now=now)
        tx.run(GIVE_UP_ALL, webhook=due.webhook, now=now)
        record_action(tx, "webhook switched off", actor=RECEIVER, detail=f"{due.webhook}: {due.url} answered 410")
    elif due.attempts > len(PAUSES):
        tx.run(FAILED, now=now, problem=outcome.problem, **values)
    else:
        pause = PAUSES[due.attempts - 1] * random.uniform(0.8, 1.2)
        tx.run(AGAIN, due=now + round(1000 * pause), problem=outcome.problem, **values)


def forget_old(tx: Tx) -> None:
    """Delete what is done and older than KEEP_MS."""
    tx.run(FORGET_OLD, before=now_ms() - KEEP_MS)

"""Looks for what nobody does in one transaction: a study that has all its votes, work that is worth a look.

A task of the server looks every few seconds, on the owners' thread of the database; with no webhook that is one probe.
The rules are those of the owner's pages (quality/figures.py), and each event is sent once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from study_server.clock import now_ms
from study_server.db import Reader, Statement, Tx
from study_server.errors import DesignUnreadable, NotFound, StudyError
from study_server.quality.people import PersonRow, read_person
from study_server.studies.cache import find_study
from study_server.studies.events import FINISHED, QUALITY, emit
from study_server.studies.progress import StudyRow, read_study
from study_server.studies.study import Study
from study_server.writing import Writer

log = logging.getLogger(__name__)
#: People looked at per call: each costs some milliseconds.
AT_ONCE = 40
LEAST_TRIALS = 10
# What happened while no server ran, or while another one did.
LOOK_BACK_MS = 15 * 60_000

WATCHED = Statement("""
    SELECT DISTINCT st.slug FROM studies st JOIN webhooks w ON w.study IS NULL OR w.study = st.slug
    WHERE st.status IN ('open', 'paused') AND w.disabled_ms IS NULL
    ORDER BY st.slug
""")
# An event that some webhook asked for and has not received.
NEWS = Statement("""
    SELECT 1 FROM webhooks w
    WHERE w.disabled_ms IS NULL AND (w.study IS NULL OR w.study = :study)
      AND (' ' || w.events || ' ') LIKE ('% ' || CAST(:event AS TEXT) || ' %')
      AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.event_key = :key)
    LIMIT 1
""")
JUDGED = Statement("""
    SELECT a.pseudonym, MAX(s.judged_ms) FROM sessions s JOIN annotators a ON a.id = s.annotator_id
    WHERE s.study_id = :study AND s.judged_ms >= :since AND NOT s.preview AND NOT s.simulated
      AND a.excluded_ms IS NULL
    GROUP BY a.pseudonym ORDER BY 2 LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """An event to send to webhooks."""

    event: str
    study: str
    key: str
    data: Mapping[str, Any]


class Watch:
    """One per process: since when people were looked at, by study."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}

    def look(self, tx: Tx) -> list[WebhookEvent]:
        """The events that some webhook has not received yet."""
        found: list[WebhookEvent] = []
        for (slug,) in tx.all(WATCHED):
            try:
                study = find_study(tx, slug)
                _, row = read_study(tx, slug)
            except (DesignUnreadable, NotFound):  # `study list` says so; deleted meanwhile
                continue
            found += [*_finished(study, row), *_pictures(study, row), *self._people(tx, study)]
        return [one for one in found if tx.one(NEWS, study=one.study, event=one.event, key=one.key)]

    def _people(self, tx: Tx, study: Study) -> list[WebhookEvent]:
        since = self._since.get(study.uid, now_ms() - LOOK_BACK_MS)
        rows = tx.all(JUDGED, study=study.id, since=since, limit=AT_ONCE)
        if rows:
            self._since[study.uid] = rows[-1][1]
        found = []
        for pseudonym, _ in rows:
            person = read_person(tx, study_id=study.id, pseudonym=pseudonym, agreement=False)
            if person is not None and person.work.remarks and _is_judged(person):
                data = {"reason": "annotator", "annotator": pseudonym, "remarks": person.work.remarks}
                found.append(WebhookEvent(QUALITY, study.slug, f"{study.uid}:annotator:{pseudonym}", data))
        return found


def _is_judged(person: PersonRow) -> bool:
    """Whether there is enough work to look at; the first answers say little."""
    return person.work.trials >= LEAST_TRIALS or all(session.state != "active" for session in person.sessions)


def _finished(study: Study, row: StudyRow) -> list[WebhookEvent]:
    """All votes are there; sent again only if the owner has asked for more votes since."""
    if not row.target_votes or row.valid_votes < row.target_votes:
        return []
    asked = study.design.votes_total or (row.target_votes if study.groups else study.design.votes_per_pair)
    return [WebhookEvent(FINISHED, study.slug, f"{study.uid}:finished:{asked}", {"valid_votes": row.valid_votes})]


def _pictures(study: Study, row: StudyRow) -> list[WebhookEvent]:
    """Pairs were taken out because people could not see them."""
    if not row.disabled:
        return []
    data = {"reason": "pictures", "pairs_taken_out": row.disabled}
    return [WebhookEvent(QUALITY, study.slug, f"{study.uid}:pictures:{row.disabled}", data)]


async def watch(reader: Reader, writer: Writer, *, every_s: float) -> None:
    """Look, and tell what was found, until cancelled."""
    watched = Watch()
    while True:
        await asyncio.sleep(every_s)
        try:
            if findings := await reader.run(watched.look):
                await writer.run(tell, None, findings=findings)
        except StudyError as error:
            log.warning("studies were not watched for webhooks: %s", error)


def tell(tx: Tx, *, findings: list[WebhookEvent]) -> None:
    """Put findings into the outbox."""
    for one in findings:
        emit(tx, one.event, study=one.study, key=one.key, data=one.data)

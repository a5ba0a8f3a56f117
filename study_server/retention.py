"""The retention period: what leads to people is deleted by itself, as each study's `consent.delete_after_days` says."""

from __future__ import annotations

import asyncio
import logging

from study_server.db import Statement
from study_server.errors import NotSaved, StudyError
from study_server.quality.forgetting import clean_up
from study_server.web.context import Server

log = logging.getLogger(__name__)
HOUR_SECONDS = 3600.0
SLUGS = Statement("SELECT slug FROM studies WHERE status <> 'importing' ORDER BY id")
#: Who acted, in the log of owners' actions.
RULE = "the retention period"


async def keep_retention(server: Server) -> None:
    """Delete what is due now and every hour, until cancelled."""
    while True:
        await delete_due(server)
        await asyncio.sleep(HOUR_SECONDS)


async def delete_due(server: Server) -> None:
    """Delete in every study what is older than its retention period; a study that cannot be read is passed over."""
    try:
        slugs = [slug for (slug,) in await server.owner_reader.run(lambda tx: tx.all(SLUGS))]
    except NotSaved:
        log.warning("no retention period was looked at: the database does not answer")
        return
    for slug in slugs:
        try:
            study = await server.studies.get(slug)
            days = study.design.consent.delete_after_days
            if days is None:
                continue
            sessions = await server.writer.run(clean_up, study, days=days, by=RULE)
        except StudyError as error:
            log.error("the retention period of study %s was not kept: %s", slug, error)
            continue
        if sessions:
            log.info("study %s: personal data of %d sessions deleted after %d days", slug, sessions, days)

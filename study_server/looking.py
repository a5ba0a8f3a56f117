"""Carry out the looks of stopping rules that are due: `qsched study look`, in a process of its own.

The analysis is not part of the server. A look is a function of the votes, so it does not matter which process takes it,
or when; of two that take the same one, the second finds it taken.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time

from study_server.db import Tx
from study_server.errors import NotSaved, StudyError
from study_server.studies.cache import find_study
from study_server.studies.looks import read_stopping
from study_server.studies.looks_queries import WITH_RULE
from study_server.web.child import CommandFailed, run_command
from study_server.web.context import Server

log = logging.getLogger(__name__)
# After a look that failed: somebody has to install something or free a disk.
WAIT_AFTER_FAILURE = 300.0
# After a process that found nothing due: votes on screens may never come, or leave the deciding question out.
WAIT_AFTER_NOTHING = 60.0
LOOK = re.compile(r"look \d+[:,]")


async def keep_looking(server: Server) -> None:
    """Look for due looks with every sweep, until cancelled."""
    nothing_at: dict[str, float] = {}
    while True:
        await asyncio.sleep(server.settings.sweep_seconds)
        try:
            for slug in await server.owner_reader.run(studies_to_look_at):
                if time.monotonic() - nothing_at.get(slug, -WAIT_AFTER_NOTHING) < WAIT_AFTER_NOTHING:
                    continue
                said = await run_command(server.database, "study", "look", slug)
                if LOOK.match(said):
                    log.info("study %s: %s", slug, said.strip())
                else:
                    nothing_at[slug] = time.monotonic()
        except NotSaved:
            log.warning("no look was taken: the database does not answer")
        except CommandFailed as error:
            log.error("a look of a stopping rule failed, and arms go on being asked about: %s", error)
            await asyncio.sleep(WAIT_AFTER_FAILURE)


def studies_to_look_at(tx: Tx) -> list[str]:
    """Studies with a look that may be due or is not carried out; one whose design cannot be read is left alone."""
    found = []
    for (slug,) in tx.all(WITH_RULE):
        try:
            stopping = read_stopping(tx, find_study(tx, slug))
        except StudyError:
            continue
        if stopping is not None and (stopping.may_be_due or not stopping.is_carried_out):
            found.append(slug)
    return found

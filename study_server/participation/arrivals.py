"""How many browsers opened a study's link for the first time: counted in memory, stored every few seconds.

No visitor is stored or recognised: a browser counts once because the consent page leaves a cookie. A server that is
killed forgets what it counted in the last seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from study_server.db import Statement, Tx
from study_server.errors import NotSaved
from study_server.writing import Writer

log = logging.getLogger(__name__)
EVERY_SECONDS = 5.0

ADD = Statement("""
    INSERT INTO study_arrivals (study_id, browsers) SELECT id, CAST(:more AS BIGINT) FROM studies WHERE id = :study
    ON CONFLICT (study_id) DO UPDATE SET browsers = study_arrivals.browsers + excluded.browsers
""")


class Arrivals:
    """One per process."""

    def __init__(self) -> None:
        self._new: Counter[int] = Counter()

    def note(self, study_id: int) -> None:
        """A browser without our cookie was shown a study's consent page."""
        self._new[study_id] += 1

    async def keep(self, writer: Writer) -> None:
        """Add what was counted to the database until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(EVERY_SECONDS)
                await self._save(writer)
        finally:
            await self._save(writer)

    async def _save(self, writer: Writer) -> None:
        counted, self._new = self._new, Counter()
        if not counted:
            return
        try:
            await writer.run(_add, None, counted=dict(counted))
        except NotSaved:
            log.warning("arrivals were not counted yet: the database does not answer")
            self._new.update(counted)


def _add(tx: Tx, *, counted: dict[int, int]) -> None:
    for study, more in counted.items():
        tx.run(ADD, study=study, more=more)

"""The studies as the server keeps them in memory: design and counts, looked up by slug."""

from __future__ import annotations

import time

from study_server.db import Reader, Statement, Tx
from study_server.errors import NotFound, NotSaved
from study_server.studies.design import StudyDesign
from study_server.studies.study import Study

FRESH_SECONDS = 5.0

STUDY = Statement("SELECT id, slug, title, status, design FROM studies WHERE slug = :slug AND status <> 'importing'")
POOLS = Statement("""
    SELECT pool, COUNT(*) FROM pairs WHERE study_id = :study AND disabled = FALSE GROUP BY pool
""")
STUDIES = Statement("SELECT slug, title, status FROM studies WHERE status <> 'importing' ORDER BY id")
ALIVE = Statement("SELECT 1")


class StudyCache:
    """Looks studies up; a design never changes, so only existence is asked again every few seconds."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[str, tuple[float, Study, str]] = {}

    async def get(self, slug: str) -> Study:
        """The study of that slug; NotFound without one."""
        return (await self.get_with_status(slug))[0]

    async def get_with_status(self, slug: str) -> tuple[Study, str]:
        """The study and its status, at most FRESH_SECONDS old (votes read the status in their transaction)."""
        known = self._known.get(slug)
        if known is not None and time.monotonic() - known[0] < FRESH_SECONDS:
            return known[1], known[2]
        try:
            found = await self._reader.run(lambda tx: _load(tx, slug, None if known is None else known[1]))
        except NotSaved:
            if known is None:
                raise
            # A design never changes, so the last one holds; a vote then learns from the writer whether it is saved.
            return known[1], known[2]
        if found is None:
            self._known.pop(slug, None)
            raise NotFound("there is no such study; check the link")
        study, status = found
        self._known[slug] = (time.monotonic(), study, status)
        return study, status


def _load(tx: Tx, slug: str, known: Study | None) -> tuple[Study, str] | None:
    row = tx.one(STUDY, slug=slug)
    if row is None:
        return None
    number, slug, title, status, design = row
    if known is not None and known.id == number:
        return known, status
    pools: dict[str, int] = dict(tx.all(POOLS, study=number))
    return (
        Study(
            number,
            slug,
            title,
            StudyDesign.model_validate_json(design),
            task_pairs=pools.get("task", 0),
            practice_pairs=pools.get("practice", 0),
            gold_pairs=pools.get("gold", 0),
        ),
        status,
    )

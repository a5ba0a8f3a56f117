"""The slow reads of the owner's pages, shared by everybody who looks."""

from __future__ import annotations

from typing import cast

from starlette.requests import Request

from study_server.admin.progress import AnswersSoFar, SharedReads, StudyProgress, read_counts, read_progress
from study_server.db import Database, Reader
from study_server.studies.study import Study

# A page does not wait longer for a slow read.
PAGE_SECONDS = 0.2


class OwnerFigures:
    """One per process; `progress` is seconds old, `counts` may be a minute old.

    Counting looks at every vote, so it has a thread of its own: no other page waits behind it.
    """

    def __init__(self, database: Database, reader: Reader) -> None:
        self._counter = Reader(database, threads=1)
        self._progress: SharedReads[StudyProgress] = SharedReads(reader, fresh_seconds=1.5)
        self._counts: SharedReads[AnswersSoFar] = SharedReads(self._counter, fresh_seconds=20.0)

    def close(self) -> None:
        """End the counting thread."""
        self._counter.close()

    async def progress(self, slug: str) -> StudyProgress:
        """How far a study is; NotFound for an unknown slug."""
        return await self._progress.get(slug, lambda tx: read_progress(tx, slug))

    async def counts(self, study: Study) -> AnswersSoFar | None:
        """The answers so far; None while a large study is counted for the first time."""
        return await self._counts.get_soon(study.uid, lambda tx: read_counts(tx, study.id), seconds=PAGE_SECONDS)

    def forget(self, slug: str) -> None:
        """An owner changed something: show it at once."""
        self._progress.forget(slug)


def figures_of(request: Request) -> OwnerFigures:
    """Those of the process that handles `request`."""
    return cast(OwnerFigures, request.app.state.owner_figures)

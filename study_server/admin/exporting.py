"""Votes as a file, made by a process of its own, so that no vote waits for it, and one at a time."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

from starlette.requests import Request

from qsched.records.stopping import looks_beside
from study_server.db import Tx
from study_server.studies.actions import record_action
from study_server.web.child import run_command
from study_server.web.context import server_of

FORMATS = ("parquet", "csv", "jsonl")


async def export_votes_file(request: Request, *, slug: str, kind: str, by: str) -> Path:
    """The votes table of a study in a folder of its own, which the caller deletes; the log says who took it."""
    server = server_of(request)
    await server.studies.get(slug)
    folder = Path(tempfile.mkdtemp(prefix="qsched-export-"))
    try:
        file = folder / f"{slug}-votes.{kind}"
        async with request.app.state.export_turn:
            await run_command(server.database, "votes", "export", str(file), "--study", slug)
        await server.writer.run(_note, None, actor=by, slug=slug, kind=kind)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return file


def with_looks(file: Path) -> Path:
    """The file, or an archive of it and of the looks of a study with a stopping rule: a report needs both."""
    looks = looks_beside(file)
    if not looks.is_file():
        return file
    archive = file.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as folder:
        for part in (file, looks):
            folder.write(part, part.name)
    return archive


def _note(tx: Tx, *, actor: str, slug: str, kind: str) -> None:
    record_action(tx, "votes exported", actor=actor, study=slug, detail=kind)

"""Votes as a file, made by a process of its own, so that no vote waits for it, and one at a time."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path

from starlette.requests import Request

from study_server.db import Tx
from study_server.errors import StudyError
from study_server.settings import DATABASE_VARIABLE
from study_server.studies.actions import record_action
from study_server.web.context import Server, server_of

FORMATS = ("parquet", "csv", "jsonl")


class ExportFailed(StudyError):
    """The export's process ended with an error, whose message this is."""

    status = 500
    code = "export"


async def export_votes_file(request: Request, *, slug: str, kind: str, by: str) -> Path:
    """The votes table of a study in a folder of its own, which the caller deletes; the log says who took it."""
    server = server_of(request)
    await server.studies.get(slug)
    folder = Path(tempfile.mkdtemp(prefix="qsched-export-"))
    try:
        file = folder / f"{slug}-votes.{kind}"
        async with request.app.state.export_turn:
            await _run(server, "votes", "export", str(file), "--study", slug)
        await server.writer.run(_note, None, actor=by, slug=slug, kind=kind)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return file


async def _run(server: Server, *words: str) -> None:
    """Run `qsched` on the server's database; the address goes through the environment, where no list shows it."""
    url = server.database.url.render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "qsched",
        *words,
        env={**os.environ, DATABASE_VARIABLE: url},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, problem = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode != 0:
        raise ExportFailed(problem.decode(errors="replace").strip()[-500:] or "the export ended without a word")


def _note(tx: Tx, *, actor: str, slug: str, kind: str) -> None:
    record_action(tx, "votes exported", actor=actor, study=slug, detail=kind)

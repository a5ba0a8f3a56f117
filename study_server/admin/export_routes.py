"""Exports as downloads. Each is made by a process of its own, so that no vote waits for it, and one at a time."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path

from fastapi import APIRouter
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from study_server.admin.gate import Act, Owner
from study_server.admin.pages import ExportsPage
from study_server.admin.rendering import Place, render
from study_server.db import Tx
from study_server.errors import BadRequest, StudyError
from study_server.settings import DATABASE_VARIABLE
from study_server.studies.actions import record_action
from study_server.web.context import Server, server_of

router = APIRouter(prefix="/admin/studies/{slug}", include_in_schema=False)
FORMATS = ("parquet", "csv", "jsonl")


class ExportFailed(StudyError):
    """The export's process ended with an error, whose message this is."""

    status = 500
    code = "export"


@router.get("/exports")
async def exports(slug: str, request: Request, owner: Owner) -> Response:
    """What can be taken out of the study."""
    study = await server_of(request).studies.get(slug)
    return render(request, ExportsPage(FORMATS), owner=owner, place=Place(slug, study.title, "exports"))


@router.post("/exports/votes")
async def votes(slug: str, act: Act) -> Response:
    """The votes table as a file."""
    kind = act.form.get("format", "")
    if kind not in FORMATS:
        raise BadRequest(f"the format {kind!r} is not one of {', '.join(FORMATS)}")
    await act.server.studies.get(slug)
    folder = Path(tempfile.mkdtemp(prefix="qsched-export-"))
    try:
        file = folder / f"{slug}-votes.{kind}"
        async with act.request.app.state.export_turn:
            await _run(act.server, "votes", "export", str(file), "--study", slug)
        await act.server.writer.run(_note, None, actor=act.owner.name, slug=slug, kind=kind)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return FileResponse(file, filename=file.name, background=BackgroundTask(shutil.rmtree, folder))


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

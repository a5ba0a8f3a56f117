"""Exports as downloads."""

from __future__ import annotations

import asyncio
import shutil

from fastapi import APIRouter
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from study_server.admin.exporting import FORMATS, export_votes_file, with_looks
from study_server.admin.gate import Act, Owner
from study_server.admin.pages import ExportsPage
from study_server.admin.rendering import PagePlace, render
from study_server.errors import BadRequest
from study_server.web.context import server_of

router = APIRouter(prefix="/admin/studies/{slug}", include_in_schema=False)


@router.get("/exports")
async def exports(slug: str, request: Request, owner: Owner) -> Response:
    """What can be taken out of the study."""
    study = await server_of(request).studies.get(slug)
    return render(request, ExportsPage(FORMATS), owner=owner, place=PagePlace(slug, study.title, "exports"))


@router.post("/exports/votes")
async def votes(slug: str, act: Act) -> Response:
    """The votes table as a file."""
    kind = act.form.get("format", "")
    if kind not in FORMATS:
        raise BadRequest(f"the format {kind!r} is not one of {', '.join(FORMATS)}")
    file = await export_votes_file(act.request, slug=slug, kind=kind, by=act.owner.name)
    file = await asyncio.to_thread(with_looks, file)
    return FileResponse(file, filename=file.name, background=BackgroundTask(shutil.rmtree, file.parent))

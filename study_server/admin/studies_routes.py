"""The list of studies, and the log of what owners did."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from study_server.admin.gate import Owner
from study_server.admin.pages import LogPage, StudiesPage
from study_server.admin.rendering import render
from study_server.studies.actions import PAGE_ROWS, latest_actions
from study_server.studies.progress import read_studies
from study_server.web.context import server_of

router = APIRouter(prefix="/admin", include_in_schema=False)


@router.get("")
async def studies(request: Request, owner: Owner) -> Response:
    """Every study with its status and progress."""
    rows = await server_of(request).reader.run(read_studies)
    return render(request, StudiesPage(tuple(reversed(rows))), owner=owner)


@router.get("/log")
async def log(request: Request, owner: Owner, before: int = 2**62) -> Response:
    """What owners did, newest first."""
    rows = await server_of(request).reader.run(lambda tx: latest_actions(tx, before=before))
    return render(request, LogPage(tuple(rows), rows[-1].id if len(rows) == PAGE_ROWS else None), owner=owner)

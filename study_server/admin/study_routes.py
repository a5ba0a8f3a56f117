"""The page of one study: progress that renews itself, pause and close, the answers so far."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from study_server.admin.figures import figures_of
from study_server.admin.gate import Act, Owner, check_owner
from study_server.admin.pages import CountsPage, LivePart, StudyPage
from study_server.admin.rendering import PagePlace, render, render_part
from study_server.errors import BadRequest
from study_server.studies.looks import read_stopping
from study_server.studies.ownership import STATUSES, set_status
from study_server.web.context import server_of

router = APIRouter(prefix="/admin/studies/{slug}", include_in_schema=False)
NEWS_SECONDS = 2.0
# A stream ends after this time and the browser opens the next: whoever is signed out meanwhile gets no more.
STREAM_SECONDS = 120.0


@router.get("")
async def study(slug: str, request: Request, owner: Owner) -> Response:
    """Progress of a study."""
    progress = await figures_of(request).progress(slug)
    return render(request, StudyPage(progress), owner=owner, place=PagePlace(slug, progress.row.title, ""))


@router.get("/live", dependencies=[Depends(check_owner)])
async def live(slug: str, request: Request) -> Response:
    """The part of the page that changes, as server-sent events, whenever it differs."""
    await figures_of(request).progress(slug)  # an unknown study is an error, not an empty stream
    return StreamingResponse(_news(slug, request), media_type="text/event-stream")


async def _news(slug: str, request: Request) -> AsyncIterator[str]:
    sent = ""
    ends = asyncio.get_running_loop().time() + STREAM_SECONDS
    while not request.app.state.stopping and asyncio.get_running_loop().time() < ends:
        part = render_part(request, LivePart(await figures_of(request).progress(slug)))
        yield ": still here\n\n" if part == sent else f"data: {json.dumps(part)}\n\n"
        sent = part
        for _ in range(round(NEWS_SECONDS / 0.2)):
            if request.app.state.stopping:
                return
            await asyncio.sleep(0.2)


@router.get("/counts")
async def counts(slug: str, request: Request, owner: Owner) -> Response:
    """The answers so far, and how to look at them without fooling oneself."""
    found = await server_of(request).studies.get(slug)
    rows, running, stopping = await asyncio.gather(
        figures_of(request).counts(found),
        figures_of(request).running(found),
        server_of(request).owner_reader.run(lambda tx: read_stopping(tx, found)),
    )
    return render(
        request,
        CountsPage(
            rows,
            slug,
            fidelity=found.design.fidelity is not None,
            ranked=found.design.ranking is not None,
            stopping=stopping,
            running=running,
        ),
        owner=owner,
        place=PagePlace(slug, found.title, "counts"),
    )


@router.post("/status")
async def status(slug: str, act: Act) -> Response:
    """Open, pause or close the study."""
    wanted = act.form.get("status", "")
    if wanted not in STATUSES:
        raise BadRequest(f"the status {wanted!r} is not one of {', '.join(STATUSES)}")
    await asyncio.to_thread(set_status, act.server.database, slug, wanted, by=act.owner.name)
    figures_of(act.request).forget(slug)
    return RedirectResponse(f"/admin/studies/{slug}?done={wanted}", status_code=303)

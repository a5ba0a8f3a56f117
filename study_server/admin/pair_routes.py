"""Pairs with pictures and answers, reports of annotators, and pairs that were taken out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from study_server.admin import queries
from study_server.admin.figures import figures_of
from study_server.admin.gate import Act, Owner, check_owner
from study_server.admin.losses import KnownLosses, jods, read_set
from study_server.admin.pages import PairPage, PairsPage, ReportsPage
from study_server.admin.pairs import PAGE_PAIRS, PairRow, read_disabled, read_pair, read_pairs, read_reports
from study_server.admin.rendering import PagePlace, render
from study_server.errors import NotFound
from study_server.studies.ownership import enable_pairs
from study_server.web.context import server_of

router = APIRouter(prefix="/admin/studies/{slug}", include_in_schema=False)


@router.get("/pairs")
async def pairs(
    slug: str, request: Request, owner: Owner, after: int = 0, prompt: str = "", disabled: int = 0
) -> Response:
    """A page of pairs, with pictures."""
    server = server_of(request)
    study = await server.studies.get(slug)
    rows = await server.owner_reader.run(
        lambda tx: read_pairs(tx, study=study.id, after=after, prompt=prompt.strip(), only_disabled=bool(disabled))
    )
    counts, known = await asyncio.gather(figures_of(request).pairs(study, rows), _jods(request, study.id, rows))
    more = rows[-1].id if len(rows) == PAGE_PAIRS else None
    page = PairsPage(rows, counts, more, prompt.strip(), study.design, known)
    return render(request, page, owner=owner, place=PagePlace(slug, study.title, "pairs"))


@router.get("/pairs/{pair_key}")
async def pair(slug: str, pair_key: str, request: Request, owner: Owner) -> Response:
    """One pair with its answers."""
    server = server_of(request)
    study = await server.studies.get(slug)
    found = await server.owner_reader.run(lambda tx: read_pair(tx, study=study.id, pair_key=pair_key))
    if found is None:
        raise NotFound(f"no pair of this study is called {pair_key}")
    known = await _jods(request, study.id, found[:1])
    page = PairPage(*found, design=study.design, jod=known.get(found[0].id))
    return render(request, page, owner=owner, place=PagePlace(slug, study.title, "pairs"))


async def _jods(request: Request, study: int, rows: tuple[PairRow, ...]) -> Mapping[int, float]:
    where = await server_of(request).owner_reader.run(lambda tx: read_set(tx, study))
    losses: KnownLosses = request.app.state.known_losses
    return jods(rows, await losses.of(study, where))


@router.get("/images/{image}", dependencies=[Depends(check_owner)])
async def image(slug: str, image: int, request: Request) -> Response:
    """A picture of the study, for an owner."""
    server = server_of(request)
    study = await server.studies.get(slug)
    known = await server.owner_reader.run(lambda tx: tx.one(queries.IMAGE_OF_STUDY, image=image, study=study.id))
    if known is None:
        raise NotFound("this study has no such picture")
    return Response(await server.images.read(image), media_type="image/png")


@router.get("/reports")
async def reports(slug: str, request: Request, owner: Owner) -> Response:
    """What annotators reported, and the pairs that are not handed out."""
    server = server_of(request)
    study = await server.studies.get(slug)
    rows = await server.owner_reader.run(lambda tx: read_reports(tx, study=study.id))
    disabled = await server.owner_reader.run(lambda tx: read_disabled(tx, study=study.id))
    return render(request, ReportsPage(rows, disabled), owner=owner, place=PagePlace(slug, study.title, "reports"))


@router.post("/pairs/enable")
async def enable(slug: str, act: Act) -> Response:
    """Hand out again one pair that was taken out, or all of them."""
    pair_key = act.form.get("pair", "")
    keys = [pair_key] if pair_key else None
    await asyncio.to_thread(enable_pairs, act.server.database, slug, keys=keys, by=act.owner.name)
    figures_of(act.request).forget(slug)
    return RedirectResponse(f"/admin/studies/{slug}/reports?done=enabled", status_code=303)

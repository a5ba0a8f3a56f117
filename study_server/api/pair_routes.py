"""Pairs that people could not see, over the API: list them, and show them again."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from qsched.records import owner_api
from study_server.admin.figures import figures_of
from study_server.api import answers
from study_server.api.gate import ERRORS, MayManage, MayRead
from study_server.studies.ownership import enable_pairs, reported_pairs

router = APIRouter(prefix="/api/v1/studies/{slug}/pairs", responses=ERRORS, tags=["owner"])


@router.get("/reported")
async def list_reported_pairs(slug: str, call: MayRead) -> owner_api.Page[owner_api.ReportedPairInfo]:
    """The pairs with reports of missing pictures, those that were taken out first. All of them: one page."""
    rows = await asyncio.to_thread(reported_pairs, call.server.database, slug)
    return owner_api.Page(items=tuple(map(answers.reported_pair_of, rows)), next=None)


@router.post("/enable")
async def enable_reported_pairs(slug: str, body: owner_api.EnableRequest, call: MayManage) -> owner_api.PairsEnabled:
    """Show pairs again that were taken out: all of them, or those that are named."""
    count = await asyncio.to_thread(enable_pairs, call.server.database, slug, keys=body.pairs, by=call.actor)
    figures_of(call.request).forget(slug)
    return owner_api.PairsEnabled(pairs=count)

"""Studies over the API: list, show, watch, open and close, change the design, reports, the log."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from pydantic import ValidationError

from qsched.errors import InputError
from qsched.records import owner_api
from qsched.records.image_set import first_problem
from qsched.records.owner_api import PAGE_ITEMS, Page
from study_server.admin.figures import figures_of
from study_server.admin.pairs import read_reports
from study_server.api import answers
from study_server.api.gate import ERRORS, Cursor, Limit, MayManage, MayRead, before
from study_server.errors import BadRequest, Conflict
from study_server.studies.actions import latest_actions
from study_server.studies.cache import find_study
from study_server.studies.design import StudyDesign
from study_server.studies.looks import looks_of
from study_server.studies.ownership import set_status
from study_server.studies.progress import read_study, studies_page
from study_server.studies.update import design_history, stored_set_id, update_study
from study_server.web.door import refuse_unstorable

router = APIRouter(prefix="/api/v1", responses=ERRORS, tags=["owner"])


@router.get("/studies")
async def list_studies(call: MayRead, limit: Limit = PAGE_ITEMS, cursor: Cursor = None) -> Page[owner_api.StudySummary]:
    """Every study with its counts, the oldest first."""
    rows = await call.server.owner_reader.run(lambda tx: studies_page(tx, after=int(cursor or 0), limit=limit))
    return Page(
        items=tuple(answers.summary_of(row) for _, row in rows), next=str(rows[-1][0]) if len(rows) == limit else None
    )


@router.get("/studies/{slug}")
async def show_study(slug: str, call: MayRead) -> owner_api.StudyDetail:
    """One study with its design and the design's history."""
    study = await call.server.reader.run(lambda tx: find_study(tx, slug))
    _, row = await call.server.owner_reader.run(lambda tx: read_study(tx, slug))
    versions = await asyncio.to_thread(design_history, call.server.database, slug)
    return owner_api.StudyDetail(
        summary=answers.summary_of(row),
        set_id=await asyncio.to_thread(stored_set_id, call.server.database, slug),
        design=study.design.model_dump(mode="json", exclude_defaults=True),
        versions=tuple(answers.version_of(version) for version in versions),
    )


@router.get("/studies/{slug}/progress")
async def watch_study(slug: str, call: MayRead) -> owner_api.Progress:
    """Votes, pace, time left and the people on their way; at most some seconds old."""
    return answers.progress_of(await figures_of(call.request).whole_progress(slug))


@router.get("/studies/{slug}/counts")
async def count_answers(slug: str, call: MayRead) -> owner_api.Counts:
    """The answers so far, by question and comparison. Look at them with an interval that allows it: --sequential."""
    study = await call.server.studies.get(slug)
    return answers.counts_of(await figures_of(call.request).counts(study))


@router.get("/studies/{slug}/looks")
async def stopping_looks(slug: str, call: MayRead) -> owner_api.StoppingLooks:
    """What the planned looks of the stopping rule decided; a report of exported votes needs it beside them."""
    await call.server.studies.get(slug)
    found = await asyncio.to_thread(looks_of, call.server.database, slug)
    return owner_api.StoppingLooks(looks=None if found is None else found.model_dump(mode="json"))


@router.put("/studies/{slug}/status")
async def change_status(slug: str, body: owner_api.StatusRequest, call: MayManage) -> owner_api.StudySummary:
    """Open, pause or close a study. After closing, every vote that will ever be accepted is stored."""
    await asyncio.to_thread(set_status, call.server.database, slug, body.status, by=call.actor)
    figures_of(call.request).forget(slug)
    return answers.summary_of((await call.server.owner_reader.run(lambda tx: read_study(tx, slug)))[1])


@router.put("/studies/{slug}/design")
async def change_design(slug: str, body: owner_api.DesignRequest, call: MayManage) -> owner_api.Changes:
    """Apply a changed study.yaml by the rules of `qsched study update`; every change is harmless, or none is made."""
    refuse_unstorable(body.design, "the design")
    try:
        design = StudyDesign.model_validate(body.design)
    except ValidationError as error:
        raise BadRequest(f"{first_problem(error)}; nothing was changed") from error
    if design.slug != slug:
        raise BadRequest(f"the design is that of {design.slug!r}, the address names {slug!r}; nothing was changed")
    try:
        changes = await asyncio.to_thread(update_study, call.server.database, design, set_id=body.set_id, by=call.actor)
    except InputError as error:
        raise Conflict(str(error)) from error
    figures_of(call.request).forget(slug)
    call.server.studies.forget(slug)
    return answers.changes_of(changes)


@router.get("/studies/{slug}/reports")
async def list_reports(
    slug: str, call: MayRead, limit: Limit = PAGE_ITEMS, cursor: Cursor = None
) -> Page[owner_api.ReportInfo]:
    """What annotators reported, the newest first."""
    study = await call.server.studies.get(slug)
    rows = await call.server.owner_reader.run(
        lambda tx: read_reports(tx, study=study.id, before=before(cursor), limit=limit)
    )
    return Page(
        items=tuple(answers.report_of(row) for row in rows), next=str(rows[-1].id) if len(rows) == limit else None
    )


@router.get("/log")
async def read_log(
    call: MayRead, study: str | None = None, limit: Limit = PAGE_ITEMS, cursor: Cursor = None
) -> Page[owner_api.ActionInfo]:
    """What owners did at the pages, at the command line and by tokens, the newest first; of one study or of all."""
    rows = await call.server.owner_reader.run(
        lambda tx: latest_actions(tx, study=study, before=before(cursor), limit=limit)
    )
    return Page(
        items=tuple(answers.action_of(row) for row in rows), next=str(rows[-1].id) if len(rows) == limit else None
    )

"""Annotators over the API: how they work, exclusion and its way back, whom to pay."""

from __future__ import annotations

from fastapi import APIRouter

from qsched.records import owner_api
from qsched.records.owner_api import PAGE_ITEMS, Page
from study_server.admin.figures import figures_of
from study_server.api import answers
from study_server.api.gate import ERRORS, Cursor, Limit, MayManage, MaySeePeople, TokenCall, before
from study_server.assignment.records import AssignmentContext
from study_server.db import Tx
from study_server.errors import NotFound
from study_server.quality.exclusion import Exclusion, exclude, find_person, include
from study_server.quality.forgetting import forget
from study_server.quality.payments import paid_people, payments_of
from study_server.quality.people import read_people, read_person
from study_server.studies.actions import record_action
from study_server.studies.study import Study

router = APIRouter(prefix="/api/v1/studies/{slug}", responses=ERRORS, tags=["owner"])


@router.get("/people")
async def list_people(
    slug: str, call: MaySeePeople, only_excluded: bool = False, limit: Limit = PAGE_ITEMS, cursor: Cursor = None
) -> Page[owner_api.PersonInfo]:
    """The annotators with how they work, the newest first, by pseudonym."""
    study = await call.server.studies.get(slug)
    rows = await figures_of(call.request).count(
        lambda tx: read_people(tx, study_id=study.id, before=before(cursor), only_excluded=only_excluded, limit=limit)
    )
    return Page(
        items=tuple(answers.person_of(row) for row in rows), next=str(rows[-1].id) if len(rows) == limit else None
    )


@router.get("/people/{pseudonym}")
async def show_person(slug: str, pseudonym: str, call: MaySeePeople) -> owner_api.PersonInfo:
    """One annotator."""
    study = await call.server.studies.get(slug)
    found = await call.server.owner_reader.run(lambda tx: read_person(tx, study_id=study.id, pseudonym=pseudonym))
    if found is None:
        raise NotFound(f"no annotator of this study is called {pseudonym}")
    return answers.person_of(found)


@router.post("/exclusions")
async def exclude_person(slug: str, body: owner_api.PersonRequest, call: MayManage) -> owner_api.ExclusionDone:
    """Leave a person's votes out: nothing is deleted, their slots go to others. Needs a reason."""
    return await _act(slug, body, call, "exclude")


@router.post("/inclusions")
async def include_person(slug: str, body: owner_api.PersonRequest, call: MayManage) -> owner_api.ExclusionDone:
    """Let an excluded person's votes count again where their pairs still need one."""
    return await _act(slug, body, call, "include")


@router.post("/deletions")
async def forget_person(slug: str, body: owner_api.ForgetRequest, call: MayManage) -> owner_api.ForgetDone:
    """Delete one person's data, and the votes with them unless the consent lets them stay. There is no way back."""
    call.need("people")
    study = await call.server.studies.get(slug)
    done = await call.server.writer.run(forget, study, who=body.who or "", platform_id=body.platform_id, by=call.actor)
    figures_of(call.request).forget(slug)
    return answers.forgetting_of(done)


@router.get("/payments")
async def list_payments(
    slug: str, call: MaySeePeople, limit: Limit = PAGE_ITEMS, cursor: Cursor = None
) -> Page[owner_api.PaymentInfo]:
    """Whom to pay, by platform id and without pseudonyms; `limit` counts people, who may have several submissions."""
    study = await call.server.studies.get(slug)
    found, last = await call.server.owner_reader.run(lambda tx: _payments(tx, study, start=before(cursor), limit=limit))
    if cursor is None:
        await call.server.writer.run(_note_payments, None, actor=call.actor, slug=slug)
    return Page(items=found, next=last)


def _payments(tx: Tx, study: Study, *, start: int, limit: int) -> tuple[tuple[owner_api.PaymentInfo, ...], str | None]:
    people = paid_people(tx, study, before=start, limit=limit)
    rows = tuple(payment for person in people for payment in payments_of(study, person))
    return rows, str(people[-1].id) if len(people) == limit else None


async def _act(slug: str, body: owner_api.PersonRequest, call: TokenCall, action: str) -> owner_api.ExclusionDone:
    if body.platform_id is not None:
        call.need("people")  # it says whether a person takes part
    study = await call.server.studies.get(slug)
    done = await call.server.writer.run(_exclude_or_include, study, action=action, body=body, by=call.actor)
    figures_of(call.request).forget(slug)
    return answers.exclusion_of(done)


def _exclude_or_include(
    tx: Tx, context: AssignmentContext, *, action: str, body: owner_api.PersonRequest, by: str
) -> Exclusion:
    person = find_person(tx, study_id=context.study.id, who=body.who or "", platform_id=body.platform_id)
    job = exclude if action == "exclude" else include
    return job(tx, context, pseudonym=person.pseudonym, reason=body.reason, by=by)


def _note_payments(tx: Tx, *, actor: str, slug: str) -> None:
    record_action(tx, "payment list exported", actor=actor, study=slug)

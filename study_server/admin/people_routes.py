"""Annotators with how they work, exclusion and its way back, deletion of one person's data, and whom to pay."""

from __future__ import annotations

import asyncio
from itertools import islice

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from qsched.records.payment_list import payments_csv
from study_server.admin import queries
from study_server.admin.figures import figures_of
from study_server.admin.gate import Act, Owner
from study_server.admin.pages import AnswerRow, PaymentsPage, PeoplePage, PersonPage
from study_server.admin.rendering import PagePlace, render
from study_server.db import Tx
from study_server.errors import BadRequest, Forbidden, NotFound
from study_server.quality.exclusion import exclude, include
from study_server.quality.forgetting import forget
from study_server.quality.payments import read_payments
from study_server.quality.people import PAGE_PEOPLE, read_people, read_person
from study_server.studies.actions import record_action
from study_server.studies.known_answers import known_answer
from study_server.web.context import server_of

router = APIRouter(prefix="/admin/studies/{slug}", include_in_schema=False)
ANSWERS_SHOWN = 200
PAYMENTS_SHOWN = 200


@router.get("/people")
async def people(slug: str, request: Request, owner: Owner, before: int = 2**62, excluded: int = 0) -> Response:
    """A page of annotators, newest first."""
    server = server_of(request)
    study = await server.studies.get(slug)
    rows, agreement = await asyncio.gather(
        server.owner_reader.run(
            lambda tx: read_people(tx, study_id=study.id, before=before, only_excluded=bool(excluded), agreement=False)
        ),
        figures_of(request).agreement(study, before=before, only_excluded=bool(excluded)),
    )
    older = rows[-1].id if len(rows) == PAGE_PEOPLE else None
    page = PeoplePage(tuple(rows), older, only_excluded=bool(excluded), agreement=agreement)
    return render(request, page, owner=owner, place=PagePlace(slug, study.title, "people"))


@router.get("/people/{pseudonym}")
async def person(slug: str, pseudonym: str, request: Request, owner: Owner) -> Response:
    """One annotator: how they work, what they answered."""
    server = server_of(request)
    study = await server.studies.get(slug)
    found, agreement = await asyncio.gather(
        server.owner_reader.run(lambda tx: read_person(tx, study_id=study.id, pseudonym=pseudonym, agreement=False)),
        figures_of(request).agreement_of(study, pseudonym),
    )
    if found is None:
        raise NotFound(f"no annotator of this study is called {pseudonym}")
    answers = await server.owner_reader.run(lambda tx: _answers(tx, found.id))
    keeps = study.design.consent.after_withdrawal == "keep_votes"
    page = PersonPage(found, agreement.get(found.id), answers, keeps)
    return render(request, page, owner=owner, place=PagePlace(slug, study.title, "people"))


@router.post("/people/{pseudonym}/exclude")
async def exclude_person(slug: str, pseudonym: str, act: Act) -> Response:
    """Leave the votes of this person out, with a reason."""
    study = await act.server.studies.get(slug)
    reason = act.form.get("reason", "")
    await act.server.writer.run(exclude, study, pseudonym=pseudonym, reason=reason, by=act.owner.name)
    figures_of(act.request).forget(slug)
    return RedirectResponse(f"/admin/studies/{slug}/people/{pseudonym}?done=excluded", status_code=303)


@router.post("/people/{pseudonym}/include")
async def include_person(slug: str, pseudonym: str, act: Act) -> Response:
    """Let the votes of this person count again."""
    study = await act.server.studies.get(slug)
    reason = act.form.get("reason", "")
    await act.server.writer.run(include, study, pseudonym=pseudonym, reason=reason, by=act.owner.name)
    figures_of(act.request).forget(slug)
    return RedirectResponse(f"/admin/studies/{slug}/people/{pseudonym}?done=included", status_code=303)


@router.post("/people/{pseudonym}/forget")
async def forget_person(slug: str, pseudonym: str, act: Act) -> Response:
    """Delete the data of this person; the form repeats the pseudonym, so that no slip does it."""
    study = await act.server.studies.get(slug)
    if act.form.get("repeat", "").strip() != pseudonym:
        raise BadRequest(f"to delete this person's data, type {pseudonym} into the field; nothing was deleted")
    await act.server.writer.run(forget, study, who=pseudonym, by=act.owner.name)
    figures_of(act.request).forget(slug)
    return RedirectResponse(f"/admin/studies/{slug}/people?done=forgotten", status_code=303)


@router.get("/payments")
async def payments(slug: str, request: Request, owner: Owner) -> Response:
    """Whom to pay; the newest, while the file has everybody."""
    server = server_of(request)
    study = await server.studies.get(slug)
    rows = await server.owner_reader.run(lambda tx: tuple(islice(read_payments(tx, study), PAYMENTS_SHOWN)))
    return render(request, PaymentsPage(rows), owner=owner, place=PagePlace(slug, study.title, "payments"))


@router.get("/people.csv")
async def payments_file(slug: str, request: Request, owner: Owner) -> Response:
    """The payment list as CSV. It holds platform ids, so it is an owner's, and the log says who took it."""
    server = server_of(request)
    study = await server.studies.get(slug)
    if not owner.may_act:
        raise Forbidden(f"{owner.name} is a viewer: platform ids are an owner's business", code="viewer")
    lines = await server.owner_reader.run(lambda tx: list(payments_csv(row for _, row in read_payments(tx, study))))
    await server.writer.run(_note_export, None, actor=owner.name, slug=slug)
    headers = {"content-disposition": f'attachment; filename="{slug}-people.csv"'}
    return StreamingResponse(iter(lines), media_type="text/csv; charset=utf-8", headers=headers)


def _note_export(tx: Tx, *, actor: str, slug: str) -> None:
    record_action(tx, "payment list exported", actor=actor, study=slug)


def _answers(tx: Tx, annotator: int) -> tuple[AnswerRow, ...]:
    rows = tx.all(queries.LATEST_ANSWERS, annotator=annotator, limit=ANSWERS_SHOWN)
    return tuple(
        AnswerRow(
            at_ms=at,
            pair_key=pair,
            prompt_key=prompt,
            kind=kind,
            left_arm=first if first_on_left else second,
            right_arm=second if first_on_left else first,
            question=question,
            choice=choice,
            expected=known_answer(expected, question),
            seconds=ms / 1000,
            counts=bool(counted),
        )
        for at, pair, prompt, kind, first_on_left, first, second, question, choice, expected, ms, counted in rows
    )

"""The page of questions about the instructions. A plain form: it needs no script."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from study_server.errors import BadRequest
from study_server.participation.answering import language_of, read_session, show_page
from study_server.participation.comprehension import (
    Understanding,
    answer_comprehension,
    seed_of,
    showing_of,
    shuffled_answers,
)
from study_server.participation.pages import ComprehensionPage, ComprehensionQuestion
from study_server.participation.service import SessionSummary
from study_server.studies.people import Comprehension
from study_server.studies.study import Study
from study_server.web.bodies import read_form
from study_server.web.context import server_of

router = APIRouter(include_in_schema=False)


@router.get("/s/{slug}/comprehension")
async def questions(slug: str, request: Request) -> Response:
    """The questions; whoever has no session, has passed, or must first be screened, goes where they belong."""
    study = await server_of(request).studies.get(slug)
    key, summary = await read_session(request, study)
    rules = study.design.comprehension
    if key is None or summary is None or rules is None or _elsewhere(study, summary):
        return _onward(study, summary)
    showing = showing_of(server_of(request).keys, key.hash, summary.understanding.attempts + 1)
    page = _page(study, rules, summary.understanding, showing, language=language_of(request, study))
    return show_page(request, study, page, key, preview=summary.preview)


@router.post("/s/{slug}/comprehension")
async def answers(slug: str, request: Request) -> Response:
    """Count a try, and go on to the task, to the questions again, or to the end."""
    server = server_of(request)
    study = await server.studies.get(slug)
    key, summary = await read_session(request, study)
    rules = study.design.comprehension
    if key is None or summary is None or rules is None or _elsewhere(study, summary):
        return _onward(study, summary)
    form = await read_form(request)
    server.keys.check_csrf(key.token, form.get("csrf"))
    places = []
    for number, item in enumerate(rules.items):
        chosen = form.get(f"q{number}", "")
        if not chosen.isdecimal() or len(chosen) > 3 or int(chosen) > len(item.wrong):
            raise BadRequest(f"question {number + 1} has no answer; go back and choose one for each question")
        places.append(int(chosen))
    attempt = form.get("attempt", "")
    if not attempt.isdecimal() or len(attempt) > 3:
        raise BadRequest("the form does not say which try it is; go back and reload the page")
    done = await server.writer.run(
        answer_comprehension,
        study,
        session_key=key.hash,
        attempt=int(attempt),
        places=tuple(places),
        showing=showing_of(server.keys, key.hash, int(attempt)),
    )
    if done.passed:
        return RedirectResponse(f"/s/{slug}/task", status_code=303)
    place = "thanks" if done.attempts >= rules.attempts else "comprehension"
    return RedirectResponse(f"/s/{slug}/{place}", status_code=303)


def _elsewhere(study: Study, summary: SessionSummary) -> bool:
    unscreened = study.design.screening.required and not summary.passed_screening
    return summary.state != "active" or unscreened or summary.may_begin


def _onward(study: Study, summary: SessionSummary | None) -> Response:
    place = "" if summary is None else "/thanks" if summary.state != "active" else "/task"
    return RedirectResponse(f"/s/{study.slug}{place}", status_code=303)


def _page(
    study: Study, rules: Comprehension, before: Understanding, showing: str, *, language: str
) -> ComprehensionPage:
    design = study.design
    return ComprehensionPage(
        questions=tuple(
            ComprehensionQuestion(
                design.words(item.question, language),
                tuple(
                    design.words(answer, language) for answer in shuffled_answers(item, seed=seed_of(showing, number))
                ),
            )
            for number, item in enumerate(rules.items)
        ),
        attempt=before.attempts + 1,
        needed=rules.needed,
        right=before.right if before.attempts else None,
        tries_left=rules.attempts - before.attempts,
    )

"""What is stored of a person, as this study's settings have it, and the way to have it deleted."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from study_server.assignment.records import AssignmentContext
from study_server.assignment.session import load_session
from study_server.db import Tx
from study_server.errors import BadRequest
from study_server.participation import queries
from study_server.participation.answering import contact_of, heading, read_session, show_message
from study_server.participation.endings import completion_of
from study_server.participation.pages import PrivacyPage
from study_server.participation.service import SessionSummary
from study_server.quality.forgetting import forget
from study_server.studies.panels import panel_of
from study_server.web.bodies import read_form
from study_server.web.context import server_of, session_cookie

router = APIRouter(include_in_schema=False)
#: Who acted, in the log of owners' actions.
PERSON = "the person themselves"


@router.get("/s/{slug}/privacy")
async def privacy(slug: str, request: Request) -> Response:
    """The page; with a form to delete one's own data for whoever has a session in this browser."""
    server = server_of(request)
    study = await server.studies.get(slug)
    key, summary = await read_session(request, study)
    design = study.design
    panel = panel_of(design.platform)
    page = PrivacyPage(
        platform=panel.title if panel.required else None,
        personal=design.platform.name == "personal",
        demographics=bool(design.demographics),
        comprehension=design.comprehension is not None,
        consent_version=design.consent.version,
        contact=contact_of(request, study),
        days=design.consent.delete_after_days,
        keeps_votes=design.consent.after_withdrawal == "keep_votes",
        withdraw_code=None if summary is None else summary.withdraw_code,
        may_withdraw=summary is not None and _may_withdraw(summary),
    )
    return server.pages.render(
        request,
        page,
        study=heading(request, study),
        languages=design.languages,
        csrf_token="" if key is None else server.keys.csrf_token(key.token),
    )


@router.post("/s/{slug}/withdraw")
async def withdraw(slug: str, request: Request) -> Response:
    """Delete the data of the person of this session, and forget the browser's cookie."""
    server = server_of(request)
    study = await server.studies.get(slug)
    key, summary = await read_session(request, study)
    if key is None or summary is None or not _may_withdraw(summary):
        return RedirectResponse(f"/s/{slug}/privacy", status_code=303)
    form = await read_form(request)
    server.keys.check_csrf(key.token, form.get("csrf"))
    if form.get("sure") != "yes":
        raise BadRequest("nothing was deleted: the box below was not ticked; go back and tick it")
    completion = completion_of(study, "no_consent", summary)
    await server.writer.run(withdraw_session, study, session_key=key.hash)
    answer = show_message(request, study, "withdrawn", completion=completion)
    answer.delete_cookie(session_cookie(server, study), path="/", secure=server.settings.secure_cookies, httponly=True)
    return answer


def _may_withdraw(summary: SessionSummary) -> bool:
    """Not to begin anew: whoever was excluded, or failed a try at the questions, asks the owner by their code."""
    tried = summary.understanding.attempts > 0 and not summary.understanding.passed
    return summary.state in ("active", "finished") and not tried and not summary.preview


def withdraw_session(tx: Tx, context: AssignmentContext, *, session_key: str) -> None:
    """Forget the person of a session, by the rule of the study's consent text."""
    session = load_session(tx, key=session_key, study=context.study.id)
    forget(tx, context, by=PERSON, who=tx.scalar(queries.PSEUDONYM_OF_SESSION, session=session.id))

"""The annotator's pages: arrival and consent, instructions and screening, the task's shell, thanks."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from study_server.errors import Forbidden
from study_server.participation import service
from study_server.participation.answering import (
    contact_of,
    flicker_of,
    language_of,
    paragraphs,
    read_session,
    refuse_link,
    show_consent,
    show_message,
    show_page,
)
from study_server.participation.endings import carried, completion_of, declined, is_another
from study_server.participation.pages import (
    Completion,
    FormProblem,
    IndexPage,
    InstructionsPage,
    QuestionItem,
    ScreeningItem,
    StudyItem,
    TaskPage,
    ThanksPage,
)
from study_server.participation.schemas import ScreeningBody, ScreeningProblem, ScreeningResult
from study_server.studies.cache import listed_studies
from study_server.studies.panels import panel_of
from study_server.studies.study import Study
from study_server.web.bodies import read_form
from study_server.web.calls import ERRORS, PARAMETERS, Call, SessionRoute
from study_server.web.context import (
    CSRF_COOKIE,
    Server,
    find_session,
    server_of,
    session_cookie,
)
from study_server.web.limits import address_of
from study_server.web.security import SessionKey, new_token
from study_server.web.signed_links import PREVIEW, is_preview

router = APIRouter()
calls = APIRouter(responses=ERRORS, route_class=SessionRoute)


@router.get("/", include_in_schema=False)
async def index(request: Request) -> Response:
    """The studies of this server that their owners let be listed."""
    server = server_of(request)
    listed = await server.reader.run(listed_studies)
    studies = tuple(StudyItem(one.slug, one.title, one.status == "open") for one in listed)
    return server.pages.render(request, IndexPage(studies))


@router.get("/s/{slug}", include_in_schema=False)
async def arrive(slug: str, request: Request) -> Response:
    """The consent page; a person with a session goes on where they were."""
    server = server_of(request)
    study, status = await server.studies.get_with_status(slug)
    preview = is_preview(server.keys, study, request.query_params.get(PREVIEW))
    if "simulated" not in request.query_params and not preview:
        _, summary = await read_session(request, study)
        # Another submission of the same person on a platform is a new session: consent is asked again.
        if summary is not None and not is_another(server.keys, study, dict(request.query_params), summary):
            onward = RedirectResponse(f"/s/{slug}/{_place(summary)}", status_code=303)
            server.pages.keep_language(request, onward, slug=slug, languages=study.design.languages)
            return onward
    if status != "open" and not preview:
        # Who comes by the platform's link without the cookie has a place here too, perhaps with a completion code.
        back = await _back_by_platform(server, study, dict(request.query_params))
        if back is not None:
            server.pages.keep_language(request, back, slug=slug, languages=study.design.languages)
            return back
        return show_message(request, study, "paused" if status == "paused" else "closed", status=410)
    try:
        if not preview:
            participant = service.platform_participant(study, dict(request.query_params), server.keys)
            if participant is not None:
                await server.reader.run(lambda tx: service.refuse_revoked(tx, study, participant))
    except service.FormMisfit as misfit:  # said before anybody reads and fills in a form in vain
        return refuse_link(request, server, study, misfit)
    except service.TakesNoMorePart:
        return show_message(request, study, "ended", status=403, detail=contact_of(request, study))
    nonce = new_token()
    hidden = carried(study, dict(request.query_params))
    if not preview and CSRF_COOKIE not in request.cookies:
        request.app.state.arrivals.note(study.id)
    return show_consent(request, server, study, nonce=nonce, hidden=hidden)


@router.post("/s/{slug}/consent", include_in_schema=False)
async def consent(slug: str, request: Request) -> Response:
    """Agreement makes a session; anything else stores nothing."""
    server = server_of(request)
    study, status = await server.studies.get_with_status(slug)
    form = await read_form(request)
    nonce = server.keys.verify(request.cookies.get(CSRF_COOKIE))
    if nonce is None:
        raise Forbidden("the form is stale or cookies are blocked; open the study's link again")
    server.keys.check_csrf(f"{slug}:{nonce}", form.get("csrf"))
    simulated = bool(form.get("simulated"))
    if simulated and not server.settings.allow_simulated:
        raise Forbidden("this server takes no simulated annotators; start it with --simulated-annotators", code="csrf")
    if not simulated:
        server.arrivals.check(address_of(request))
    preview = is_preview(server.keys, study, form.get(PREVIEW))
    if status != "open" and not preview:
        return show_message(request, study, "paused" if status == "paused" else "closed", status=410)
    if form.get("consent") != "yes":
        return await _decline(request, server, study, form)
    hidden = carried(study, form)
    try:
        participant = None if preview else service.platform_participant(study, form, server.keys)
        demographics = service.read_demographics(study.design, form, language=language_of(request, study))
    except service.FormMisfit as misfit:
        problem = FormProblem(misfit.key, misfit.values, misfit.question)
        entered = {name.removeprefix("d_"): value for name, value in form.items() if name.startswith("d_")}
        return show_consent(request, server, study, nonce=nonce, hidden=hidden, problem=problem, entered=entered)
    # One form makes one session, however often it is sent.
    key = SessionKey.of(server.keys.token_of(nonce))
    try:
        await server.writer.run(
            service.join,
            study,
            participant=participant,
            simulated=simulated,
            demographics=demographics,
            session_key=key.hash,
            preview=preview,
        )
    except service.FormMisfit as misfit:  # a link that was taken back meanwhile
        return refuse_link(request, server, study, misfit)
    except service.TakesNoMorePart:
        return show_message(request, study, "ended", status=403, detail=contact_of(request, study))
    return _enter(server, study, key, "instructions")


@router.post("/s/{slug}/leave", include_in_schema=False)
async def leave(slug: str, request: Request) -> Response:
    """Let the next person at this browser start anew; the session itself and its answers stay."""
    server = server_of(request)
    study = await server.studies.get(slug)
    key = find_session(request, study)
    answer = RedirectResponse(f"/s/{slug}", status_code=303)
    if key is not None:
        form = await read_form(request)
        server.keys.check_csrf(key.token, form.get("csrf"))
        await server.writer.run(service.leave, study, session_key=key.hash)
        answer.delete_cookie(
            session_cookie(server, study), path="/", secure=server.settings.secure_cookies, httponly=True
        )
    return answer


@router.get("/s/{slug}/instructions", include_in_schema=False)
async def instructions(slug: str, request: Request) -> Response:
    """The instructions with the keys; the device check, if the study has one."""
    server = server_of(request)
    study = await server.studies.get(slug)
    key, summary = await read_session(request, study)
    if summary is None or key is None:
        return RedirectResponse(f"/s/{slug}", status_code=303)
    if summary.state != "active":
        return RedirectResponse(f"/s/{slug}/thanks", status_code=303)
    design = study.design
    rules = design.screening
    language = language_of(request, study)
    page = InstructionsPage(
        paragraphs=() if design.instructions is None else paragraphs(design.words(design.instructions, language)),
        questions=()
        if design.fidelity
        else tuple(QuestionItem(asked.id, design.words(asked.text, language)) for asked in design.questions),
        allow_tie=design.allow_tie,
        allow_skip=design.allow_skip,
        strength=design.strength,
        show_prompt=design.show_prompt,
        block_length=design.block_length,
        has_practice=study.practice_pairs > 0,
        has_questions=design.comprehension is not None and not summary.may_begin,
        screening=ScreeningItem(
            needed=not summary.passed_screening,
            required=rules.required,
            colour_plate=rules.colour_plate,
            grey_steps=rules.grey_steps,
            min_viewport_width=rules.min_viewport_width,
            min_viewport_height=rules.min_viewport_height,
            max_zoom=rules.max_zoom,
        ),
        fidelity=design.fidelity is not None,
        ranking=0 if design.ranking is None else design.ranking.pictures,
        flicker=flicker_of(design),
        withdraw_code=summary.withdraw_code,
    )
    return show_page(request, study, page, key, preview=summary.preview)


@calls.post("/s/{slug}/screening", openapi_extra=PARAMETERS)
async def screening(call: Call, body: ScreeningBody) -> ScreeningResult:
    """Record the device; say what does not fit."""
    outcome = await call.server.writer.run(
        service.record_screening, call.study, session_key=call.session.hash, body=body
    )
    return ScreeningResult(
        ok=outcome.ok,
        problems=tuple(ScreeningProblem(code=code, message=message) for code, message in outcome.problems),
        retry=outcome.retry,
        redirect=None if outcome.ok or outcome.retry else f"/s/{call.study.slug}/thanks",
    )


@router.get("/s/{slug}/task", include_in_schema=False)
async def task(slug: str, request: Request) -> Response:
    """The shell of the pair page; its script asks the API for everything else."""
    server = server_of(request)
    study = await server.studies.get(slug)
    key, summary = await read_session(request, study)
    if summary is None or key is None:
        return RedirectResponse(f"/s/{slug}", status_code=303)
    if summary.state != "active":
        return RedirectResponse(f"/s/{slug}/thanks", status_code=303)
    if study.design.screening.required and not summary.passed_screening:
        return RedirectResponse(f"/s/{slug}/instructions", status_code=303)
    design = study.design
    if design.comprehension is not None and not summary.may_begin:
        return RedirectResponse(f"/s/{slug}/comprehension", status_code=303)
    page = TaskPage(
        allow_tie=design.allow_tie,
        allow_skip=design.allow_skip,
        strength=design.strength,
        fidelity=design.fidelity is not None,
        ranking=0 if design.ranking is None else design.ranking.pictures,
        flicker=flicker_of(design),
    )
    return show_page(request, study, page, key, preview=summary.preview)


@router.get("/s/{slug}/thanks", include_in_schema=False)
async def thanks(slug: str, request: Request) -> Response:
    """The end, with the completion code: only for those who came to it."""
    server = server_of(request)
    study = await server.studies.get(slug)
    key, summary = await read_session(request, study)
    if summary is None or key is None:
        return RedirectResponse(f"/s/{slug}", status_code=303)
    platform = study.design.platform
    if summary.state == "screened_out":
        return show_message(request, study, "screened_out", completion=completion_of(study, "screened_out", summary))
    if summary.state == "not_understood":
        title = panel_of(platform).title
        return show_message(
            request,
            study,
            "not_understood" if title is None else "return_submission",
            completion=completion_of(study, "not_understood", summary),
            platform=title or "",
        )
    if summary.state == "excluded":
        completion = completion_of(study, "failed_check", summary)
        return show_message(request, study, "ended", completion=completion, detail=contact_of(request, study))
    if summary.state != "finished" and summary.status == "paused":
        return show_message(request, study, "paused")
    if summary.state != "finished" and summary.status != "closed":
        return RedirectResponse(f"/s/{slug}/task", status_code=303)
    completion = completion_of(study, "complete", summary)
    # Who comes from a platform has a link of their own; an open link is used again at the same browser.
    page = ThanksPage(
        summary.answered,
        completion or Completion(),
        may_start_anew=platform.name == "open",
        withdraw_code=summary.withdraw_code,
    )
    return show_page(request, study, page, key, preview=summary.preview)


def _enter(server: Server, study: Study, key: SessionKey, place: str) -> Response:
    """To a place of the study, as this session from now on."""
    answer = RedirectResponse(f"/s/{study.slug}/{place}", status_code=303)
    answer.set_cookie(
        session_cookie(server, study),
        server.keys.sign(key.token),
        path="/",  # pictures have addresses outside /s/, and __Host- asks for it
        httponly=True,
        samesite="lax",
        secure=server.settings.secure_cookies,
        max_age=30 * 86_400,
    )
    answer.delete_cookie(CSRF_COOKIE, path=f"/s/{study.slug}")
    return answer


async def _decline(request: Request, server: Server, study: Study, form: dict[str, str]) -> Response:
    """Nothing was stored of this person, or, if something was, back to its place."""
    back = await _back_by_platform(server, study, form)
    if back is None:
        key, summary = await read_session(request, study)
        back = None if key is None or summary is None else _enter(server, study, key, _place(summary))
    return back or show_message(request, study, "declined", completion=declined(study, form))


async def _back_by_platform(server: Server, study: Study, fields: dict[str, str]) -> Response | None:
    """To the place of the session that the platform's names, from a link or a form, belong to; None without one."""
    if not fields.get(panel_of(study.design.platform).parameters.person):
        return None
    try:
        participant = service.platform_participant(study, fields, server.keys)
    except service.FormMisfit:  # no such names can have a session
        return None
    if participant is None:
        return None
    key = SessionKey.new()
    summary = await server.writer.run(
        service.reopen_known_session, study, participant=participant, session_key=key.hash
    )
    return None if summary is None else _enter(server, study, key, _place(summary))


def _place(summary: service.SessionSummary) -> str:
    if summary.state != "active" or summary.status == "closed":
        return "thanks"
    return "task" if summary.started else "instructions"

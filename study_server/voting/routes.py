"""The API of the pair page: session, votes, undo, heartbeat, report."""

from __future__ import annotations

from fastapi import APIRouter

from study_server.voting import service, sessions
from study_server.voting.answers import HeartbeatAnswer, NextStep, SessionAnswer, UndoAnswer, VoteAnswer
from study_server.voting.pictures import PAIR_NUMBERS
from study_server.voting.presenter import Presenter
from study_server.voting.queries import SHOWN_OTHERS, SHOWN_REFERENCE
from study_server.voting.schemas import HeartbeatBody, ReportBody, SessionBody, UndoBody, VoteBody
from study_server.web.calls import ERRORS, PARAMETERS, Call, SessionRoute
from study_server.web.limits import address_of
from study_server.web.security import new_token

router = APIRouter(prefix="/s/{slug}/api", responses=ERRORS, route_class=SessionRoute)


@router.post("/votes", openapi_extra=PARAMETERS)
async def vote(call: Call, body: VoteBody) -> VoteAnswer:
    """Store one vote durably, then answer with the next pair."""
    submitted = service.SubmittedVote(
        session_key=call.session.hash,
        assignment_id=call.own("assignment", body.assignment, numbers=PAIR_NUMBERS),
        answers=body.answers,
        response_ms=body.response_ms,
        hidden_ms=body.hidden_ms,
        painted_ms=None if body.painted_at is None else round(body.painted_at),
        key=body.idempotency_key,
        tab_token=body.tab_token,
        display=_displays(call, body),
        strengths=body.strengths,
        view=body.view,
        rankings=body.rankings,
    )
    outcome = await call.server.writer.run(service.submit_vote, call.study, vote=submitted)
    call.server.holders.release(call.session.number)
    stacked = body.view is not None and body.view.layout == "stacked"
    return Presenter(call).vote(outcome, stacked=stacked)


@router.post("/session", openapi_extra=PARAMETERS)
async def session(call: Call, body: SessionBody) -> SessionAnswer:
    """Begin, or go on after a reload."""
    # The page draws its token before it asks, so that a reload while this answer is on its way is not another tab.
    fresh = body.tab_token or new_token()
    if not call.server.settings.allow_simulated:
        call.server.holders.admit(address_of(call.request), call.session.number)
    outcome = await call.server.writer.run(
        sessions.open_session,
        call.study,
        session_key=call.session.hash,
        tab_token=body.tab_token,
        new_tab=fresh,
        take_over=body.take_over,
    )
    return Presenter(call).session(outcome)


@router.post("/undo", openapi_extra=PARAMETERS)
async def undo(call: Call, body: UndoBody) -> UndoAnswer:
    """Show the latest pair again; its next vote supersedes the old one."""
    outcome = await call.server.writer.run(
        sessions.undo_vote,
        call.study,
        session_key=call.session.hash,
        vote_id=call.own("vote", body.vote_id),
        tab_token=body.tab_token,
    )
    return Presenter(call).undo(outcome)


@router.post("/heartbeat", openapi_extra=PARAMETERS)
async def heartbeat(call: Call, body: HeartbeatBody) -> HeartbeatAnswer:
    """Keep the leases of a page that is open."""
    tokens = {call.own("assignment", token, numbers=PAIR_NUMBERS): token for token in body.assignments}
    lost = await call.server.writer.run(
        sessions.keep_leases,
        call.study,
        session_key=call.session.hash,
        assignments=tuple(tokens),
        tab_token=body.tab_token,
    )
    return HeartbeatAnswer(
        ok=not lost,
        lease_seconds=call.study.design.lease_seconds,
        lost=tuple(tokens[number] for number in lost),
    )


@router.post("/report", openapi_extra=PARAMETERS)
async def report(call: Call, body: ReportBody) -> NextStep:
    """Record that a pair cannot be judged, and replace it. Files that the server itself cannot read are a 503."""
    number, left, right = call.own_pair(body.assignment)
    if body.problem == "image_missing":
        for image in (left, right, *await _others_of(call, number)):
            await call.server.images.check(image)
    call.server.holders.release(call.session.number)
    outcome = await call.server.writer.run(
        sessions.report_problem,
        call.study,
        session_key=call.session.hash,
        assignment_id=number,
        problem=body.problem,
        detail=body.detail,
        key=body.idempotency_key,
        tab_token=body.tab_token,
    )
    return Presenter(call).following(outcome)


def _displays(call: Call, body: VoteBody) -> dict[str, str]:
    """How each question was shown: the same for all, but for its language, which a question may lack."""
    design, language = call.study.design, call.catalogue().language
    languages = {one.id: design.words(one.text, language).language for one in design.questions}
    if design.fidelity is not None:  # its question is the page's own
        languages = dict.fromkeys(languages, language)
    made = {one: body.display(one) for one in set(languages.values())}
    return {question: made[one] for question, one in languages.items()}


async def _others_of(call: Call, assignment: int) -> tuple[int, ...]:
    """What an assignment shows beside two pictures: a fidelity study's reference, a set's third and fourth picture."""
    if call.study.design.design == "preference":
        return ()
    statement = SHOWN_REFERENCE if call.study.design.fidelity is not None else SHOWN_OTHERS
    row = await call.server.reader.run(lambda tx: tx.one(statement, assignment=assignment))
    return tuple(int(number) for number in row or () if number is not None)

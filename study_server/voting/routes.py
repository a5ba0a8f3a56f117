"""The API of the pair page: session, votes, undo, heartbeat, report."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from study_server.errors import BadRequest, NotFound
from study_server.studies.study import Study
from study_server.voting import service, sessions
from study_server.voting.presenter import Presenter
from study_server.voting.schemas import HeartbeatBody, ReportBody, SessionBody, UndoBody, VoteBody
from study_server.web.bodies import read_json
from study_server.web.context import Server, require_session, server_of
from study_server.web.security import new_token

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


async def vote(request: Request) -> Response:
    """Store one vote durably, then answer with the next pair."""
    server, slug = server_of(request), request.path_params["slug"]
    session_id = require_session(request, slug)
    study = await server.studies.get(slug)
    body = await read_json(request, VoteBody)
    submitted = service.SubmittedVote(
        session_id=session_id,
        assignment_id=_own(server, session_id, "assignment", body.assignment),
        answers=body.answers,
        response_ms=body.response_ms,
        hidden_ms=body.hidden_ms,
        painted_ms=None if body.painted_at is None else round(body.painted_at),
        key=body.idempotency_key,
        tab_token=body.tab_token,
        display=body.display(),
        strengths=body.strengths,
    )
    outcome = await server.writer.run(service.submit_vote, study, vote=submitted)
    stacked = body.view is not None and body.view.layout == "stacked"
    return _json(_presenter(request, server, study, session_id).vote(outcome, stacked=stacked))


async def session(request: Request) -> Response:
    """Begin, or go on after a reload."""
    server, slug = server_of(request), request.path_params["slug"]
    session_id = require_session(request, slug)
    study = await server.studies.get(slug)
    body = await read_json(request, SessionBody)
    # The page draws its token before it asks, so that a reload while this answer is on its way is not another tab.
    fresh = body.tab_token or new_token()
    outcome = await server.writer.run(
        sessions.open_session,
        study,
        session_id=session_id,
        tab_token=body.tab_token,
        new_tab=fresh,
        take_over=body.take_over,
    )
    return _json(_presenter(request, server, study, session_id).session(outcome))


async def undo(request: Request) -> Response:
    """Show the latest pair again; its next vote supersedes the old one."""
    server, slug = server_of(request), request.path_params["slug"]
    session_id = require_session(request, slug)
    study = await server.studies.get(slug)
    body = await read_json(request, UndoBody)
    vote_id = _own(server, session_id, "vote", body.vote_id)
    outcome = await server.writer.run(
        sessions.undo_vote, study, session_id=session_id, vote_id=vote_id, tab_token=body.tab_token
    )
    presenter = _presenter(request, server, study, session_id)
    return _json(
        {
            "assignment": presenter.assignment(outcome.shown[0]),
            "progress": presenter.progress(outcome.session),
            "state": outcome.state,
        }
    )


async def heartbeat(request: Request) -> Response:
    """Keep the leases of a page that is open."""
    server, slug = server_of(request), request.path_params["slug"]
    session_id = require_session(request, slug)
    study = await server.studies.get(slug)
    body = await read_json(request, HeartbeatBody)
    tokens = {_own(server, session_id, "assignment", token): token for token in body.assignments}
    lost = await server.writer.run(
        sessions.keep_leases, study, session_id=session_id, assignments=tuple(tokens), tab_token=body.tab_token
    )
    return _json(
        {
            "ok": not lost,
            "lease_seconds": study.design.lease_seconds,
            "lost": [tokens[number] for number in lost],
        }
    )


async def report(request: Request) -> Response:
    """A pair that cannot be judged: recorded and replaced."""
    server, slug = server_of(request), request.path_params["slug"]
    session_id = require_session(request, slug)
    study = await server.studies.get(slug)
    body = await read_json(request, ReportBody)
    number = _own(server, session_id, "assignment", body.assignment)
    outcome = await server.writer.run(
        sessions.report_problem,
        study,
        session_id=session_id,
        assignment_id=number,
        problem=body.problem,
        detail=body.detail,
        key=body.idempotency_key,
        tab_token=body.tab_token,
    )
    return _json(_presenter(request, server, study, session_id).after(outcome))


def _own(server: Server, session_id: int, purpose: str, token: str) -> int:
    """The number in a token of this very session."""
    try:
        owner, number = server.keys.unseal(purpose, token, 2)
    except NotFound as error:
        raise BadRequest(f"the {purpose} is not one that this server gave out") from error
    if owner != session_id:
        raise BadRequest(f"the {purpose} belongs to another session")
    return number


def _presenter(request: Request, server: Server, study: Study, session_id: int) -> Presenter:
    return Presenter(server.keys, study, session_id, lambda: server.pages.catalogue(request, study.design.languages))


def _json(content: dict[str, Any]) -> Response:
    return Response(_ENCODER.encode(content), media_type="application/json")


Endpoint = Callable[[Request], Awaitable[Response]]
#: By the path below /s/{slug}/; POST only.
ENDPOINTS: dict[str, Endpoint] = {
    "api/votes": vote,
    "api/heartbeat": heartbeat,
    "api/session": session,
    "api/undo": undo,
    "api/report": report,
}
# For what `StudyApp` does not answer itself: other methods get 405.
ROUTES = [Route(f"/s/{{slug}}/{path}", endpoint, methods=["POST"]) for path, endpoint in ENDPOINTS.items()]

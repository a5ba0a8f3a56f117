"""The routes of a session's API: who calls, of which study, on which server; the body checked, the answer typed.

FastAPI routes and describes them. It does not solve their parameters: a body goes straight to pydantic and the answer
straight back, which saves a vote a quarter of its time (docs/decisions/2026-11-29-session-routes.md).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast, get_type_hints

from fastapi import Depends
from fastapi.routing import APIRoute
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from study_server.errors import BadRequest, NotFound, NotSignedIn
from study_server.studies.study import Study
from study_server.web.bodies import ErrorBody, RequestBody, ResponseBody, read_body
from study_server.web.catalogue import Catalogue
from study_server.web.context import SESSION_COOKIE, Server, find_session, server_of
from study_server.web.security import SessionKey

# What any of these routes may answer besides its success; every one has the shape of ErrorBody.
ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorBody, "description": "no session: the cookie is missing or of another study"},
    403: {"model": ErrorBody, "description": "the CSRF token does not belong to the session"},
    404: {"model": ErrorBody, "description": "there is no such study"},
    409: {"model": ErrorBody, "description": "another tab, a pair that is answered, an undo that came too late"},
    413: {"model": ErrorBody, "description": "the body is too large"},
    422: {"model": ErrorBody, "description": "the body does not fit its description, or the study's questions"},
    429: {"model": ErrorBody, "description": "too many calls; wait `Retry-After` seconds"},
    503: {"model": ErrorBody, "description": "not saved: send the same again, with the same idempotency key"},
}


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A call of a session whose cookie, CSRF token and rate limit are checked."""

    request: Request
    server: Server
    session: SessionKey
    study: Study

    def catalogue(self) -> Catalogue:
        """The words of the person's language, among those that the study offers."""
        return self.server.pages.catalogue(self.request, self.study.design.languages)

    def own_pair(self, token: str) -> tuple[int, int, int]:
        """Assignment, left image and right image in a pair's token of this very session."""
        assignment, left, right = self._unseal("assignment", token, numbers=4)
        return assignment, left, right

    def own(self, purpose: str, token: str, *, numbers: int = 2) -> int:
        """The first number in a token of this very session, after the session itself."""
        return self._unseal(purpose, token, numbers=numbers)[0]

    def _unseal(self, purpose: str, token: str, *, numbers: int) -> tuple[int, ...]:
        try:
            owner, *rest = self.server.keys.unseal(purpose, token, numbers)
        except NotFound as error:
            raise BadRequest(f"the {purpose} is not one that this server gave out") from error
        if owner != self.session.number:
            raise BadRequest(f"the {purpose} belongs to another session")
        return tuple(rest)


# What `check_call` reads, for the OpenAPI.
PARAMETERS: dict[str, Any] = {
    "parameters": [
        {"name": "slug", "in": "path", "required": True, "schema": {"type": "string"}, "description": "the study"},
        {
            "name": "X-CSRF-Token",
            "in": "header",
            "required": True,
            "schema": {"type": "string"},
            "description": "the token in the page's <meta name=csrf-token>",
        },
        {"name": f"{SESSION_COOKIE}{{study}}", "in": "cookie", "required": True, "schema": {"type": "string"}},
    ]
}


async def check_call(request: Request) -> ApiCall:
    """The session's cookie, the page's CSRF token and the rate limit, checked; then the study."""
    server = server_of(request)
    study = await server.studies.get(request.path_params["slug"])
    session = find_session(request, study)
    if session is None:
        raise NotSignedIn("your session has ended; open the study's link again")
    server.keys.check_csrf(session.token, request.headers.get("x-csrf-token"))
    if not server.settings.allow_simulated:
        server.calls.check(session.number)
    return ApiCall(request, server, session, study)


_Endpoint = Callable[[ApiCall, RequestBody], Coroutine[Any, Any, ResponseBody | Mapping[str, object]]]
Call = Annotated[ApiCall, Depends(check_call)]


class SessionRoute(APIRoute):
    """The route of `async def name(call: Call, body: Body) -> Answer`: FastAPI describes it, pydantic does the rest."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Instead of FastAPI's own, which opens two stacks of exit handlers for dependencies that these routes do not
        # have; the application's handlers answer an error.
        self.app = _answering(cast(_Endpoint, self.endpoint))


def _answering(endpoint: _Endpoint) -> ASGIApp:
    """Checks the call and the body, and answers."""
    body_type: type[RequestBody] = get_type_hints(endpoint)["body"]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        answer = await endpoint(await check_call(request), await read_body(request, body_type))
        await Response(to_json(answer), media_type="application/json")(scope, receive, send)

    return app

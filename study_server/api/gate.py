"""Who may call the owner's API: the bearer of a token that has the scope of the route."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from qsched.records.owner_api import MOST_ITEMS, PAGE_ITEMS, Scope
from study_server.api.tokens import NOTE_EVERY_MS, ApiToken, find_token, note_used
from study_server.clock import now_ms
from study_server.errors import Forbidden, StudyError
from study_server.web.bodies import ErrorBody
from study_server.web.context import Server, server_of

_bearer = HTTPBearer(auto_error=False, description="made by `qsched admin token create`")
# What any of these routes may answer besides its success; every one has the shape of ErrorBody.
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "the address holds a NUL character"},
    401: {"model": ErrorBody, "description": "no token, or one that is unknown, revoked or expired"},
    403: {"model": ErrorBody, "description": "the token lacks the scope of this route"},
    404: {"model": ErrorBody, "description": "there is no such study or person"},
    409: {"model": ErrorBody, "description": "it is so already, or cannot be so"},
    413: {"model": ErrorBody, "description": "the body is too large"},
    422: {"model": ErrorBody, "description": "the request does not fit its description, or the study"},
    429: {"model": ErrorBody, "description": "too many calls; wait `Retry-After` seconds"},
    503: {"model": ErrorBody, "description": "the database does not answer, or a stored design cannot be read"},
}


class TokenNeeded(StudyError):
    """No valid token came with the call."""

    status = 401
    code = "token"
    headers = {"www-authenticate": "Bearer"}  # noqa: RUF012 - a header of every such answer, never changed


@dataclass(frozen=True, slots=True)
class TokenCall:
    """A call whose token and scope are checked."""

    request: Request
    server: Server
    token: ApiToken

    @property
    def actor(self) -> str:
        """Who acts, for the log."""
        return f"token {self.token.name}"

    def need(self, scope: Scope) -> None:
        """Forbidden if the token lacks the scope."""
        if scope not in self.token.scopes:
            raise Forbidden(
                f"the token {self.token.name} has the scopes {', '.join(self.token.scopes)}; this needs {scope}",
                code="scope",
            )


def _needs(scope: Scope) -> Callable[..., Coroutine[Any, Any, TokenCall]]:
    """The dependency that lets bearers of a token with this scope in."""

    async def check(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
    ) -> TokenCall:
        server = server_of(request)
        text = "" if credentials is None else credentials.credentials
        token = await server.reader.run(lambda tx: find_token(tx, text))
        if token is None:
            raise TokenNeeded(
                "send `Authorization: Bearer TOKEN` with a token that is valid; `qsched admin token create` makes one"
            )
        server.calls.check(("token", token.id))
        call = TokenCall(request, server, token)
        call.need(scope)
        now = now_ms()
        if token.used_ms is None or now - token.used_ms > NOTE_EVERY_MS:
            await server.writer.run(note_used, None, token_id=token.id)
        return call

    return check


MayRead = Annotated[TokenCall, Depends(_needs("read"))]
MayManage = Annotated[TokenCall, Depends(_needs("manage"))]
MaySeePeople = Annotated[TokenCall, Depends(_needs("people"))]
Limit = Annotated[int, Query(ge=1, le=MOST_ITEMS, description="items per page")]
Cursor = Annotated[
    str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next` of the page before; without it, the first page")
]
PAGE = PAGE_ITEMS
#: Above every number: the first page of a list whose newest item comes first.
NEWEST = 2**62


def before(cursor: str | None) -> int:
    """The number below which a page of newest items begins."""
    return NEWEST if cursor is None else int(cursor)

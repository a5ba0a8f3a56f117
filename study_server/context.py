"""What the running server owns, and what a request needs of it: bodies, cookies, sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, cast
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from qsched.records.image_set import first_problem
from study_server.db import Database, Reader
from study_server.errors import BadRequest, NotSignedIn, TooLarge
from study_server.limits import RateLimit
from study_server.media.store import ImageStore
from study_server.security import Keyring
from study_server.settings import Settings
from study_server.studies.book import StudyBook
from study_server.templating import Pages
from study_server.writing import Writer

SESSION_COOKIE = "qsched_session"
CSRF_COOKIE = "qsched_csrf"
B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Server:
    """Every resource of one server process; made and closed by the application's lifespan."""

    settings: Settings
    database: Database
    writer: Writer
    reader: Reader
    studies: StudyBook
    images: ImageStore
    keys: Keyring
    pages: Pages
    calls: RateLimit
    arrivals: RateLimit


def server_of(request: Request) -> Server:
    """The server that handles `request`."""
    return cast(Server, request.app.state.server)


async def read_body(request: Request) -> bytes:
    """The whole body; TooLarge beyond the configured size, however it is sent."""
    limit = server_of(request).settings.max_body_bytes
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"the request is larger than {limit} bytes")
    return bytes(body)


async def read_json(request: Request, model: type[B]) -> B:
    """The body as `model`; BadRequest names the first field that does not fit."""
    body = await read_body(request)
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise BadRequest(first_problem(error)) from error


async def read_form(request: Request) -> dict[str, str]:
    """An urlencoded form; the last value of a repeated field."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise BadRequest("the form was not sent as a form")
    try:
        return dict(parse_qsl((await read_body(request)).decode(), keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise BadRequest("the form cannot be read") from error


def session_subject(slug: str, session_id: int) -> str:
    """What the session cookie signs: a session of one study."""
    return f"{slug}:{session_id}"


def find_session(request: Request, slug: str) -> int | None:
    """The session of the cookie, None without a valid one of this study."""
    value = server_of(request).keys.verify(_cookie(request, SESSION_COOKIE))
    if value is None:
        return None
    owner, _, number = value.rpartition(":")
    return int(number) if owner == slug and number.isdigit() else None


def _cookie(request: Request, name: str) -> str | None:
    """One cookie, without making a dictionary of all. Ours need no quoting."""
    for part in request.headers.get("cookie", "").split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return None


def require_session(request: Request, slug: str) -> int:
    """The session of an API call: cookie, CSRF header and rate limit checked."""
    server = server_of(request)
    session_id = find_session(request, slug)
    if session_id is None:
        raise NotSignedIn("your session has ended; open the study's link again")
    server.keys.check_csrf(session_subject(slug, session_id), request.headers.get("x-csrf-token"))
    if not server.settings.allow_simulated:
        server.calls.check(session_id)
    return session_id

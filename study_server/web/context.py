"""What the running server owns, and what a request needs of it: bodies, cookies, sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import Request

from study_server.db import Database, Reader
from study_server.media.store import ImageStore
from study_server.settings import ServerSettings
from study_server.studies.cache import StudyCache
from study_server.web.limits import RateLimit
from study_server.web.security import Keyring
from study_server.web.templating import Pages
from study_server.writing import Writer

SESSION_COOKIE = "qsched_session"
CSRF_COOKIE = "qsched_csrf"


@dataclass(frozen=True, slots=True)
class Server:
    """Every resource of one server process; made and closed by the application's lifespan."""

    settings: ServerSettings
    database: Database
    writer: Writer
    reader: Reader
    studies: StudyCache
    images: ImageStore
    keys: Keyring
    pages: Pages
    calls: RateLimit
    arrivals: RateLimit


def server_of(request: Request) -> Server:
    """The server that handles `request`."""
    return cast(Server, request.app.state.server)


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

"""What the running server owns, and what a request needs of it: bodies, cookies, sessions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from starlette.requests import Request

from study_server.db import Database, Reader
from study_server.media.store import ImageStore
from study_server.settings import ServerSettings
from study_server.studies.cache import StudyCache
from study_server.studies.study import Study
from study_server.web.limits import HoldingLimit, RateLimit
from study_server.web.security import Keyring, SessionKey
from study_server.web.templating import Pages
from study_server.writing import Writer

CSRF_COOKIE = "qsched_csrf"
# The name of a study's session cookie goes on with the study's own random name: no cookie is read for another study.
SESSION_COOKIE = "qsched-"


@dataclass(frozen=True, slots=True)
class Server:
    """Every resource of one server process; made and closed by the application's lifespan.

    `owner_reader` has a thread of its own, so that no annotator waits for what an owner looks at.
    """

    settings: ServerSettings
    database: Database
    writer: Writer
    reader: Reader
    owner_reader: Reader
    studies: StudyCache
    images: ImageStore
    keys: Keyring
    pages: Pages
    calls: RateLimit
    arrivals: RateLimit
    holders: HoldingLimit
    sign_ins: RateLimit
    all_sign_ins: RateLimit


def server_of(request: Request) -> Server:
    """The server that handles `request`."""
    return cast(Server, request.app.state.server)


def session_cookie(server: Server, study: Study) -> str:
    """The name of the cookie that holds a person's session in a study.

    Behind https it begins with __Host-: browsers then take it from this host alone, and only when it came by https.
    """
    prefix = "__Host-" if server.settings.secure_cookies else ""
    return f"{prefix}{SESSION_COOKIE}{study.uid[:16]}"


def find_session(request: Request, study: Study) -> SessionKey | None:
    """The session that the browser holds of this study, None without a cookie that this server signed."""
    server = server_of(request)
    name = session_cookie(server, study)
    token = next((value for key, value in _cookies(request) if key == name), None)
    token = server.keys.verify(token)
    return None if token is None else SessionKey.of(token)


def holds_session(request: Request, number: int) -> bool:
    """Whether one of the browser's session cookies, of whatever study, is the one with this number."""
    keys = server_of(request).keys
    tokens = (keys.verify(value) for key, value in _cookies(request) if SESSION_COOKIE in key)
    return any(token is not None and SessionKey.of(token).number == number for token in tokens)


def _cookies(request: Request) -> Iterator[tuple[str, str]]:
    """Name and value of each cookie. Ours need no quoting."""
    for part in request.headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        yield name, value

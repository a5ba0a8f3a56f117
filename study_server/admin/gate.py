"""Who may open an owner's page and who may act there: the dependencies of every route below /admin."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from study_server.admin import sign_in
from study_server.admin.sign_in import SignedIn
from study_server.clock import now_ms
from study_server.errors import Forbidden, StudyError
from study_server.web.bodies import read_form
from study_server.web.context import Server, server_of


class SignInNeeded(StudyError):
    """Nobody is signed in at this browser, or no longer."""

    status = 401
    code = "sign_in"


@dataclass(frozen=True, slots=True)
class OwnerCall:
    """A request of an owner that is to change something: the form's CSRF token and the role are checked."""

    request: Request
    server: Server
    owner: SignedIn
    form: dict[str, str]


def cookie_name(server: Server) -> str:
    """The cookie of a sign-in; behind https with __Host-, as the cookies of sessions."""
    return ("__Host-" if server.settings.secure_cookies else "") + "qsowner"


async def find_owner(request: Request) -> SignedIn | None:
    """Who is signed in at this browser; None for nobody."""
    server = server_of(request)
    token = request.cookies.get(cookie_name(server))
    if not token or len(token) > 100:
        return None
    link_is_open = server.settings.owner_key is not None
    found = await server.reader.run(lambda tx: sign_in.find(tx, token=token, link_is_open=link_is_open))
    if found is not None and now_ms() - found.seen_ms > sign_in.NOTE_EVERY_MS:
        await server.writer.run(sign_in.note_seen, None, sign_in_id=found.id)
    return found


async def check_owner(request: Request) -> SignedIn:
    """An owner or viewer; SignInNeeded for anybody else."""
    owner = await find_owner(request)
    if owner is None:
        raise SignInNeeded("sign in first")
    return owner


async def check_act(request: Request) -> OwnerCall:
    """An owner's form; Forbidden for a viewer, and for a form that this owner's page did not make."""
    owner = await check_owner(request)
    form = await read_form(request)
    server = server_of(request)
    server.keys.check_csrf(owner.subject, form.get("csrf"))
    if not owner.may_act:
        raise Forbidden(f"{owner.name} is a viewer: only an owner may change something", code="viewer")
    return OwnerCall(request, server, owner, form)


def opens_by_link(server: Server, key: str) -> bool:
    """Whether `key` is that of the link which this server printed."""
    expected = server.settings.owner_key
    return expected is not None and hmac.compare_digest(expected.get_secret_value().encode(), key.encode())


Owner = Annotated[SignedIn, Depends(check_owner)]
Act = Annotated[OwnerCall, Depends(check_act)]

"""Signing in and out: by name and password, or by the link that a server on 127.0.0.1 prints."""

from __future__ import annotations

import asyncio
import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from study_server.admin import sign_in
from study_server.admin.gate import Owner, cookie_name, opens_by_link
from study_server.admin.pages import SignInPage
from study_server.admin.passwords import verify_password
from study_server.admin.rendering import render
from study_server.errors import Forbidden, TooMany
from study_server.web.bodies import read_form
from study_server.web.context import Server, server_of
from study_server.web.limits import address_of
from study_server.web.security import new_token

router = APIRouter(prefix="/admin", include_in_schema=False)
FORM_COOKIE = "qsowner_form"
# Says that somebody has signed in from this browser under a name. It opens nothing: it only counts attempts apart.
BROWSER_COOKIE = "qsowner_browser"
BROWSER_SECONDS = 365 * 86_400
# A page of ours, never another server's: no scheme, no host.
_TARGET = re.compile(r"/admin(/[A-Za-z0-9_-]+)*")
WRONG = "This name and password do not belong together."


@router.get("/sign-in")
async def ask(request: Request, to: str = "/admin") -> Response:
    """The form."""
    return await _form(request, to=to)


@router.post("/sign-in")
async def enter(request: Request) -> Response:
    """Check name and password; attempts are throttled before any work."""
    server = server_of(request)
    form = await read_form(request)
    nonce = server.keys.verify(request.cookies.get(FORM_COOKIE))
    if nonce is None:
        raise Forbidden("the form is stale or cookies are blocked; load the page again")
    server.keys.check_csrf(f"sign-in:{nonce}", form.get("csrf"))
    name, to = form.get("name", "").strip().lower(), form.get("to", "")
    _throttle(request, server, name)
    account = await server.reader.run(lambda tx: tx.one(sign_in.ACCOUNT, name=name))
    # One password at a time: each takes 64 MiB and a processor for some 50 ms.
    async with request.app.state.password_turn:
        stored = None if account is None else str(account[2])
        right = await asyncio.to_thread(verify_password, stored, form.get("password", ""))
    if account is None or not right:
        return await _form(request, to=to, name=name, problem=WRONG)
    return await _begin(server, owner_id=account[0], name=name, to=to)


@router.get("/enter")
async def enter_by_link(request: Request, key: str = "") -> Response:
    """The link of single-user mode; the key leaves the address at once."""
    server = server_of(request)
    _throttle(request, server)
    if not opens_by_link(server, key):
        raise Forbidden("this link is not valid; take the one that the running `qsched serve` printed")
    return await _begin(server, owner_id=None, name=sign_in.BY_LINK, to="/admin")


@router.post("/sign-out")
async def leave(owner: Owner, request: Request) -> Response:
    """End this sign-in."""
    server = server_of(request)
    server.keys.check_csrf(owner.subject, (await read_form(request)).get("csrf"))
    await server.writer.run(sign_in.end, None, signed_in=owner)
    answer = RedirectResponse("/admin/sign-in", status_code=303)
    answer.delete_cookie(cookie_name(server), path="/", secure=server.settings.secure_cookies, httponly=True)
    return answer


def _throttle(request: Request, server: Server, name: str | None = None) -> None:
    """Count an attempt: for itself in a browser that has signed in as `name` before, else by address and among all.

    So a flood from many addresses keeps nobody out who has been in (OWASP: device cookies).
    """
    known = server.keys.verify(request.cookies.get(BROWSER_COOKIE))
    try:
        if known is not None and name is not None and known.startswith(f"browser:{name}:"):
            server.sign_ins.check(known)
            return
        server.sign_ins.check(address_of(request))
        server.all_sign_ins.check("all")
    except TooMany as error:
        raise TooMany("too many attempts to sign in; wait a minute") from error


async def _begin(server: Server, *, owner_id: int | None, name: str, to: str) -> Response:
    token = new_token(32)
    await server.writer.run(sign_in.begin, None, owner_id=owner_id, name=name, token=token)
    answer = RedirectResponse(to if _TARGET.fullmatch(to) else "/admin", status_code=303)
    answer.set_cookie(
        cookie_name(server),
        token,
        path="/",
        httponly=True,
        samesite="lax",
        secure=server.settings.secure_cookies,
        max_age=sign_in.LONGEST_MS // 1000,
    )
    answer.set_cookie(
        BROWSER_COOKIE,
        server.keys.sign(f"browser:{name}:{new_token()}"),
        path="/admin/sign-in",
        httponly=True,
        samesite="lax",
        secure=server.settings.secure_cookies,
        max_age=BROWSER_SECONDS,
    )
    answer.delete_cookie(FORM_COOKIE, path="/admin")
    return answer


async def _form(request: Request, *, to: str, name: str = "", problem: str | None = None) -> Response:
    server = server_of(request)
    nonce = new_token()
    has_accounts = await server.reader.run(lambda tx: tx.one(sign_in.ANY_ACCOUNT)) is not None
    answer = render(
        request,
        SignInPage(to if _TARGET.fullmatch(to) else "/admin", has_accounts, name, problem),
        owner=None,
        csrf_token=server.keys.csrf_token(f"sign-in:{nonce}"),
        status=200 if problem is None else 401,
    )
    answer.set_cookie(
        FORM_COOKIE,
        server.keys.sign(nonce),
        path="/admin",
        httponly=True,
        samesite="lax",
        secure=server.settings.secure_cookies,
        max_age=3_600,
    )
    return answer

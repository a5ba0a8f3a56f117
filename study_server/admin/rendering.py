"""Renders the owner's pages: English, one frame, the person's name and CSRF token."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from study_server.admin.gate import SignInNeeded
from study_server.admin.pages import ErrorPage
from study_server.admin.sign_in import SignedIn
from study_server.web.context import server_of
from study_server.web.templating import TemplateContext

#: What a page says after an action, by the word that its address carries.
DONE = {
    "open": "The study is open.",
    "paused": "The study is paused: answers to pairs on screens are still taken, and no new pair is handed out.",
    "webhook-tested": "A test is on its way; load this page again in some seconds to see what came of it.",
    "webhook-removed": "The webhook is removed.",
    "links-revoked": "Revoked: nobody can begin with these links. Links that were used go on.",
    "enabled": "Handed out again.",
    "changed": "Saved. People see it within seconds.",
    "excluded": "Excluded: the votes stay and count nowhere, and their slots are open again.",
    "included": "Included again: the votes count wherever their pairs still needed one.",
    "forgotten": "The data of this person are deleted.",
    "closed": "The study is closed: no answer is taken any more.",
}


@dataclass(frozen=True, slots=True)
class PagePlace:
    """Where in the pages of a study somebody is: its slug and title, and the name of the page."""

    slug: str
    title: str
    page: str


def render(
    request: Request,
    page: TemplateContext,
    *,
    owner: SignedIn | None,
    place: PagePlace | None = None,
    csrf_token: str = "",
    status: int = 200,
) -> HTMLResponse:
    """The page of a context, in the frame of the owner's pages. `csrf_token` is the owner's unless another is given."""
    server = server_of(request)
    token = csrf_token or ("" if owner is None else server.keys.csrf_token(owner.subject))
    values = {field.name: getattr(page, field.name) for field in dataclasses.fields(page)}
    html = server.pages.environment.get_template(page.template).render(
        values,
        static_root=server.pages.static_root,
        csrf_token=token,
        owner=owner,
        place=place,
        done=DONE.get(request.query_params.get("done", "")),
        utc=utc,
    )
    return HTMLResponse(html, status_code=status)


def render_part(request: Request, part: TemplateContext) -> str:
    """A part of a page that is sent alone."""
    template = server_of(request).pages.environment.get_template(part.template)
    return template.render({field.name: getattr(part, field.name) for field in dataclasses.fields(part)}, utc=utc)


def utc(ms: int | None, form: str = "%Y-%m-%d %H:%M") -> str:
    """A time of the database as text, UTC."""
    return "–" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime(form)


def answer_owner_error(request: Request, error: Exception, *, status: int, message: str) -> Response:
    """What an owner sees of an error; whoever is not signed in is asked to."""
    if isinstance(error, SignInNeeded):
        to = request.url.path if request.method == "GET" else "/admin"
        return RedirectResponse(f"/admin/sign-in?to={to}", status_code=303)
    return render(request, ErrorPage(status, message), owner=None, status=status)

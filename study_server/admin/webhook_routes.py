"""The owner's page of webhooks: make, test and remove them, and see what came of each delivery."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from study_server.admin.gate import Act, Owner
from study_server.admin.pages import NewSecret, WebhooksPage
from study_server.admin.rendering import render
from study_server.admin.sign_in import SignedIn
from study_server.errors import BadRequest
from study_server.studies.events import EVENTS
from study_server.studies.progress import STUDIES
from study_server.web.context import server_of
from study_server.webhooks.endpoints import (
    create_webhook,
    latest_deliveries,
    list_webhooks,
    remove_webhook,
    send_test,
)

router = APIRouter(prefix="/admin/webhooks", include_in_schema=False)


@router.get("")
async def webhooks(request: Request, owner: Owner) -> Response:
    """Every webhook, and the latest deliveries."""
    return await _page(request, owner)


@router.post("")
async def create(act: Act) -> Response:
    """Make a webhook; the answer shows its secret, and nothing shows it again."""
    chosen = [event for event in EVENTS if act.form.get(event)]
    url = act.form.get("url", "").strip()
    # A private address is a decision of whoever runs the server: at its command line.
    number, secret = await act.server.writer.run(
        create_webhook,
        None,
        url=url,
        events=chosen,
        study=act.form.get("study") or None,
        allow_private=False,
        by=act.owner.name,
    )
    return await _page(act.request, act.owner, made=NewSecret(number, url, secret))


@router.post("/{number}/test")
async def test(number: str, act: Act) -> Response:
    """Put a test event on its way."""
    await act.server.writer.run(send_test, None, number=_number(number), by=act.owner.name)
    return RedirectResponse("/admin/webhooks?done=webhook-tested", status_code=303)


@router.post("/{number}/remove")
async def remove(number: str, act: Act) -> Response:
    """Remove a webhook with what waits for it."""
    await act.server.writer.run(remove_webhook, None, number=_number(number), by=act.owner.name)
    return RedirectResponse("/admin/webhooks?done=webhook-removed", status_code=303)


async def _page(request: Request, owner: SignedIn, made: NewSecret | None = None) -> Response:
    reader = server_of(request).reader
    slugs = await reader.run(lambda tx: tuple(slug for _, slug in tx.all(STUDIES)))
    page = WebhooksPage(
        webhooks=await reader.run(list_webhooks),
        deliveries=await reader.run(latest_deliveries),
        events=tuple(EVENTS.items()),
        studies=slugs,
        made=made,
    )
    return render(request, page, owner=owner)


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise BadRequest(f"{text!r} is not the number of a webhook")
    return int(text)

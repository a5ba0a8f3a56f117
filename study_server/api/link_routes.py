"""Links over the API: a preview, personal links, and links that are taken back.

They open a study to whoever has them, so all of them need the scope `manage`.
"""

from __future__ import annotations

from fastapi import APIRouter

from qsched.records import owner_api
from study_server.api import answers
from study_server.api.gate import ERRORS, MayManage
from study_server.quality.revoking import link_names, record_links_made, revoke_links
from study_server.web.signed_links import personal_links, preview_link

router = APIRouter(prefix="/api/v1/studies/{slug}", responses=ERRORS, tags=["owner"])


@router.post("/previews")
async def make_preview(slug: str, call: MayManage) -> owner_api.LinkInfo:
    """A link for the owner's own walk through the study: marked, in no export, filling no slot. Valid for 12 hours."""
    study = await call.server.studies.get(slug)
    return owner_api.LinkInfo(name=None, link=preview_link(call.server.keys, slug=slug, uid=study.uid))


@router.post("/links")
async def make_links(slug: str, body: owner_api.LinksRequest, call: MayManage) -> owner_api.LinksMade:
    """Personal links, one for each person. The server does not keep them."""
    study = await call.server.studies.get(slug)
    made = personal_links(call.server.keys, study, body.count)
    await call.server.writer.run(record_links_made, None, by=call.actor, slug=slug, count=body.count)
    return owner_api.LinksMade(links=tuple(owner_api.LinkInfo(name=name, link=link) for name, link in made))


@router.post("/links/revoke")
async def take_links_back(slug: str, body: owner_api.RevokeRequest, call: MayManage) -> owner_api.LinksRevoked:
    """Take back personal links that nobody has used; those that were used go on."""
    study = await call.server.studies.get(slug)
    done = await call.server.writer.run(revoke_links, study, names=link_names(body.names), by=call.actor)
    return answers.revoking_of(done)

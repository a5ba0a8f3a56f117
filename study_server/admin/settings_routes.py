"""The settings of a study: what may change while it runs can be changed here, and every version is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import yaml
from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from qsched.errors import InputError
from qsched.records.image_set import first_problem
from study_server.admin.figures import figures_of
from study_server.admin.gate import Act, Owner
from study_server.admin.pages import LinksPage, SettingItem, SettingsPage
from study_server.admin.rendering import PagePlace, render
from study_server.db.database import Database
from study_server.errors import BadRequest
from study_server.quality.revoking import link_names, record_links_made, revoke_links
from study_server.studies.cache import find_study
from study_server.studies.design import StudyDesign
from study_server.studies.update import design_history, stored_set_id, update_study
from study_server.web.context import server_of
from study_server.web.signed_links import personal_links, preview_link

router = APIRouter(prefix="/admin/studies/{slug}", include_in_schema=False)
MOST_LINKS = 200
#: Names of the machine itself: a link that begins with one opens on no other.
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# The settings that a form offers: name in study.yaml, words, and whether it is a long text.
EDITABLE = (
    ("title", "Title", False),
    ("listed", "On the server's list of studies at / (never with a platform or personal links)", False),
    ("consent.text", "Consent text (needs a new version)", True),
    ("consent.version", "Consent version", False),
    ("consent.contact", "Contact", False),
    ("votes_per_pair", "Votes per pair (can only grow)", False),
    ("max_minutes", "Minutes until no new pair is handed out (empty: no limit)", False),
    ("platform.completion_code", "Completion code", False),
    ("platform.screened_out_code", "Code for people who are screened out", False),
    ("platform.failed_check_code", "Code for people whom you excluded", False),
    ("platform.not_understood_code", "Code for people who did not understand the instructions", False),
)


@router.get("/settings")
async def settings(slug: str, request: Request, owner: Owner) -> Response:
    """The design as it is, what may change, and its history."""
    server = server_of(request)
    study = await server.reader.run(lambda tx: find_study(tx, slug))
    versions = await asyncio.to_thread(design_history, server.database, slug)
    stored = study.design.model_dump(mode="json", exclude_defaults=True)
    page = SettingsPage(
        items=tuple(_items(study.design)),
        design=yaml.safe_dump(stored, sort_keys=False, allow_unicode=True),
        versions=tuple(versions),
        personal=study.design.platform.name == "personal",
        preview=preview_link(server.keys, slug=slug, uid=study.uid) if owner.may_act else None,
    )
    return render(request, page, owner=owner, place=PagePlace(slug, study.title, "settings"))


@router.post("/settings")
async def change(slug: str, act: Act) -> Response:
    """Apply what was changed in the form, by the rules of `qsched study update`."""
    # As it is stored at this moment: the server's own copy may be some seconds old.
    study = await act.server.reader.run(lambda tx: find_study(tx, slug))
    changed = study.design.model_dump(mode="json")
    for item in _items(study.design):
        if item.name in act.form:
            value = act.form[item.name].replace("\r\n", "\n").strip()
            *sections, key = item.name.split(".")
            target = changed
            for section in sections:
                target = target[section]
            if item.choices and value not in item.choices:
                raise BadRequest(f"{item.name} is {value!r}; it must be {' or '.join(item.choices)}")
            target[key] = value == "yes" if item.choices else value or None
    try:
        design = StudyDesign.model_validate(changed)
    except ValidationError as error:
        raise BadRequest(f"{first_problem(error)}; nothing was changed") from error
    try:
        await asyncio.to_thread(_update, act.server.database, design, by=act.owner.name)
    except InputError as error:
        raise BadRequest(str(error)) from error
    figures_of(act.request).forget(slug)
    act.server.studies.forget(slug)
    return RedirectResponse(f"/admin/studies/{slug}/settings?done=changed", status_code=303)


@router.post("/links")
async def links(slug: str, act: Act) -> Response:
    """A sheet of personal links to print; the links are made here and kept nowhere."""
    study = await act.server.studies.get(slug)
    wanted = act.form.get("count", "")
    if not wanted.isdecimal() or len(wanted) > 9 or not 1 <= int(wanted) <= MOST_LINKS:
        raise BadRequest(f"{wanted!r} is not a number of links from 1 to {MOST_LINKS}")
    base = str(act.request.base_url).rstrip("/")
    made = personal_links(act.server.keys, study, int(wanted))
    await act.server.writer.run(record_links_made, None, by=act.owner.name, slug=slug, count=len(made))
    here_only = act.request.url.hostname in LOOPBACK
    page = LinksPage(study.title, tuple((name, base + link) for name, link in made), here_only)
    return render(act.request, page, owner=act.owner, place=PagePlace(slug, study.title, "settings"))


@router.post("/links/revoke")
async def revoke(slug: str, act: Act) -> Response:
    """Take back links that nobody has used."""
    study = await act.server.studies.get(slug)
    names = link_names(act.form.get("names", "").splitlines())
    done = await act.server.writer.run(revoke_links, study, names=names, by=act.owner.name)
    if not done.revoked:
        raise BadRequest(f"nothing was revoked: {done.used} links were used, {done.before} were revoked before")
    return RedirectResponse(f"/admin/studies/{slug}/settings?done=links-revoked", status_code=303)


def _update(database: Database, design: StudyDesign, *, by: str) -> None:
    update_study(database, design, set_id=stored_set_id(database, design.slug), by=by)


def _items(design: StudyDesign) -> Iterator[SettingItem]:
    """The fields of the form; a text in several languages has one for each, whose name goes on with the language."""
    for name, words, long in EDITABLE:
        value: object = design
        for part in name.split("."):
            value = getattr(value, part)
        if isinstance(value, dict):
            for code, text in value.items():
                yield SettingItem(f"{name}.{code}", f"{words}, in {code}", long, text)
        elif isinstance(value, bool):
            yield SettingItem(name, words, long, "yes" if value else "no", choices=("yes", "no"))
        else:
            yield SettingItem(name, words, long, "" if value is None else str(value))

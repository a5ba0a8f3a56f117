"""The language chosen on arrival is spoken to the end, by the pages and by the API."""

from __future__ import annotations

import re

import pytest

from study_server.web.catalogue import load_catalogue
from tests.study_server.visiting import Visitor, serving


def spoken(page) -> str:
    assert page.status_code == 200, page.text
    return re.search(r'<html lang="(\w+)"', page.text)[1]


@pytest.fixture
def browsing_in_english():
    return {"accept-language": "en-GB,en;q=0.9"}


async def test_the_language_of_the_link_lasts_from_consent_to_thanks(settings, make_study, browsing_in_english):
    make_study(
        votes_per_pair=1,
        pairs_per_annotator=6,
        instructed=2,
        languages=("en", "de", "es"),
        demographics=[{"id": "age", "label": "Age", "kind": "number", "required": True}],
    )
    checks = {load_catalogue("de").text(f"instructed.{side}") for side in ("left", "right")}
    seen = []

    async with serving(settings) as browser:
        visitor = Visitor(browser())
        visitor.client.headers.update(browsing_in_english)
        consent = await visitor.client.get("/s/s?lang=de")
        csrf = re.search(r'name="csrf" value="([^"]+)"', consent.text)[1]
        again = await visitor.client.post("/s/s/consent", data={"csrf": csrf, "consent": "yes"})
        assert again.status_code == 422 and '<html lang="de"' in again.text
        assert load_catalogue("de").text("consent.problem.required", label="Age") in again.text
        await visitor.enter(d_age="40")
        for page in ("instructions", "task"):
            assert spoken(await visitor.client.get(f"/s/s/{page}")) == "de"
        await visitor.vote_all(lambda assignment: seen.append(assignment) or "left")
        assert spoken(await visitor.client.get("/s/s/thanks")) == "de"
    instructions = {assignment["instruction"] for assignment in seen} - {None}
    assert instructions and instructions <= checks, "the API words the attention checks"
    assert all(assignment["prompt"].startswith("a disc") for assignment in seen), "a description is never replaced"


async def test_a_link_in_another_language_changes_it_midway(settings, make_study, browsing_in_english):
    make_study(languages=("en", "de", "es"))

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter("?lang=de")
        visitor.client.headers.update(browsing_in_english)
        onward = await visitor.client.get("/s/s?lang=es", follow_redirects=True)
        assert spoken(onward) == "es"
        assert spoken(await visitor.client.get("/s/s/task")) == "es"


async def test_a_language_that_the_study_does_not_offer_is_neither_spoken_nor_kept(
    settings, make_study, browsing_in_english
):
    make_study(languages=("en", "de"))
    make_study("other", languages=("en", "de"))

    async with serving(settings) as browser:
        client = browser()
        client.headers.update(browsing_in_english)
        for language in ("ar", "xx", "../../etc"):
            page = await client.get("/s/s", params={"lang": language})
            assert spoken(page) == "en" and "qsched_lang" not in page.cookies
        assert spoken(await client.get("/s/s?lang=de")) == "de"
        assert spoken(await client.get("/s/other")) == "en", "a study does not choose for another"


async def test_the_cookie_is_as_closed_as_the_others(settings, make_study):
    make_study(languages=("en", "de"))

    async with serving(settings.model_copy(update={"secure_cookies": True})) as browser:
        page = await browser().get("/s/s?lang=de")
        (cookie,) = [line for line in page.headers.get_list("set-cookie") if line.startswith("qsched_lang=de")]
        assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/s/s"} <= set(cookie.split("; "))

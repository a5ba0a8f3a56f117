"""The public list of studies at `/`: the owner chooses who is on it, and it has no link that cannot work."""

from __future__ import annotations

from study_server.db.statements import Statement
from tests.study_server.admin.owning import signed_in
from tests.study_server.visiting import serving


async def listed(client) -> set[str]:
    page = (await client.get("/")).text
    return {slug for slug in ("open", "quiet", "panel", "mates", "old", "broken") if f'href="/s/{slug}"' in page}


async def test_only_studies_that_everybody_may_take_part_in_are_listed(settings, database, make_study):
    make_study("open")
    make_study("quiet", listed=False)
    make_study("panel", platform={"name": "prolific", "completion_code": "C1"})
    make_study("mates", platform={"name": "personal"})
    make_study("old")  # of a version that knew no such key
    with database.transaction() as tx:
        tx.run(Statement("UPDATE studies SET design = :design WHERE slug = 'old'"), design='{"slug": "old"}')
    async with serving(settings) as browser:
        assert await listed(browser()) == {"open", "old"}
        assert (await browser().get("/s/quiet")).status_code == 200, "its link goes on working"


async def test_an_owner_hides_a_study_at_the_settings_page(settings, database, make_study):
    make_study("open")
    async with serving(settings) as browser:
        stranger = browser()
        owner = await signed_in(browser(), database)
        assert await listed(stranger) == {"open"}
        form = "/studies/open/settings"
        assert "<option selected>yes</option>" in await owner.page(form)
        for value, status, expected in (("no", 303, set()), ("maybe", 422, set()), ("yes", 303, {"open"})):
            answer = await owner.act(form, on=form, listed=value)
            assert answer.status_code == status, answer.text
            assert await listed(stranger) == expected

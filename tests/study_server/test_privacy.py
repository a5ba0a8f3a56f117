"""The data-protection page, deleting one's own data, the retention period, and who may read the files."""

from __future__ import annotations

import re
import stat

import pytest

from study_server.clock import now_ms
from study_server.web.catalogue import load_catalogue
from study_server.web.security import Keyring
from study_server.web.signed_links import personal_link
from tests.study_server.visiting import Visitor, query, serving

ABOUT = {"demographics": ({"id": "age", "label": "How old are you?"},)}
LINK = "?PROLIFIC_PID=p1&STUDY_ID=s1&SESSION_ID=x1"


@pytest.fixture
def database_url(tmp_path):
    """Nothing here depends on the kind of database."""
    return f"sqlite:///{tmp_path / 'study.db'}"


async def test_the_page_says_what_this_very_study_stores(settings, database, make_study):
    make_study("few")
    make_study(
        "more", **ABOUT, platform={"name": "prolific", "completion_code": "C"}, consent={"delete_after_days": 30}
    )
    words = load_catalogue().text

    async with serving(settings) as browser:
        few, more = [(await browser().get(f"/s/{slug}/privacy")).text for slug in ("few", "more")]
        assert words("privacy.demographics") in more and words("privacy.demographics") not in few
        assert words("privacy.platform", platform="Prolific") in more and "Prolific" not in few
        assert "30 days after you began" in more and words("privacy.until.asked") in few
        assert "withdraw" not in few  # nobody is known here yet
        assert 'href="/s/few/privacy"' in (await browser().get("/s/few")).text


@pytest.mark.parametrize(("rule", "left"), [("delete_votes", 0), ("keep_votes", 2)])
async def test_a_person_deletes_their_own_data_and_their_slots_open(settings, database, make_study, rule, left):
    make_study(**ABOUT, consent={"after_withdrawal": rule})

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter(LINK, d_age="41")
        await visitor.vote_all(limit=2)
        page = (await visitor.client.get("/s/s/privacy")).text
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        unsure = await visitor.client.post("/s/s/withdraw", data={"csrf": csrf})
        assert unsure.status_code == 422 and query(database, "SELECT COUNT(*) FROM votes") == [(2,)]
        forged = await visitor.client.post("/s/s/withdraw", data={"csrf": "x", "sure": "yes"})
        assert forged.status_code == 403
        done = await visitor.client.post("/s/s/withdraw", data={"csrf": csrf, "sure": "yes"})
        assert "Your data have been deleted" in done.text
        assert (await visitor.post("api/session", {})).status_code == 401
    assert query(database, "SELECT COUNT(*) FROM votes") == [(left,)]
    assert query(database, "SELECT COUNT(*) FROM platform_identities") == [(0,)]
    assert query(database, "SELECT COUNT(*) FROM sessions WHERE demographics IS NOT NULL") == [(0,)]
    if not left:
        assert query(database, "SELECT SUM(load) FROM pairs") == [(0,)]
    assert query(database, "SELECT actor FROM owner_actions WHERE action LIKE 'data of one%'") == [
        ("the person themselves",)
    ]


@pytest.mark.parametrize("platform", ["open", "personal"])
async def test_whose_votes_stay_does_not_vote_again_by_the_same_link(settings, database, make_study, platform):
    make_study(platform={"name": platform}, consent={"after_withdrawal": "keep_votes"})
    keys = Keyring(settings.secret_key.get_secret_value())
    uid = query(database, "SELECT uid FROM studies")[0][0]
    name, address = personal_link(keys, slug="s", uid=uid)
    link = LINK if platform == "open" else "?" + address.partition("?")[2]

    other = personal_link(keys, slug="s", uid=uid)[1]
    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter(link)
        await visitor.vote_all(limit=1)
        page = (await visitor.client.get("/s/s/privacy")).text
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        await visitor.client.post("/s/s/withdraw", data={"csrf": csrf, "sure": "yes"})
        again = await browser().get("/s/s" + link)
        assert again.status_code == 403 and "Your part in this study is over" in again.text
        await Visitor(browser()).enter("" if platform == "open" else "?" + other.partition("?")[2])
    assert query(database, "SELECT COUNT(*) FROM annotators") == [(2,)]
    stored = str(query(database, "SELECT * FROM revoked_links"))
    assert "p1" not in stored and name not in stored


async def test_what_leads_to_people_is_deleted_by_itself_after_the_retention_period(settings, database, make_study):
    make_study(**ABOUT, consent={"delete_after_days": 30})

    async def visit(person: str):
        async with serving(settings) as browser:
            visitor = await Visitor(browser()).enter(LINK.replace("p1", person).replace("x1", f"x{person}"), d_age="41")
            await visitor.vote_all(limit=1)

    await visit("old")
    with database.transaction() as tx:
        from study_server.db.statements import Statement

        tx.run(Statement("UPDATE sessions SET started_ms = :at"), at=now_ms() - 31 * 86_400_000)
    await visit("new")  # the server looks when it starts
    assert query(database, "SELECT external_id FROM platform_identities") == [("new",)]
    assert query(database, "SELECT demographics FROM sessions ORDER BY id") == [(None,), ('{"age": "41"}',)]
    assert query(database, "SELECT COUNT(*) FROM votes") == [(2,)]


async def test_nobody_else_may_read_the_database_the_pictures_or_the_key(settings, database, make_study, tmp_path):
    make_study()
    run_once = Visitor

    async with serving(settings) as browser:
        await (await run_once(browser()).enter()).vote_all(limit=1)
        for path in [*tmp_path.glob("study.db*"), *settings.data_folder.rglob("*"), settings.data_folder]:
            wanted = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path

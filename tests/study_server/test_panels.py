"""People from any panel: its parameters in, its places out; personal links; and what a design may say of it."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from qsched.cli.main import app
from study_server.studies.panels import panel_of
from study_server.studies.platform import Platform
from tests.study_server.admin.owning import OwnerBrowser, signed_in
from tests.study_server.visiting import Visitor, query, serving

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
BESAMPLE = {
    "name": "panel",
    "title": "Besample",
    "parameters": {"person": "rid", "submission": "aid"},
    "completion_url": "https://panel.example/done?a={submission}&p={person}&c={code}",
    "completion_code": "C 1",
    "no_consent_url": "https://panel.example/no?p={person}",
}


async def agree(client, link: str, **fields):
    """Answer the consent form that a link leads to."""
    page = (await client.get(f"/s/s{link}")).text
    carried = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    return await client.post("/s/s/consent", data={**carried, **fields})


async def test_a_panel_of_any_name_brings_people_and_gets_them_back(settings, database, make_study):
    make_study(platform=BESAMPLE, pairs_per_annotator=2)
    async with serving(settings) as browser:
        assert "Please come from Besample" in (await browser().get("/s/s")).text
        refused = await browser().get("/s/s?rid=%7B%7Brid%7D%7D&aid=1")
        assert refused.status_code == 422 and "rid" in refused.text
        visitor = await Visitor(browser()).enter("?rid=p/1&aid=a/1&PROLIFIC_PID=other")
        await visitor.vote_all()
        thanks = (await visitor.client.get("/s/s/thanks")).text
        assert 'href="https://panel.example/done?a=a%2F1&amp;p=p%2F1&amp;c=C%201"' in thanks
        assert "return to Besample" in thanks
        again = browser()
        await agree(again, "?rid=p/1&aid=a/1", consent="yes")
        assert "panel.example/done" in (await again.get("/s/s/thanks")).text, "the person's own place is found"
        left = await agree(browser(), "?rid=p2&aid=a2", consent="no")
        assert 'href="https://panel.example/no?p=p2"' in left.text and "nothing about you was stored" in left.text
    assert query(database, "SELECT platform, external_id FROM platform_identities") == [("panel", "p/1")]
    assert query(database, "SELECT COUNT(*) FROM sessions") == [(1,)]


async def test_a_personal_link_is_one_persons_and_nobody_else_can_make_one(settings, database, make_study):
    make_study("s", platform={"name": "personal"}, pairs_per_annotator=3)
    make_study("other", platform={"name": "personal"})
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        sheet = await owner.act("/studies/s/links", on="/studies/s/settings", count="2")
        assert "open nowhere else" not in sheet.text
        first, second = re.findall(r"http://study\.test/s/s(\?t=[^<]+)<", sheet.text)
        forged = first[:-1] + ("y" if first.endswith("x") else "x")
        for bad in ("", "?t=", forged, first.replace("?t=", "?t=A"), "?t=preview:x.y"):
            answer = await browser().get(f"/s/s{bad}")
            assert answer.status_code == 422 and "personal link" in answer.text, bad
        assert (await browser().get(f"/s/other{first}")).status_code == 422, "signed for one study"
        visitor = await Visitor(browser()).enter(first)
        await visitor.vote_all(limit=1)
        elsewhere = await Visitor(browser()).enter(first)
        await elsewhere.begin(take_over=True)
        assert elsewhere.state["progress"]["done"] == 1, "the same person on another device"
        assert query(database, "SELECT COUNT(*) FROM sessions") == [(1,)]
        shared = await elsewhere.client.get(f"/s/s{second}")
        assert "I agree" in shared.text, "somebody else's link in the same browser begins anew"
        refused = await owner.act("/studies/s/links", on="/studies/s/settings", count="0")
        assert refused.status_code == 422 and "from 1 to 200" in refused.text
        here = OwnerBrowser(browser())
        here.client.base_url = "http://localhost:8000"
        await here.sign_in("owner")
        sheet_of_one = await here.act("/studies/s/links", on="/studies/s/settings", count="1")
        assert "open nowhere else" in sheet_of_one.text, "nobody else has this computer"
    name = query(database, "SELECT external_id FROM platform_identities")[0][0]
    assert name in sheet.text and query(database, "SELECT detail FROM owner_actions ORDER BY id DESC LIMIT 1") == [
        ("1",)
    ]


async def test_links_of_the_command_line_are_those_of_the_server(settings, database, make_study, monkeypatch, tmp_path):
    make_study("s", platform={"name": "personal"})
    make_study("open")
    monkeypatch.setenv("QSCHED_SECRET_KEY", settings.secret_key.get_secret_value())
    out = tmp_path / "links.csv"

    def call(*words):
        return CliRunner().invoke(app, ["study", "links", *words, "--db", settings.database_url])

    assert call("s", "--count", "3", "--address", "https://lab.example/", "--out", str(out)).exit_code == 0
    header, *lines = out.read_text().splitlines()
    assert header == "name,link" and len(lines) == 3 and out.stat().st_mode & 0o77 == 0
    name, link = lines[0].split(",")
    assert link.startswith("https://lab.example/s/s?t=" + name)
    async with serving(settings) as browser:
        await Visitor(browser()).enter(link.removeprefix("https://lab.example/s/s"))
    assert query(database, "SELECT platform, external_id FROM platform_identities") == [("personal", name)]
    assert "platform: {name: personal}" in str(call("open").exception)


@pytest.mark.parametrize(
    ("platform", "names", "address"),
    [
        (
            {"name": "prolific", "completion_code": "C&1"},
            ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"),
            "https://app.prolific.com/submissions/complete?cc=C%261",
        ),
        (
            {"name": "cloudresearch", "completion_url": "https://connect.example/done"},
            ("participantId", "projectId", "assignmentId"),
            "https://connect.example/done",
        ),
        (
            {"name": "sona", "completion_url": "https://u.sona-systems.com/webstudy_credit.aspx?survey_code={person}"},
            ("survey_code",),
            "https://u.sona-systems.com/webstudy_credit.aspx?survey_code=7",
        ),
        ({"name": "open", "completion_code": "X"}, ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"), None),
    ],
)
def test_presets_know_the_parameters_and_the_way_back(database_url, platform, names, address):
    panel = panel_of(Platform.model_validate(platform))
    assert panel.names == names
    assert panel.address("complete", {"person": "7"}) == address
    assert panel.address("no_consent", {"person": "7"}) is None


def test_an_address_that_needs_an_unknown_name_is_no_address(database_url):
    panel = panel_of(Platform.model_validate(BESAMPLE))
    assert panel.address("complete", {"person": "p", "submission": None}) is None


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        ({"name": "panel", "title": "X"}, "needs a title and parameters"),
        ({"name": "sona", "completion_url": "https://x.example/"}, "with {person} in the place"),
        ({"name": "cloudresearch"}, "needs a completion_code or a completion_url"),
        ({"name": "prolific"}, "needs a completion_code"),
        ({"name": "open", "parameters": {"person": "p"}}, "has no parameters"),
        ({**BESAMPLE, "parameters": {"person": "lang"}}, "a meaning of its own"),
        ({**BESAMPLE, "parameters": {"person": "d_age"}}, "a meaning of its own"),
        ({**BESAMPLE, "parameters": {"person": "p", "study": "p"}}, "not all different"),
        ({**BESAMPLE, "completion_url": "https://x.example/{id}"}, "it may have {person}"),
        ({**BESAMPLE, "failed_check_url": "https://x.example/{code}"}, "there is no failed_check_code"),
        ({**BESAMPLE, "completion_url": "http://x.example/"}, "https"),
    ],
)
def test_a_platform_that_cannot_work_is_refused(database_url, platform, words):
    with pytest.raises(ValidationError, match=words):
        Platform.model_validate(platform)


async def test_a_link_that_nobody_has_used_can_be_taken_back_and_one_that_was_used_goes_on(
    settings, database, make_study, tmp_path
):
    make_study("s", platform={"name": "personal"}, pairs_per_annotator=3)
    file = tmp_path / "links.csv"
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        sheet = await owner.act("/studies/s/links", on="/studies/s/settings", count="3")
        used, open_now, lost = re.findall(r"http://study\.test/s/s(\?t=[^<]+)<", sheet.text)
        names = [link[3:15] for link in (used, open_now, lost)]
        await Visitor(browser()).enter(used)
        form_open = browser()
        page = await form_open.get(f"/s/s{open_now}")
        file.write_text("name,link\n" + "".join(f"{name},https://x\n" for name in names), encoding="utf-8")
        done = CliRunner().invoke(app, ["study", "revoke", "s", str(file), "--db", settings.database_url])
        assert "2 links are revoked; 1 were used and go on; 0 were revoked before" in done.output, done.exception
        answer = await browser().get(f"/s/s{lost}")
        assert answer.status_code == 422 and "personal link" in answer.text
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        late = await form_open.post("/s/s/consent", data={**hidden, "consent": "yes"})
        assert late.status_code == 422 and "personal link" in late.text, "a form that was open already"
        await Visitor(browser()).enter(used)
        again = await owner.act("/studies/s/links/revoke", on="/studies/s/settings", names="\n".join(names[1:]))
        assert again.status_code == 422 and "2 were revoked before" in again.text
    assert query(database, "SELECT COUNT(*) FROM sessions") == [(1,)]


async def test_a_browser_that_opens_the_link_counts_once_whatever_it_does_then(settings, database, make_study):
    make_study("s")
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        looker = browser()
        for _ in range(3):
            await looker.get("/s/s")
        await Visitor(browser()).enter()
    async with serving(settings) as browser:  # what was counted is stored when a server stops
        await browser().get("/s/s?preview=forged")
        page = await owner_again(browser, owner)
        assert re.search(r"opened the link</th><td class=\"n\">2<", page), page
    assert query(database, "SELECT browsers FROM study_arrivals") == [(3,)]


async def owner_again(browser, owner) -> str:
    """The study's page of an owner who was signed in at the server before."""
    answer = await browser(cookies=owner.client.cookies).get("/admin/studies/s")
    assert answer.status_code == 200
    return answer.text

"""No identifier, cookie or address of one person, study or server opens another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from study_server.db.database import Database
from study_server.db.migrate import upgrade
from study_server.settings import ServerSettings
from study_server.studies import cache
from study_server.studies.ownership import delete_study
from tests.conftest import write_image_set
from tests.study_server.visiting import Visitor, query, serving


def study_a(make_study):
    make_study(consent={"text": "The consent of study A."}, questions=[{"id": "a", "text": "Question of A?"}])


def study_b(make_study, images, slug="s"):
    make_study(
        slug,
        images=images,
        consent={"text": "The consent of study B."},
        questions=[{"id": "b", "text": "Question of B?"}],
    )


@pytest.fixture
def other_set(tmp_path) -> Path:
    return write_image_set(tmp_path / "other", prompts=6, size=32)


async def test_a_new_study_of_an_old_slug_is_the_new_one_for_everybody(
    settings, make_study, database, other_set, monkeypatch
):
    monkeypatch.setattr(cache, "FRESH_SECONDS", 0.0)
    study_a(make_study)

    async with serving(settings) as browser:
        pilot = await Visitor(browser()).enter("?simulated=1")
        await pilot.vote_all(limit=3)
        old_picture = pilot.queue[0]["left"]["src"]
        delete_study(database, "s", data_folder=settings.data_folder)
        study_b(make_study, other_set)

        newcomer = browser()
        assert "The consent of study B." in (await newcomer.get("/s/s")).text
        person = await Visitor(newcomer).enter("?simulated=1")
        await person.begin()
        assert [q["id"] for q in person.state["study"]["questions"]] == ["b"]
        picture = await newcomer.get(person.queue[0]["left"]["src"])
        assert picture.status_code == 200
        assert person.queue[0]["left"]["width"] == 32

        # The pilot's cookie opens nothing: not the pilot's old place, and not the newcomer's session.
        assert (await pilot.post("api/session", {"tab_token": None})).status_code == 401
        page = await pilot.client.get("/s/s")
        assert page.status_code == 200 and "The consent of study B." in page.text
        assert (await pilot.client.get(old_picture)).status_code == 404
        assert (await newcomer.get(old_picture)).status_code == 404
        await person.vote_all(limit=2)
    assert query(database, "SELECT COUNT(*), COUNT(DISTINCT session) FROM votes_table") == [(2, 1)]


def settings_of(folder: Path, settings: ServerSettings) -> ServerSettings:
    folder.mkdir()
    return settings.model_copy(
        update={"database_url": f"sqlite:///{folder / 'study.db'}", "data_folder": folder / "images"}
    )


async def test_a_cookie_of_another_server_with_the_same_secret_leads_to_consent(
    settings, make_study, small_image_set, tmp_path
):
    from study_server.studies.creation import create_study
    from study_server.studies.design import StudyDesign

    make_study()
    second = settings_of(tmp_path / "second", settings)
    other = Database(second)
    upgrade(other)
    design = StudyDesign(slug="s", title="t", images=str(small_image_set))
    create_study(other, design, set_folder=small_image_set, data_folder=second.data_folder, progress=lambda n: None)

    async with serving(settings) as browser, serving(second) as elsewhere:
        visitor = await Visitor(browser()).enter("?simulated=1")
        await visitor.begin()
        first_elsewhere = await Visitor(elsewhere()).enter("?simulated=1")
        await first_elsewhere.begin()
        carried = elsewhere(cookies=visitor.client.cookies)
        page = await carried.get("/s/s")
        assert page.status_code == 200 and 'name="consent"' in page.text
        stranger = Visitor(carried)
        stranger.csrf = visitor.csrf
        assert (await stranger.post("api/session", {"tab_token": None})).status_code == 401
    other.close()


async def test_two_studies_in_one_browser_are_two_sessions(settings, make_study, database, other_set):
    study_a(make_study)
    study_b(make_study, other_set, slug="t")

    async with serving(settings) as browser:
        client = browser()
        one = await Visitor(client).enter("?simulated=1")
        two = await Visitor(client, "t").enter("?simulated=1")
        await one.vote_all(limit=2)
        await two.vote_all(limit=2)
        await one.vote()
    assert query(database, "SELECT study, COUNT(*) FROM votes_table GROUP BY study ORDER BY study") == [
        ("s", 3),
        ("t", 2),
    ]


async def test_a_picture_is_shown_to_the_session_that_it_was_sealed_for_and_to_no_other(settings, make_study):
    make_study()

    async with serving(settings) as browser:
        one = await Visitor(browser()).enter("?simulated=1")
        two = await Visitor(browser()).enter("?simulated=1")
        await one.begin()
        await two.begin()
        address = one.queue[0]["left"]["src"]
        assert (await one.client.get(address)).status_code == 200
        assert (await two.client.get(address)).status_code == 404
        assert (await browser().get(address)).status_code == 404


async def test_the_database_holds_no_token_that_opens_a_session(settings, make_study, database):
    make_study()
    held = []

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter("?simulated=1")
        held.extend(cookie.value for cookie in visitor.client.cookies.jar if cookie.name.startswith("qsched-"))
    (cookie,) = held
    token = cookie.rpartition(".")[0]
    stored = str(query(database, "SELECT * FROM sessions"))
    assert len(token) >= 32 and token not in stored and cookie not in stored


async def test_whoever_comes_back_by_the_platforms_link_has_a_new_cookie_and_the_old_one_is_void(settings, make_study):
    make_study(platform={"name": "prolific", "completion_code": "C"})
    link = "?PROLIFIC_PID=p1&STUDY_ID=s1&SESSION_ID=x1"

    async with serving(settings) as browser:
        at_home = await Visitor(browser()).enter(link)
        await at_home.vote_all(limit=2)
        elsewhere = await Visitor(browser()).enter(link)
        await elsewhere.begin(take_over=True)
        assert elsewhere.state["progress"]["done"] == 2
        assert (await at_home.post("api/session", {"tab_token": at_home.tab})).status_code == 401
        assert (await at_home.client.get("/s/s/task")).headers["location"] == "/s/s"


async def test_start_anew_ends_the_session_on_the_server_too(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter("?simulated=1")
        await visitor.vote_all(limit=1)
        kept = browser(cookies=visitor.client.cookies)
        left = await visitor.client.post("/s/s/leave", data={"csrf": visitor.csrf})
        assert left.status_code == 303
        again = Visitor(kept)
        again.csrf = visitor.csrf
        assert (await again.post("api/session", {"tab_token": visitor.tab})).status_code == 401
        await (await Visitor(visitor.client).enter("?simulated=1")).vote_all(limit=1)
    assert query(database, "SELECT COUNT(*), COUNT(DISTINCT session) FROM votes_table") == [(2, 2)]

"""Coming, coming back, and leaving: whose place is kept, what each person sees, and who gets the code."""

from __future__ import annotations

import re

import pytest

from study_server.studies import cache
from study_server.studies.ownership import set_status
from tests.study_server.visiting import Visitor, query, serving, votes

CODE = "C0DE77"
LINK = "?PROLIFIC_PID=person&STUDY_ID=study&SESSION_ID=first"
OTHER = "?PROLIFIC_PID=person&STUDY_ID=study&SESSION_ID=second"
DEVICE = {"viewport_width": 1000, "viewport_height": 800, "device_pixel_ratio": 1}


@pytest.fixture
def prolific(make_study):
    def make(**values):
        return make_study(platform={"name": "prolific", "completion_code": CODE}, **values)

    return make


async def test_a_pause_gives_nobody_the_completion_code_who_has_not_finished(settings, prolific, database):
    prolific(pairs_per_annotator=6)

    async with serving(settings) as browser:
        done, busy = await Visitor(browser()).enter(LINK), await Visitor(browser()).enter("?PROLIFIC_PID=other")
        await done.vote_all()
        await busy.vote_all(limit=2)
        for status, gets_it in (("open", False), ("paused", False), ("closed", True)):
            set_status(database, "s", status)
            assert CODE in (await done.client.get("/s/s/thanks")).text
            answer = await busy.client.get("/s/s/thanks")
            assert (CODE in answer.text) is gets_it, status
            if status == "paused":
                assert answer.status_code == 200 and "This study is paused" in answer.text


async def test_who_answers_the_last_pair_during_a_pause_has_finished(settings, prolific, database):
    prolific(pairs_per_annotator=2)

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter(LINK)
        await visitor.begin()
        set_status(database, "s", "paused")
        assert (await visitor.vote())["state"] == "task"
        assert (await visitor.vote())["state"] == "finished"
        assert CODE in (await visitor.client.get("/s/s/thanks")).text


async def test_a_repeated_post_during_a_pause_says_that_the_study_is_paused(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        set_status(database, "s", "paused")
        await visitor.vote()
        ballot = visitor.ballot(visitor.queue[0])
        states = [(await visitor.post("api/votes", ballot)).json()["state"] for _ in range(2)]
        assert states == ["paused", "paused"]


@pytest.mark.parametrize("status", ["open", "closed"])
async def test_the_same_prolific_link_leads_back_to_the_place_and_to_the_code(settings, prolific, database, status):
    prolific(pairs_per_annotator=4)

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter(LINK)
        assert (await visitor.client.get(f"/s/s{LINK}")).headers["location"] == "/s/s/instructions"
        await visitor.vote_all(limit=1)
        assert (await visitor.client.get(f"/s/s{LINK}")).headers["location"] == "/s/s/task"
        if status == "open":
            await visitor.vote_all()
        set_status(database, "s", status)
        back = await visitor.client.get(f"/s/s{LINK}", follow_redirects=True)
        assert back.status_code == 200 and CODE in back.text
    assert query(database, "SELECT COUNT(*) FROM sessions") == [(1,)]


async def test_who_lost_the_cookie_comes_back_to_the_code_of_a_closed_study_and_strangers_do_not(
    settings, prolific, database, monkeypatch
):
    monkeypatch.setattr(cache, "FRESH_SECONDS", 0)
    prolific(pairs_per_annotator=2)

    async with serving(settings) as browser:
        await (await Visitor(browser()).enter(LINK)).vote_all()
        set_status(database, "s", "closed")
        back = await browser().get(f"/s/s{LINK}", follow_redirects=True)
        assert back.status_code == 200 and CODE in back.text
        for link in ("", OTHER, "?PROLIFIC_PID=stranger", f"?PROLIFIC_PID={'x' * 500}"):
            answer = await browser().get(f"/s/s{link}", follow_redirects=True)
            assert answer.status_code == 410 and CODE not in answer.text, link
    assert query(database, "SELECT COUNT(*) FROM sessions") == [(1,)]


async def test_another_submission_of_the_same_person_is_asked_for_consent_again(settings, prolific, database):
    prolific(pairs_per_annotator=4)

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter(LINK)
        await visitor.vote_all()
        await visitor.enter(OTHER)
    assert query(database, "SELECT COUNT(*) FROM sessions") == [(2,)]
    assert query(database, "SELECT COUNT(*) FROM annotators") == [(1,)]


@pytest.mark.parametrize("keeps_cookies", [True, False])
async def test_who_declines_after_answers_were_stored_is_not_told_that_nothing_was(
    settings, prolific, database, keeps_cookies
):
    prolific()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter(LINK)
        await visitor.vote_all(limit=2)
        client = visitor.client if keeps_cookies else browser()
        # Another browser, or another submission in this one: both show the consent page.
        page = await client.get("/s/s" + (OTHER if keeps_cookies else LINK))
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        answer = await client.post("/s/s/consent", data={**fields, "consent": "no"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/s/s/task")
        assert (await client.get("/s/s/task")).status_code == 200
    assert query(database, "SELECT COUNT(*) FROM sessions") == [(1,)]


async def test_who_declines_at_first_is_told_that_nothing_was_stored_and_nothing_is(settings, prolific, database):
    prolific()

    async with serving(settings) as browser:
        client = browser()
        page = await client.get(f"/s/s{LINK}")
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        answer = await client.post("/s/s/consent", data={**fields, "consent": "no"})
        assert answer.status_code == 200 and "nothing about you was stored" in answer.text
    assert query(database, "SELECT COUNT(*) FROM annotators") == [(0,)]


async def test_a_required_screening_is_required_by_the_api_too(settings, make_study, database):
    make_study(screening={"required": True, "min_viewport_width": 800})

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        for sent in (None, DEVICE | {"viewport_width": 799}):
            if sent is not None:
                assert (await visitor.post("screening", sent)).json()["retry"] is True
            answer = await visitor.post("api/session", {})
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "screening")
        assert query(database, "SELECT COUNT(*) FROM assignments") == [(0,)]
        assert (await visitor.post("screening", DEVICE)).json()["ok"] is True
        assert (await visitor.begin())["state"] == "task"


async def test_the_outcome_of_the_screening_stands(settings, make_study, database):
    make_study(screening={"required": True, "min_viewport_width": 800})
    make_study("free", screening={"min_viewport_width": 800})
    narrow = DEVICE | {"viewport_width": 799}

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        assert (await visitor.post("screening", DEVICE)).json()["ok"] is True
        # The answer was lost on its way: the page sends the same again.
        assert (await visitor.post("screening", DEVICE)).json()["ok"] is True
        for begun in (False, True):
            if begun:
                await visitor.begin()
            again = await visitor.post("screening", narrow)
            assert (again.status_code, again.json()["error"]["code"]) == (409, "screening_over")
        working = await Visitor(browser(), "free").enter()
        await working.begin()
        late = await working.post("screening", narrow)
        assert (late.status_code, late.json()["error"]["code"]) == (409, "screening_over")
        failing = await Visitor(browser()).enter()
        assert [(await failing.post("screening", narrow)).json()["ok"] for _ in range(2)] == [False, False]
        over = await failing.post("screening", DEVICE)
        assert (over.status_code, over.json()["error"]["code"]) == (409, "screened_out")
    assert query(database, "SELECT COUNT(*) FROM sessions WHERE state = 'screened_out'") == [(1,)]


async def test_a_session_that_was_screened_out_can_neither_vote_nor_hold_its_pairs(
    settings, make_study, database, monkeypatch
):
    make_study(lease_seconds=60, votes_per_pair=1)

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        query(database, "UPDATE sessions SET state = 'screened_out' RETURNING id")
        tokens = [assignment["token"] for assignment in visitor.queue]
        report = {"assignment": tokens[0], "problem": "cannot_judge", "idempotency_key": "report-key"}
        for path, body in (
            ("api/votes", visitor.ballot(visitor.queue[0])),
            ("api/heartbeat", {"assignments": tokens}),
            ("api/report", report),
        ):
            answer = await visitor.post(path, {**body, "tab_token": visitor.tab})
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "screened_out"), path
        state = await visitor.begin()
        assert (state["state"], state["queue"]) == ("finished", [])
        # Nothing renews the leases, so whoever finds no other pair gets theirs.
        other = await Visitor(browser()).enter()
        query(database, "UPDATE assignments SET lease_expires_ms = 0 RETURNING id")
        await other.vote_all()
    assert len(votes(database)) == 18
    assert query(database, "SELECT DISTINCT load FROM pairs") == [(1,)]


async def test_a_consent_form_that_does_not_fit_comes_back_with_what_was_entered(settings, make_study, database):
    make_study(
        demographics=[
            {"id": "eyes", "label": "Eyesight", "kind": "choice", "choices": ["good", "poor"], "required": True},
            {"id": "age", "label": "Age", "kind": "number", "required": True},
            {"id": "work", "label": "Work", "kind": "text"},
        ]
    )
    misfits = {
        "eyes": ({"d_age": "40"}, "Please answer this question: Eyesight"),
        "age": ({"d_eyes": "poor", "d_age": "forty"}, "“forty” is not a number. Please give one: Age"),
    }

    async with serving(settings) as browser:
        client = browser()
        for question, (answers, problem) in misfits.items():
            csrf = re.search(r'name="csrf" value="([^"]+)"', (await client.get("/s/s")).text)[1]
            entered = {"csrf": csrf, "consent": "yes", "d_work": '"><b>x', **answers}
            page = await client.post("/s/s/consent", data=entered)
            assert page.status_code == 422 and problem in page.text
            assert re.findall(r'id="d_(\w+)"[^>]*aria-invalid="true"', page.text) == [question]
            assert 'value="&#34;&gt;&lt;b&gt;x"' in page.text and "<b>x" not in page.text
            assert ('<option value="poor" dir="auto" selected>' in page.text) is ("d_eyes" in answers)
        await Visitor(client).enter(d_eyes="good", d_age="40")
    assert query(database, "SELECT count(*) FROM sessions") == [(1,)]


FACT = re.compile(r"<dd>(.*?)</dd>", re.DOTALL)


async def test_the_consent_page_counts_every_trial_and_no_more_minutes_than_are_allowed(settings, make_study, database):
    kinds = {
        "pairs_per_annotator": 10,
        "repeat_rate": 0.2,
        "warmup": 2,
        "instructed": 1,
        "seconds_per_vote": 12,
        "gold": [{"prompt": "p1", "better": "fp32", "worse": "w4a4"}],
        "practice": [{"prompt": "p0", "better": "fp32", "worse": "w4a4"}],
        "pay": {"per_hour": 9.0, "currency": "GBP"},
    }
    make_study(**kinds, max_minutes=None)
    make_study("short", **kinds, max_minutes=2)

    async with serving(settings) as browser:
        # 17 trials of 12 s and 90 s to read are 4.9 minutes.
        for slug, minutes, amount in (("s", 5, "0.75"), ("short", 2, "0.30")):
            page = await browser().get(f"/s/{slug}")
            facts = [" ".join(re.sub("<[^>]*>", "", fact).split()) for fact in FACT.findall(page.text)]
            assert facts == ["16 and 1 for practice", f"about {minutes} min", f"£{amount} (£9.00 an hour)"]
        visitor = await Visitor(browser()).enter()
        assert (await visitor.begin())["progress"]["total"] == 16, "the progress bar counts the same pairs"
        assert await visitor.vote_all() == 17
        thanks = await visitor.client.get("/s/s/thanks")
        assert "Pairs judged: 16" in thanks.text


async def test_the_way_back_names_the_platform_as_it_writes_itself(settings, prolific):
    prolific(pairs_per_annotator=2, languages=("de",))

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter(LINK)
        await visitor.vote_all()
        page = (await visitor.client.get("/s/s/thanks")).text
        assert "Prolific" in re.search(r'id="return-link"[^>]*>([^<]*)<', page)[1]


@pytest.mark.parametrize("name", ["PROLIFIC_PID", "STUDY_ID", "SESSION_ID"])
@pytest.mark.parametrize("value", ["{{%PROLIFIC_PID%}}", "{{PROLIFIC_PID}}", "${e://Field/ID}", "%ID%", "[ID]", "<id>"])
async def test_a_placeholder_that_the_platform_did_not_fill_in_is_no_person(settings, prolific, database, name, value):
    prolific(languages=("en", "de"))
    names = {"PROLIFIC_PID": "person", "STUDY_ID": "study", "SESSION_ID": "first", name: value}

    async with serving(settings) as browser:
        client = browser()
        page = await client.get("/s/s", params=names)
        assert page.status_code == 422 and "This link looks damaged" in page.text and name in page.text
        assert 'id="consent-form"' not in page.text, "it is said before anybody fills in the form"
        german = await client.get("/s/s", params=names | {"lang": "de"})
        assert "Platzhalter" in german.text
        good = await client.get("/s/s" + LINK)
        csrf = re.search(r'name="csrf" value="([^"]+)"', good.text)[1]
        posted = await client.post("/s/s/consent", data={"csrf": csrf, "consent": "yes", **names})
        assert posted.status_code == 422
    assert query(database, "SELECT COUNT(*) FROM annotators") == [(0,)]


async def test_who_comes_to_a_prolific_study_without_its_names_is_told_before_the_form(settings, prolific):
    prolific()

    async with serving(settings) as browser:
        page = await browser().get("/s/s")
        assert page.status_code == 422 and "Please come from Prolific" in page.text
        assert "consent-form" not in page.text


async def test_the_next_person_at_the_same_browser_starts_anew(settings, make_study, database):
    make_study(pairs_per_annotator=2)

    async with serving(settings) as browser:
        client = browser()
        await (await Visitor(client).enter()).vote_all()
        again = await client.get("/s/s", follow_redirects=True)
        assert "Thank you!" in again.text and "Somebody else?" in again.text
        csrf = re.search(r'name="csrf" value="([^"]+)"', again.text)[1]
        refused = await client.post("/s/s/leave", data={"csrf": "x" + csrf})
        assert refused.status_code == 403
        page = await client.post("/s/s/leave", data={"csrf": csrf}, follow_redirects=True)
        assert "I agree and want to take part" in page.text
        await (await Visitor(client).enter()).vote_all()
    assert query(database, "SELECT COUNT(*) FROM annotators") == [(2,)]
    assert query(database, "SELECT DISTINCT done FROM sessions") == [(2,)]


async def test_nobody_who_came_from_a_platform_is_asked_to_start_anew(settings, prolific):
    prolific(pairs_per_annotator=2)

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter(LINK)
        await visitor.vote_all()
        assert "Somebody else?" not in (await visitor.client.get("/s/s/thanks")).text

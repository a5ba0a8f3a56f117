"""What one visitor can do to everybody else: text that no database stores, forms sent again, pairs held for ever."""

from __future__ import annotations

import re

import polars as pl
import pytest

from qsched.records.evidence import SILENT_MS
from study_server.errors import TooMany
from study_server.export import export_votes
from study_server.studies.design import MAX_DEMOGRAPHICS, MAX_QUESTIONS, StudyDesign
from study_server.voting import sessions
from study_server.web.limits import HoldingLimit, address_group
from study_server.writing import contexts
from tests.study_server.visiting import Visitor, query, serving


async def test_nul_and_half_surrogates_are_refused_everywhere_and_the_next_request_is_answered(settings, make_study):
    make_study(demographics=[{"id": "age", "label": "Age"}])

    async with serving(settings) as browser:
        client = browser()
        for path in ("/s/a%00b", "/s/s?PROLIFIC_PID=a%00b", "/i/a%00b.l", "/s/a%00b/task"):
            assert (await client.get(path)).status_code == 400, path
        page = await client.get("/s/s")
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
        form = {"csrf": csrf, "consent": "yes", "d_age": "4\0002"}
        assert (await client.post("/s/s/consent", data=form)).status_code == 422
        visitor = await Visitor(browser()).enter("?simulated=1")
        await visitor.begin()
        ballot = visitor.ballot(visitor.queue[0])
        for odd in ('"\\u0000abcdefgh"', '"\\ud800abcdefgh"'):
            body = str(ballot).replace("'", '"').replace(f'"{ballot["idempotency_key"]}"', odd)
            answer = await client.post(
                "/s/s/api/votes",
                content=body,
                headers={"content-type": "application/json", "X-CSRF-Token": visitor.csrf},
                cookies=dict(visitor.client.cookies),
            )
            assert answer.status_code == 422, answer.text
        await visitor.vote()


async def test_head_is_answered_wherever_get_is_and_other_methods_name_what_is_allowed(settings, make_study):
    make_study()

    async with serving(settings) as browser:
        client = browser()
        for path in ("/", "/s/s", "/healthz"):
            head, get = await client.head(path), await client.get(path)
            assert (head.status_code, head.content) == (200, b"")
            assert get.content
        refused = await client.put("/s/s")
        assert refused.status_code == 405 and "GET" in refused.headers["allow"]
        odd = await client.get("/s/s/", headers={"host": "evil.test"})
        assert odd.status_code == 404 and "evil.test" not in str(odd.headers) + odd.text


async def test_one_form_makes_one_session_however_often_it_is_sent(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        client = browser()
        page = await client.get("/s/s")
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
        nonce = client.cookies["qsched_csrf"]
        tokens = set()
        for _ in range(5):
            client.cookies.set("qsched_csrf", nonce, domain="study.test", path="/s/s")
            answer = await client.post("/s/s/consent", data={"csrf": csrf, "consent": "yes"})
            assert answer.status_code == 303
            tokens.add(answer.headers["set-cookie"].split(";")[0])
        assert len(tokens) == 1
    assert query(database, "SELECT COUNT(*) FROM sessions") == [(1,)]


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1_800_000_000_000
        monkeypatch.setattr(contexts, "now_ms", lambda: self.now)


async def test_a_heartbeat_keeps_a_pair_only_while_something_is_judged(settings, make_study, database, monkeypatch):
    make_study(lease_seconds=60)
    clock = Clock(monkeypatch)
    settings = settings.model_copy(update={"sweep_seconds": 3600})

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter("?simulated=1")
        await visitor.begin()

        async def beat():
            tokens = [pair["token"] for pair in visitor.queue]
            answer = await visitor.post("api/heartbeat", {"assignments": tokens, "tab_token": visitor.tab})
            assert answer.status_code == 200

        def latest():
            return query(database, "SELECT MAX(lease_expires_ms) FROM assignments WHERE state = 'leased'")[0][0]

        for _ in range(20):
            clock.now += 30_000
            await beat()
        assert latest() == clock.now + 60_000
        clock.now += sessions.HOLD_MS
        before = latest()
        await beat()
        assert latest() == before, "nothing was judged for a quarter of an hour"
        await visitor.vote()
        await beat()
        assert latest() == clock.now + 60_000


async def test_an_idle_session_still_hears_which_pairs_it_lost(settings, make_study, monkeypatch):
    make_study(votes_per_pair=1, lease_seconds=60, pairs_per_annotator=None)
    clock = Clock(monkeypatch)
    settings = settings.model_copy(update={"sweep_seconds": 3600})

    async with serving(settings) as browser:
        idle = await Visitor(browser()).enter("?simulated=1")
        await idle.begin()
        beat = {"assignments": [pair["token"] for pair in idle.queue], "tab_token": idle.tab}
        clock.now += sessions.HOLD_MS + 1
        assert await (await Visitor(browser()).enter("?simulated=1")).vote_all() == 18
        assert (await idle.post("api/heartbeat", beat)).json()["lost"] == beat["assignments"]


async def test_sessions_that_hold_every_pair_and_judge_nothing_give_way_to_who_works(
    settings, make_study, database, monkeypatch
):
    make_study(votes_per_pair=1, lease_seconds=3600, pairs_per_annotator=None)
    clock = Clock(monkeypatch)
    settings = settings.model_copy(update={"sweep_seconds": 3600})

    async with serving(settings) as browser:
        for _ in range(9):  # two pairs each: all 18
            holder = await Visitor(browser()).enter("?simulated=1")
            await holder.begin()
        honest = await Visitor(browser()).enter("?simulated=1")
        await honest.begin()
        assert (honest.queue, honest.state["state"]) == ([], "waiting")
        clock.now += SILENT_MS + 1
        assert await honest.vote_all(wait=None) == 18
    assert query(database, "SELECT MIN(load), MAX(load) FROM pairs") == [(1, 1)]


async def test_one_address_holds_few_pairs_and_those_who_judge_are_not_counted(
    settings, make_study, database, monkeypatch
):
    make_study(votes_per_pair=9)
    settings = settings.model_copy(update={"allow_simulated": False, "holders_per_address": 3})

    async with serving(settings) as browser:
        people = [await Visitor(browser()).enter() for _ in range(7)]
        for person in people[:3]:
            await person.begin()
        refused = await people[3].post("api/session", {"tab_token": None})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
        assert query(database, "SELECT COUNT(*) FROM assignments") == [(6,)]
        await people[0].begin()  # a reload is not another person
        await people[0].vote()
        await people[3].begin()
        assert (await people[4].post("api/session", {"tab_token": None})).status_code == 429


def test_the_limit_of_an_address_ends_when_its_pairs_give_way():
    now = 0.0
    limit = HoldingLimit(most=2, seconds=120, clock=lambda: now)
    one, other = address_group("2001:db8::1"), address_group("2001:db8::2:1")
    assert one == other, "one person has a whole /64"
    limit.admit(one, 1)
    limit.admit(other, 2)
    with pytest.raises(TooMany, match="2 people of your network are at their first pair"):
        limit.admit(one, 3)
    limit.admit(address_group("192.0.2.1"), 3)
    now = 121.0
    limit.admit(one, 3)
    limit.release(3)
    limit.release(77)
    assert one not in limit._waiting


async def test_corrections_of_one_pair_have_an_end(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter("?simulated=1")
        await visitor.begin()
        body = await visitor.vote()
        for number in range(sessions.MAX_CORRECTIONS + 1):
            answer = await visitor.post("api/undo", {"vote_id": body["vote_id"], "tab_token": visitor.tab})
            if number == sessions.MAX_CORRECTIONS:
                assert (answer.status_code, answer.json()["error"]["code"]) == (409, "undo_closed")
                break
            again = answer.json()["assignment"]
            body = (await visitor.post("api/votes", visitor.ballot(again, "right"))).json()
    assert query(database, "SELECT COUNT(*) FROM votes") == [(1 + sessions.MAX_CORRECTIONS,)]


async def test_a_time_longer_than_the_pair_was_given_out_is_stored_and_exported_with_a_doubt(
    settings, make_study, database, tmp_path
):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        first, second = visitor.queue
        await visitor.post("api/votes", visitor.ballot(first, response_ms=86_400_000))
        await visitor.post("api/votes", visitor.ballot(second, response_ms=900))
        drawn = await Visitor(browser()).enter("?simulated=1")  # draws its times and waits for none of them
        await drawn.begin()
        await drawn.post("api/votes", drawn.ballot(drawn.queue[0], response_ms=86_400_001))
    assert query(database, "SELECT response_ms, doubt FROM votes ORDER BY id") == [
        (86_400_000, "response_ms"),
        (900, None),
        (86_400_001, None),
    ]
    export_votes(database, study="s", path=tmp_path / "votes.parquet")
    exported = pl.read_parquet(tmp_path / "votes.parquet").sort("response_ms")
    assert exported["doubt"].to_list() == [None, "response_ms", None]
    assert query(database, "SELECT doubt FROM votes_table ORDER BY response_ms") == [(None,), ("response_ms",), (None,)]


def test_a_study_may_ask_no_more_than_its_page_can_answer():
    head = {"slug": "s", "title": "t", "images": "x"}
    questions = [{"id": f"q{n}", "text": "?"} for n in range(MAX_QUESTIONS + 1)]
    people = [{"id": f"d{n}", "label": "?"} for n in range(MAX_DEMOGRAPHICS + 1)]
    StudyDesign(**head, questions=questions[:-1], demographics=people[:-1])
    with pytest.raises(ValueError, match=f"{MAX_QUESTIONS + 1} questions; ask at most {MAX_QUESTIONS}"):
        StudyDesign(**head, questions=questions)
    with pytest.raises(ValueError, match=f"ask at most {MAX_DEMOGRAPHICS}"):
        StudyDesign(**head, demographics=people)


async def test_as_many_questions_as_a_study_may_ask_can_be_answered(settings, make_study, database):
    make_study(questions=[{"id": f"q{n}", "text": "?"} for n in range(MAX_QUESTIONS)])

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter("?simulated=1")
        await visitor.begin()
        await visitor.vote()
    assert query(database, "SELECT COUNT(*) FROM votes") == [(MAX_QUESTIONS,)]

"""What an answer may say and what becomes of it: refusals, strengths, skips, late votes, reports, practice."""

from __future__ import annotations

import re

import pytest

from study_server.resources import CATALOGUES
from study_server.voting.presenter import RETRY_SECONDS
from study_server.voting.schemas import LONGEST_MS
from study_server.writing import contexts
from tests.study_server.visiting import Visitor, query, serving, votes


@pytest.mark.parametrize(
    "change",
    [
        {"answers": {}},
        {"answers": {"overall": "both"}},
        {"answers": {"quality": "left"}},
        {"answers": {"overall": "left", "quality": "left"}},
        {"response_ms": -1},
        {"response_ms": 10**12},
        {"idempotency_key": "short"},
        {"assignment": "AAAA"},
        {"assignment": "../../etc/passwd"},
    ],
    ids=str,
)
async def test_a_vote_that_breaks_the_interface_is_refused_and_not_stored(settings, make_study, database, change):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        answer = await visitor.post("api/votes", visitor.ballot(visitor.queue[0]) | change)
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["message"]
    assert votes(database) == []


@pytest.mark.parametrize(
    ("asked", "choice", "strengths", "rule"),
    [
        (True, "left", {}, "need a strength, 1 .slightly. or 2 .clearly."),
        (True, "tie", {"overall": 1}, "no other answer has one"),
        (True, "left", {"overall": 1, "quality": 1}, "no other answer has one"),
        (True, "left", {"overall": 3}, "strengths.overall"),
        (False, "left", {"overall": 1}, "asks for no strength"),
    ],
)
async def test_a_strength_is_required_where_it_is_asked_and_refused_where_not(
    settings, make_study, database, asked, choice, strengths, rule
):
    make_study(strength=asked)

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        state = await visitor.begin()
        assert state["study"]["strength"] is asked
        ballot = visitor.ballot(visitor.queue[0], choice, strengths=strengths)
        answer = await visitor.post("api/votes", ballot)
        assert answer.status_code == 422
        assert re.search(rule, answer.json()["error"]["message"])
    assert votes(database) == []


async def test_the_strength_of_a_preference_is_stored_with_it_and_corrected_with_it(settings, make_study, database):
    make_study(strength=True)

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        first, second = visitor.queue
        answer = await visitor.post("api/votes", visitor.ballot(first, "left", strengths={"overall": 2}))
        body = {"vote_id": answer.json()["vote_id"], "tab_token": visitor.tab}
        undone = (await visitor.post("api/undo", body)).json()["assignment"]
        await visitor.post("api/votes", visitor.ballot(undone, "right", strengths={"overall": 1}))
        await visitor.post("api/votes", visitor.ballot(second, "skip"))
    assert query(database, "SELECT choice, strength FROM votes ORDER BY id") == [
        ("left", 2),
        ("right", 1),
        ("skip", None),
    ]
    assert query(database, "SELECT choice, strength FROM votes_table ORDER BY choice") == [("right", 1), ("skip", None)]


async def test_a_vote_on_another_persons_pair_is_refused(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        one, two = await Visitor(browser()).enter(), await Visitor(browser()).enter()
        await one.begin()
        await two.begin()
        answer = await two.post("api/votes", two.ballot(one.queue[0]))
        assert answer.status_code == 422
    assert votes(database) == []


async def test_a_laptop_closed_for_two_days_loses_no_answer(settings, make_study, database):
    make_study()
    two_days = 2 * 86_400_000

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        for times in ({"hidden_ms": two_days}, {"response_ms": two_days}):
            answer = await visitor.post("api/votes", visitor.ballot(visitor.queue.pop(0)) | times)
            assert answer.status_code == 200, answer.text
    assert query(database, "SELECT response_ms, hidden_ms FROM votes ORDER BY id") == [(900, two_days), (two_days, 0)]


def test_the_page_sends_no_longer_time_than_the_server_takes():
    source = (CATALOGUES.parent / "js" / "timing.js").read_text(encoding="utf-8")
    assert int(re.search(r"LONGEST_MS = ([\d_]+);", source)[1]) == LONGEST_MS


async def test_a_skip_is_kept_but_fills_no_slot(settings, make_study, database):
    make_study(votes_per_pair=1)

    async with serving(settings) as browser:
        skipper, voter = await Visitor(browser()).enter(), await Visitor(browser()).enter()
        await skipper.vote_all(lambda _: "skip")
        await voter.vote_all()
    assert query(database, "SELECT choice, COUNT(*) FROM votes_table GROUP BY choice ORDER BY choice") == [
        ("left", 18),
        ("skip", 18),
    ]
    assert query(database, "SELECT DISTINCT load FROM pairs") == [(1,)]


async def test_a_late_vote_counts_while_the_pair_needs_it_and_is_kept_as_surplus_after(
    settings, make_study, database, monkeypatch
):
    make_study(votes_per_pair=1, lease_seconds=60)
    real = contexts.now_ms
    offset = 0
    monkeypatch.setattr(contexts, "now_ms", lambda: real() + offset)
    monkeypatch.setattr("study_server.app.now_ms", lambda: real() + offset)

    async with serving(settings) as browser:
        absent, present = await Visitor(browser()).enter(), await Visitor(browser()).enter()
        await absent.begin()
        offset = 61_000
        assert await present.vote_all(limit=16) == 16
        # 18 pairs: two were held by the absent person and are open again, two are leased by the present one.
        taken = await present.vote_all(limit=2)
        assert taken == 2
        for assignment in absent.queue:
            answer = await absent.post("api/votes", absent.ballot(assignment, "right"))
            assert answer.status_code == 200, answer.text
    surplus = [row for row in votes(database) if row[3]]
    assert len(votes(database)) == 20 and len(surplus) == 2
    assert query(database, "SELECT COUNT(*) FROM votes_table") == [(18,)]
    assert query(database, "SELECT DISTINCT load FROM pairs") == [(1,)]


async def test_a_paused_study_takes_the_answers_on_screen_and_hands_out_nothing(settings, make_study, database):
    from study_server.studies.ownership import set_status

    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        set_status(database, "s", "paused")
        first = await visitor.vote()
        assert (first["next"], first["state"]) == (None, "task")
        second = await visitor.vote()
        assert (second["next"], second["state"], second["retry_after"]) == (None, "paused", RETRY_SECONDS)
        state = await visitor.begin()
        assert (state["state"], state["queue"], state["retry_after"]) == ("paused", [], RETRY_SECONDS)
        set_status(database, "s", "closed")
        state = await visitor.begin()
        assert (state["state"], state["queue"]) == ("closed", []) and state["retry_after"] is None
        set_status(database, "s", "open")
        assert (await visitor.begin())["queue"]
    assert len(votes(database)) == 2


async def test_a_reported_pair_is_replaced_and_two_reports_take_it_out(settings, make_study, database):
    make_study(votes_per_pair=5)

    async with serving(settings) as browser:
        tokens = []
        for _ in range(2):
            visitor = await Visitor(browser()).enter()
            await visitor.begin()
            body = {
                "assignment": visitor.queue[0]["token"],
                "problem": "image_missing",
                "tab_token": visitor.tab,
                "idempotency_key": "report-key",
            }
            answer = await visitor.post("api/report", body)
            again = await visitor.post("api/report", body)
            assert answer.status_code == again.status_code == 200, answer.text
            assert answer.json()["next"] == again.json()["next"] is not None
            tokens.append(answer.json()["next"]["token"])
            vote = await visitor.post("api/votes", visitor.ballot(visitor.queue[0]))
            assert (vote.status_code, vote.json()["error"]["code"]) == (409, "lease_lost")
    assert query(database, "SELECT COUNT(*) FROM reports") == [(2,)]
    assert query(database, "SELECT SUM(load) FROM pairs")[0][0] == 4


async def test_practice_tells_right_from_wrong_on_other_content_and_is_not_counted(settings, make_study, database):
    make_study(
        practice=[{"prompt": "p0", "better": "fp32", "worse": "w4a4", "why": "Look at the grain."}], votes_per_pair=1
    )

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        assert visitor.state["progress"] | {"limit_seconds_left": 0} == {
            "done": 0,
            "total": 15,
            "block_done": 0,
            "block_length": 20,
            "limit_seconds_left": 0,
            "practice_left": 1,
        }
        assert [a["kind_public"] for a in visitor.queue] == ["practice", "task"]
        answer = await visitor.vote("left")
        assert answer["feedback"]["text"] == "Look at the grain."
        assert answer["progress"]["done"] == 0
        await visitor.vote_all()
    (practice,) = query(database, "SELECT left_arm, choice, expected FROM votes_table WHERE kind = 'practice'")
    assert practice[2] == ("left" if practice[0] == "fp32" else "right")
    assert query(database, "SELECT COUNT(*) FROM votes_table WHERE kind = 'task' AND prompt_id = 'p0'") == [(0,)]


async def test_every_kind_is_told_apart_in_the_table_and_not_in_the_browser(settings, make_study, database):
    make_study(
        warmup=2,
        instructed=1,
        repeat_rate=0.2,
        votes_per_pair=1,
        gold=[{"prompt": "p1", "better": "fp32", "worse": "w4a4"}],
    )

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        seen = []

        def look(assignment):
            seen.append(assignment)
            return "left"

        await visitor.vote_all(look)
        assert {assignment["kind_public"] for assignment in seen} == {"task"}
    kinds = dict(query(database, "SELECT kind, COUNT(*) FROM votes_table GROUP BY kind"))
    assert kinds == {"warmup": 2, "gold": 1, "instructed": 1, "repeat": 3, "task": 15}
    assert query(
        database, "SELECT COUNT(*) FROM votes_table WHERE (expected IS NULL) <> (kind NOT IN ('gold', 'instructed'))"
    ) == [(0,)]

"""A vote: durable once acknowledged, one row whatever is repeated, corrected without being overwritten."""

from __future__ import annotations

import asyncio

from tests.study_server.visiting import Visitor, query, serving, votes


async def test_the_path_from_consent_to_thanks_stores_every_vote(settings, make_study, database):
    make_study(votes_per_pair=1)

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        assert await visitor.vote_all() == 18
        assert visitor.state["state"] == "finished"
        thanks = await visitor.client.get("/s/s/thanks")
        assert thanks.status_code == 200
        task = await visitor.client.get("/s/s/task")
        assert task.headers["location"] == "/s/s/thanks"
    assert len(votes(database)) == 18
    assert query(database, "SELECT DISTINCT load FROM pairs") == [(1,)]


async def test_the_row_is_in_the_database_before_the_vote_is_acknowledged(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        for n in range(1, 5):
            await visitor.vote()
            assert len(votes(database)) == n  # read over another connection


async def test_a_repeated_post_gives_the_same_answer_and_no_second_row(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        ballot = visitor.ballot(visitor.queue[0], key="the-same-key")
        first = await visitor.post("api/votes", ballot)
        again = await visitor.post("api/votes", ballot)
        assert first.status_code == again.status_code == 200
        a, b = first.json(), again.json()
        for body in (a, b):
            body["progress"].pop("limit_seconds_left")
        assert a == b
        assert a["next"] is not None
        other = await visitor.post("api/votes", visitor.ballot(visitor.queue[0], key="another-key"))
        assert (other.status_code, other.json()["error"]["code"]) == (409, "already_answered")
    assert len(votes(database)) == 1


async def test_a_key_belongs_to_one_pair_and_is_refused_on_another(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        first, second = visitor.queue
        await visitor.post("api/votes", visitor.ballot(first, key="the-same-key"))
        for _ in range(2):
            reused = await visitor.post("api/votes", visitor.ballot(second, key="the-same-key"))
            assert (reused.status_code, reused.json()["error"]["code"]) == (409, "key_reused")
        assert (await visitor.post("api/votes", visitor.ballot(second))).status_code == 200
        # Another person's key is another key, however it looks.
        other = await Visitor(browser()).enter()
        await other.begin()
        answer = await other.post("api/votes", other.ballot(other.queue[0], key="the-same-key"))
        assert answer.status_code == 200
        report = {"problem": "cannot_judge", "tab_token": other.tab, "idempotency_key": "a-report-key"}
        one, two = (await other.begin())["queue"]
        first_report = await other.post("api/report", {"assignment": one["token"], **report})
        second_report = await other.post("api/report", {"assignment": two["token"], **report})
        assert first_report.status_code == 200
        assert (second_report.status_code, second_report.json()["error"]["code"]) == (409, "key_reused")
    assert len(votes(database)) == 3
    assert query(database, "SELECT COUNT(*) FROM reports") == [(1,)]


async def test_a_key_sent_on_two_pairs_at_once_stores_one_of_them(settings, make_study, database):
    make_study()

    async with serving(settings) as one, serving(settings) as two:
        visitor = await Visitor(one()).enter()
        await visitor.begin()
        elsewhere = Visitor(two(cookies=visitor.client.cookies))
        elsewhere.csrf, elsewhere.tab, elsewhere.state = visitor.csrf, visitor.tab, visitor.state
        answers = await asyncio.gather(
            *(
                person.post("api/votes", visitor.ballot(pair, key="the-same-key"))
                for pair in visitor.queue
                for person in (visitor, elsewhere)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200, 200, 409, 409]
    assert len(votes(database)) == 1


async def test_simultaneous_repeats_make_one_row(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        ballot = visitor.ballot(visitor.queue[0], key="the-same-key")
        answers = await asyncio.gather(*(visitor.post("api/votes", ballot) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["vote_id"] for answer in answers}) == 1
        assert len({answer.json()["next"]["token"] for answer in answers}) == 1
    assert len(votes(database)) == 1


async def test_an_undone_vote_is_superseded_by_a_new_row_and_only_the_last_counts(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        first = await visitor.vote("left")
        body = {"vote_id": first["vote_id"], "tab_token": visitor.tab}
        undone = await visitor.post("api/undo", body)
        assert undone.status_code == 200, undone.text
        correction = await visitor.post("api/votes", visitor.ballot(undone.json()["assignment"], "right"))
        assert correction.json()["next"] is None
        assert correction.json()["progress"]["done"] == 1
        second = await visitor.vote("tie")
        late = await visitor.post("api/undo", body)
        assert (late.status_code, late.json()["error"]["code"]) == (409, "undo_closed")
        assert second["undo"] == {"vote_id": second["vote_id"]}
    (one, two, three) = votes(database)
    assert [row[1] for row in (one, two, three)] == ["left", "right", "tie"]
    assert two[2] == one[0] and one[2] is None
    assert query(database, "SELECT choice FROM votes_table ORDER BY answered_at") == [("right",), ("tie",)]
    assert query(database, "SELECT SUM(load) FROM pairs")[0][0] == 4  # two votes, two leases


async def test_the_last_answer_of_a_block_can_be_taken_back_in_the_break_and_not_after_the_next_answer(
    settings, make_study
):
    make_study(block_length=2)

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        await visitor.vote()
        last = await visitor.vote()
        assert last["state"] == "break"
        undo = {"vote_id": last["vote_id"], "tab_token": visitor.tab}
        undone = await visitor.post("api/undo", undo)
        assert undone.status_code == 200, undone.text
        again = await visitor.post("api/votes", visitor.ballot(undone.json()["assignment"], "right"))
        assert again.status_code == 200, again.text
        await visitor.vote()
        late = await visitor.post("api/undo", undo | {"vote_id": again.json()["vote_id"]})
        assert (late.status_code, late.json()["error"]["code"]) == (409, "undo_closed")


async def test_after_a_reload_the_same_pairs_come_back(settings, make_study):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        before = await visitor.begin()
        after = await visitor.begin()
        assert [a["token"] for a in before["queue"]] == [a["token"] for a in after["queue"]]
        assert before["queue"] == after["queue"]  # image addresses too: nothing is loaded twice
        page = await visitor.client.get("/s/s")
        assert page.headers["location"].startswith("/s/s/")


async def test_a_second_tab_is_refused_and_can_take_over(settings, make_study):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        ballot = visitor.ballot(visitor.queue[0])
        second = await visitor.post("api/session", {})
        assert (second.status_code, second.json()["error"]["code"]) == (409, "other_tab")
        taken = await visitor.post("api/session", {"take_over": True})
        assert taken.status_code == 200
        old = await visitor.post("api/votes", ballot)
        assert (old.status_code, old.json()["error"]["code"]) == (409, "other_tab")

"""Excluding a person and taking them in again: slots stay exact, nothing is lost, exports agree with the database."""

from __future__ import annotations

import asyncio

import polars as pl
import pytest

from study_server.errors import BadRequest, Conflict, NotFound
from study_server.export import export_votes
from study_server.owner import act_on_study
from study_server.quality.exclusion import exclude, find_person, include
from study_server.studies.actions import COMMAND_LINE
from study_server.studies.progress import read_study
from tests.study_server.visiting import Visitor, query, serving

REASON = {"reason": "pressed left throughout", "by": COMMAND_LINE}


def pseudonym(database, number: int = 0) -> str:
    return query(database, "SELECT pseudonym FROM annotators ORDER BY id")[number][0]


def check_slots(database, *, total: int | None = None) -> None:
    """load = valid votes + live leases for every pair, the sides too; and the total is kept."""
    rows = query(
        database,
        """SELECT p.load, p.side_balance, COALESCE(SUM(CASE WHEN a.counted THEN 1 ELSE 0 END), 0),
                  COALESCE(SUM(CASE WHEN a.counted THEN (CASE WHEN a.first_on_left THEN 1 ELSE -1 END) ELSE 0 END), 0)
           FROM pairs p LEFT JOIN assignments a ON a.pair_id = p.id WHERE p.pool = 'task' GROUP BY p.id""",
    )
    assert all((load, sides) == (int(counted), int(balance)) for load, sides, counted, balance in rows), rows
    if total is not None:
        left = query(database, "SELECT SUM(remaining) FROM vote_budgets")[0][0]
        assert sum(row[0] for row in rows) + int(left) == total


def shares(database, path):
    summary = export_votes(database, study="s", path=path)
    view = query(database, "SELECT COUNT(*) FROM votes_table")[0][0]
    assert view == summary.written == pl.read_parquet(path).height, "the view and the file hold the same"
    return summary


@pytest.mark.parametrize("total", [None, 24])
async def test_an_excluded_persons_slots_go_to_others_and_nothing_is_deleted(
    settings, database, make_study, tmp_path, total
):
    make_study(votes_per_pair=2, votes_total=total, pairs_per_annotator=None)
    async with serving(settings) as browser:
        lazy = await Visitor(browser()).enter()
        await lazy.vote_all(lambda _: "left", limit=7)
        done = act_on_study(database, "s", exclude, pseudonym=pseudonym(database), **REASON)
        assert done.slots == 9, "seven votes, and two pairs on the screen"
        check_slots(database, total=total)
        assert shares(database, tmp_path / "a.parquet").excluded == 7
        while query(database, "SELECT COUNT(*) FROM annotators")[0][0] < 4:
            await (await Visitor(browser()).enter()).vote_all(lambda _: "right")
    check_slots(database, total=total)
    summary = shares(database, tmp_path / "b.parquet")
    wanted = total or 2 * query(database, "SELECT COUNT(*) FROM pairs")[0][0]
    assert (summary.written, summary.excluded, summary.rows_in_database) == (wanted, 7, wanted + 7)
    assert set(pl.read_parquet(tmp_path / "b.parquet")["choice"]) == {"right"}
    with database.snapshot() as tx:
        assert read_study(tx, "s")[1].valid_votes == wanted


async def test_included_again_their_votes_count_where_a_slot_is_left_and_are_surplus_elsewhere(
    settings, database, make_study, tmp_path
):
    make_study(votes_per_pair=1)
    async with serving(settings) as browser:
        first = await Visitor(browser()).enter()
        await first.vote_all(lambda _: "left", limit=6)
        who = pseudonym(database)
        act_on_study(database, "s", exclude, pseudonym=who, **REASON)
        await (await Visitor(browser()).enter()).vote_all(lambda _: "right", limit=15)
        done = act_on_study(database, "s", include, pseudonym=who, **REASON)
        assert done.slots + done.late == 6 and done.late > 0
        check_slots(database)
        summary = shares(database, tmp_path / "a.parquet")
        assert (summary.written, summary.surplus, summary.excluded) == (15 + done.slots, done.late, 0)
        act_on_study(database, "s", exclude, pseudonym=who, **REASON)
        check_slots(database)
        again = act_on_study(database, "s", include, pseudonym=who, **REASON)
        assert again == done, "the way back and forth leads to the same place"
        assert await first.vote_all(lambda _: "tie", wait=None) >= 0, "the session goes on"
        check_slots(database)
    actions = [row[0] for row in query(database, "SELECT action FROM owner_actions WHERE study = 's' ORDER BY id")]
    assert actions == ["study created", "excluded", "included again", "excluded", "included again"]


async def test_the_excluded_person_is_told_kindly_and_no_later_answer_is_taken(settings, database, make_study):
    make_study(
        platform={"name": "prolific", "completion_code": "DONE1", "failed_check_code": "FAILED1"},
        consent={"contact": "lab@example.org"},
    )
    link = "?PROLIFIC_PID=person&STUDY_ID=x&SESSION_ID=one"
    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter(link)
        await visitor.vote_all(limit=3)
        act_on_study(database, "s", exclude, pseudonym=pseudonym(database), **REASON)
        ballot = visitor.ballot(visitor.queue[0])
        for path, body in (
            ("api/votes", ballot),
            ("api/session", {"tab_token": visitor.tab}),
            ("api/undo", {"vote_id": visitor.state.get("undo") or "x" * 20}),
            ("api/heartbeat", {"assignments": [visitor.queue[0]["token"]], "tab_token": visitor.tab}),
        ):
            answer = await visitor.post(path, body)
            assert answer.status_code in (409, 422), path
            assert answer.status_code == 422 or answer.json()["error"]["code"] == "ended"
        front = await visitor.client.get("/s/s", follow_redirects=True)
        assert "Your part in this study is over" in front.text and "lab@example.org" in front.text
        assert "FAILED1" in front.text and "DONE1" not in front.text and "left throughout" not in front.text
        again = browser()
        page = await again.get("/s/s?PROLIFIC_PID=person&STUDY_ID=x&SESSION_ID=two")
        assert page.status_code == 200
        with pytest.raises(AssertionError, match="Your part in this study is over"):
            await Visitor(again).enter("?PROLIFIC_PID=person&STUDY_ID=x&SESSION_ID=two")
    assert query(database, "SELECT COUNT(*) FROM sessions") == [(1,)]
    check_slots(database)


async def test_people_are_excluded_while_they_and_others_vote(settings, database, make_study):
    make_study(votes_per_pair=3)
    async with serving(settings) as browser:
        visitors = [await Visitor(browser()).enter() for _ in range(6)]
        names = [row[0] for row in query(database, "SELECT pseudonym FROM annotators ORDER BY id")]

        async def vote(visitor):
            try:
                await visitor.vote_all(wait=None)
            except AssertionError as error:
                assert "ended" in str(error)

        async def toggle():
            for _ in range(4):
                for name in names[:3]:
                    for job in (exclude, include):
                        await asyncio.to_thread(act_on_study, database, "s", job, pseudonym=name, **REASON)
                        await asyncio.sleep(0.01)

        await asyncio.gather(*(vote(visitor) for visitor in visitors), toggle())
        check_slots(database)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_person_is_found_by_every_name_of_theirs_and_mistakes_are_said(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter("?PROLIFIC_PID=pid-1&SESSION_ID=one")
        page = (await visitor.client.get("/s/s/instructions")).text
    who = pseudonym(database)
    session, code = query(database, "SELECT pseudonym, withdraw_code FROM sessions")[0]
    assert code in page, "the person reads the code before the first pair"
    with database.snapshot() as tx:
        for named in (who, session, code, code.lower()):
            assert find_person(tx, study_id=1, who=named).pseudonym == who
        assert find_person(tx, study_id=1, platform_id="pid-1").pseudonym == who
        for wrong in ({"who": "pid-1"}, {"platform_id": who}, {"who": ""}, {"who": "a-000000000000"}):
            with pytest.raises(NotFound, match="no annotator"):
                find_person(tx, study_id=1, **wrong)
    with pytest.raises(BadRequest, match="needs a reason"):
        act_on_study(database, "s", exclude, pseudonym=who, reason="  ", by=COMMAND_LINE)
    with pytest.raises(Conflict, match="is not excluded"):
        act_on_study(database, "s", include, pseudonym=who, **REASON)
    act_on_study(database, "s", exclude, pseudonym=who, **REASON)
    with pytest.raises(Conflict, match="excluded already"):
        act_on_study(database, "s", exclude, pseudonym=who, **REASON)

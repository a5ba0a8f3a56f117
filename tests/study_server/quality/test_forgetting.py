"""One person's data are deleted on request, and the study stays exact."""

from __future__ import annotations

import pytest

from study_server.export import export_votes
from study_server.owner import act_on_study
from study_server.quality.forgetting import clean_up, forget
from study_server.studies.actions import COMMAND_LINE
from tests.study_server.quality.test_exclusion import check_slots
from tests.study_server.visiting import Visitor, query, serving

DEVICE = {"viewport_width": 1234, "viewport_height": 777, "device_pixel_ratio": 1}
ABOUT = [{"id": "job", "label": "Your job?"}]
PRIVATE = ("pid-of-jane", "sub-of-jane", "lighthouse keeper", "1234", "the cat walked in")


def everything(database) -> str:
    """Every value of every table but the pictures' and the designs'."""
    tables = ("annotators", "sessions", "platform_identities", "platform_sessions", "assignments", "votes", "reports")
    tables += ("owner_actions",)
    return "".join(str(query(database, f"SELECT * FROM {table}")) for table in tables)


async def take_part(browser) -> Visitor:
    visitor = await Visitor(browser()).enter("?PROLIFIC_PID=pid-of-jane&SESSION_ID=sub-of-jane", d_job=PRIVATE[2])
    await visitor.post("screening", DEVICE)
    await visitor.begin()
    report = {"problem": "cannot_judge", "detail": PRIVATE[4], "tab_token": visitor.tab}
    pair = visitor.queue.pop()["token"]
    assert (await visitor.post("api/report", {**report, "assignment": pair, "idempotency_key": "k" * 12})).is_success
    ballot = visitor.ballot(visitor.queue.pop(0), viewport={"w": 1234, "h": 777, "dpr": 1})
    assert (await visitor.post("api/votes", ballot)).is_success
    await visitor.begin()
    await visitor.vote_all(limit=4)
    return visitor


@pytest.mark.parametrize("keeps", [False, True])
async def test_after_it_nothing_leads_to_the_person(settings, database, make_study, tmp_path, keeps):
    after = "keep_votes" if keeps else "delete_votes"
    make_study(demographics=ABOUT, consent={"after_withdrawal": after}, votes_total=20)
    async with serving(settings) as browser:
        other = await Visitor(browser()).enter()
        await other.vote_all(limit=3)
        visitor = await take_part(browser)
        assert all(value in everything(database) for value in PRIVATE)
        code = query(database, "SELECT withdraw_code FROM sessions ORDER BY id DESC")[0][0]
        done = act_on_study(database, "s", forget, who=code, by=COMMAND_LINE)
        assert not any(value in everything(database) for value in (*PRIVATE, code))
        assert (done.votes, done.kept) == ((0, 5) if keeps else (5, 0))
        check_slots(database, total=20)
        gone = await visitor.client.get("/s/s")
        assert gone.status_code == 200 and "I agree" in gone.text, "the cookie opens nothing any more"
        assert export_votes(database, study="s", path=tmp_path / "v.csv").written == (8 if keeps else 3)
        assert await other.vote_all(limit=2) == 2
    assert query(database, "SELECT detail FROM owner_actions WHERE action LIKE 'data of%'")[0][0].startswith(
        f"{done.votes} vote rows deleted"
    )


async def test_after_the_retention_period_only_votes_are_left(settings, database, make_study, tmp_path):
    make_study(demographics=ABOUT, votes_total=20)
    async with serving(settings) as browser:
        visitor = await take_part(browser)
        await (await Visitor(browser()).enter("?PROLIFIC_PID=recent")).vote_all(limit=2)
        with database.transaction() as tx:
            tx.command("UPDATE sessions SET started_ms = started_ms - 86400000 * CAST(31 AS BIGINT) WHERE id = 1")
        assert act_on_study(database, "s", clean_up, days=32, by=COMMAND_LINE) == 0
        assert all(value in everything(database) for value in PRIVATE)
        assert act_on_study(database, "s", clean_up, days=30, by=COMMAND_LINE) == 1
        left = everything(database)
        # How a vote looked on the screen stays with the vote.
        assert [value for value in PRIVATE if value in left] == ["1234"] and "recent" in left
        assert "I agree" in (await visitor.client.get("/s/s")).text
        assert act_on_study(database, "s", clean_up, days=30, by=COMMAND_LINE) == 0
    assert export_votes(database, study="s", path=tmp_path / "v.csv").written == 7

"""A closed study is closed: no vote comes in afterwards, so that an export at close is the last one."""

from __future__ import annotations

import threading
import time

import pytest

from study_server.export import export_votes
from study_server.studies.ownership import set_status
from tests.study_server.visiting import Visitor, query, serving


async def test_after_close_no_vote_is_taken_and_an_answer_sent_again_is_still_acknowledged(
    settings, make_study, database, tmp_path
):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter("?simulated=1")
        await visitor.begin()
        ballot = visitor.ballot(visitor.queue[0])
        assert (await visitor.post("api/votes", ballot)).status_code == 200
        set_status(database, "s", "closed")
        at_close = export_votes(database, study="s", path=tmp_path / "at-close.csv")
        again = await visitor.post("api/votes", ballot)
        assert again.status_code == 200
        late = await visitor.post("api/votes", visitor.ballot(visitor.queue[1]))
        assert (late.status_code, late.json()["error"]["code"]) == (409, "closed")
        assert export_votes(database, study="s", path=tmp_path / "later.csv").written == at_close.written == 1
    assert (tmp_path / "at-close.csv").read_bytes() == (tmp_path / "later.csv").read_bytes()
    assert query(database, "SELECT COUNT(*) FROM votes") == [(1,)]


@pytest.mark.parametrize("database_url", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
async def test_closing_waits_for_a_vote_that_is_being_written(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        await Visitor(browser()).enter("?simulated=1")
    closed = threading.Event()

    def close():
        set_status(database, "s", "closed")
        closed.set()

    with database.transaction() as writing:
        writing.command("SELECT id FROM sessions FOR UPDATE")  # as a vote does before it looks at the status
        thread = threading.Thread(target=close)
        thread.start()
        time.sleep(0.3)
        assert not closed.is_set()
    thread.join(10)
    assert closed.is_set() and query(database, "SELECT status FROM studies") == [("closed",)]

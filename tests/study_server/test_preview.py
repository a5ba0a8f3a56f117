"""An owner's preview: the pages as annotators see them, marked, counted nowhere."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from qsched.cli.main import app
from study_server.db.database import Database
from study_server.export import export_votes
from study_server.studies.ownership import list_studies, set_status
from study_server.studies.update import design_history
from study_server.web.security import Keyring
from study_server.web.signed_links import preview_link
from tests.study_server.visiting import Visitor, query, serving


def link(settings, database: Database, *, slug: str = "s") -> str:
    uid = query(database, "SELECT uid FROM studies WHERE slug = :slug", slug=slug)[0][0]
    keys = Keyring(settings.secret_key.get_secret_value())
    return preview_link(keys, slug=slug, uid=uid).removeprefix(f"/s/{slug}")


async def test_a_preview_shows_every_page_and_counts_nowhere(settings, database, make_study, tmp_path):
    make_study(
        pairs_per_annotator=8,
        instructed=1,
        practice=[{"prompt": "p0", "better": "fp32", "worse": "w4a4"}],
        gold=[{"prompt": "p1", "better": "fp32", "worse": "w4a4"}],
        platform={"name": "prolific", "completion_code": "DONE1"},
    )
    set_status(database, "s", "paused")
    before = query(database, "SELECT load, side_balance, problems FROM pairs ORDER BY id")
    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter(link(settings, database))
        mark = "Preview: nothing here is counted"
        assert mark in (await visitor.client.get("/s/s/instructions")).text
        await visitor.begin()
        assert mark in (await visitor.client.get("/s/s/task")).text
        pair = visitor.queue.pop()["token"]
        report = {"assignment": pair, "problem": "image_missing", "tab_token": visitor.tab}
        assert (await visitor.post("api/report", {**report, "idempotency_key": "k" * 12})).is_success
        await visitor.begin()
        # A reported pair is replaced by one of its kind; there is no second gold pair.
        ((kind,),) = query(database, "SELECT kind FROM assignments WHERE state = 'reported'")
        trials = 10 if kind == "gold" else 11
        assert await visitor.vote_all() == trials, "practice, eight pairs, a gold pair and a check"
        thanks = await visitor.client.get("/s/s/thanks")
        assert mark in thanks.text and "DONE1" in thanks.text
    assert query(database, "SELECT load, side_balance, problems FROM pairs ORDER BY id") == before
    assert query(database, "SELECT COUNT(*) FROM votes") == [(trials,)]
    summary = export_votes(database, study="s", path=tmp_path / "v.csv")
    assert (summary.written, summary.rows_in_database) == (0, 0)
    assert query(database, "SELECT COUNT(*) FROM votes_table") == [(0,)]
    (row,) = list_studies(database)
    assert (row.valid_votes, row.sessions) == (0, 0)
    assert design_history(database, "s")[0].sessions == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_nobody_makes_a_preview_link_but_the_owner_and_each_opens_one_study(settings, database, make_study):
    make_study("s")
    make_study("other")
    set_status(database, "s", "closed")
    good = link(settings, database)
    async with serving(settings) as browser:
        for bad in ("?preview=1", good[:-1], link(settings, database, slug="other"), good.replace("preview:", "x:")):
            assert (await browser().get(f"/s/s{bad}")).status_code == 410, bad
        assert (await browser().get(f"/s/s{good}")).status_code == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_command_prints_a_link_that_the_server_takes(settings, database, make_study, monkeypatch):
    make_study()
    monkeypatch.setenv("QSCHED_SECRET_KEY", settings.secret_key.get_secret_value())
    words = ["study", "preview", "s", "--address", "http://127.0.0.1:8001/", "--db", settings.database_url]
    shown = CliRunner().invoke(app, words).output.strip()
    assert shown.startswith("http://127.0.0.1:8001/s/s?preview=preview:")
    assert shown.rpartition(":")[0] == ("http://127.0.0.1:8001/s/s" + link(settings, database)).rpartition(":")[0]

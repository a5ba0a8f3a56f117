"""Monitoring: alive, ready, numbers, and nothing without the token."""

from __future__ import annotations

from pydantic import SecretStr

from study_server.studies.ownership import set_status
from tests.study_server.visiting import Visitor, query, serving

TOKEN = SecretStr("a token of the tests")


async def test_a_server_without_its_pictures_is_not_healthy_unless_nobody_needs_them(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        client = browser()
        for path in ("/healthz", "/readyz"):
            assert (await client.get(path)).json() == {"status": "ok"}
        (settings.data_folder / "s").rename(settings.data_folder / "away")
        for path in ("/healthz", "/readyz"):
            answer = await client.get(path)
            assert answer.status_code == 503 and "study s" in answer.json()["error"]["message"]
        set_status(database, "s", "closed")
        assert (await client.get("/healthz")).status_code == 200


async def test_a_server_that_was_told_to_stop_is_alive_and_not_ready(settings, make_study):
    make_study()
    async with serving(settings) as browser:
        client = browser()
        client._transport.app.state.stopping = True
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503


async def test_numbers_are_for_whoever_has_the_token(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        assert (await browser().get("/metrics")).status_code == 404, "without a token there are none"
    async with serving(settings.model_copy(update={"metrics_token": TOKEN})) as browser:
        await (await Visitor(browser()).enter()).vote_all(limit=3)
        for headers in ({}, {"Authorization": "Bearer a token of others"}):
            assert (await browser().get("/metrics", headers=headers)).status_code == 404
        answer = await browser().get("/metrics", headers={"Authorization": f"Bearer {TOKEN.get_secret_value()}"})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert 'qsched_valid_votes{study="s"} 3.0' in lines and 'qsched_leased_pairs{study="s"} 2.0' in lines
    assert 'qsched_study_open{study="s"} 1.0' in lines
    assert query(database, "SELECT COUNT(*) FROM votes") == [(3,)]

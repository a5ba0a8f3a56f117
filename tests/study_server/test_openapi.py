"""The published description of the API: every route of the pair page, what it takes and what it answers."""

from __future__ import annotations

import pytest

from tests.study_server.visiting import Visitor, serving

CALLS = {
    "/s/{slug}/api/votes": "VoteAnswer",
    "/s/{slug}/api/session": "SessionAnswer",
    "/s/{slug}/api/undo": "UndoAnswer",
    "/s/{slug}/api/heartbeat": "HeartbeatAnswer",
    "/s/{slug}/api/report": "NextStep",
    "/s/{slug}/screening": "ScreeningResult",
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_description_names_what_each_call_takes_and_answers_and_no_page(settings, make_study):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        voted = await visitor.post("api/votes", visitor.ballot(visitor.queue[0]))
        description, voted = (await browser().get("/openapi.json")).json(), voted.json()
    for path, answer in CALLS.items():
        call = description["paths"][path]["post"]
        named = {(parameter["in"], parameter["name"]) for parameter in call["parameters"]}
        assert named == {("path", "slug"), ("header", "X-CSRF-Token"), ("cookie", "qsched-{study}")}
        assert call["requestBody"]["required"]
        success = call["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        assert success.endswith(f"/{answer}")
        for status in ("401", "403", "409", "422", "503"):
            problem = call["responses"][status]["content"]["application/json"]["schema"]["$ref"]
            assert problem.endswith("/ErrorBody")
    assert not {"/", "/s/{slug}", "/s/{slug}/consent", "/s/{slug}/task"} & description["paths"].keys()
    # What is described is what is sent.
    assert voted.keys() == description["components"]["schemas"]["VoteAnswer"]["properties"].keys()

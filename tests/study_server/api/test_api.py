"""The owner's API: who may call what, lists page by page, actions in the same log as those at the pages."""

from __future__ import annotations

import base64
import hashlib
import io

import polars as pl
import pytest

from study_server.api.tokens import DAY_MS, create_token, revoke_token
from tests.study_server.visiting import Visitor, query, serving


class Caller:
    """A script with a token."""

    def __init__(self, client, database, *scopes: str, name: str = "script") -> None:
        self.text, _ = create_token(database, name, scopes=scopes, days=30)
        self.client = client

    async def call(self, method: str, path: str, *, status: int = 200, **values):
        headers = {"authorization": f"Bearer {self.text}"}
        answer = await self.client.request(method, f"/api/v1{path}", headers=headers, **values)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json()


async def voted(browser, *links: str) -> None:
    for link in links:
        await (await Visitor(browser()).enter(link)).vote_all(lambda _: "left", limit=3)


async def test_an_owners_way_over_the_api_is_in_the_same_log(settings, database, make_study):
    design = make_study(votes_per_pair=2, pairs_per_annotator=None)
    async with serving(settings) as browser:
        await voted(browser, "?PROLIFIC_PID=anna&SESSION_ID=sub1", "")
        owner = Caller(browser(), database, "read", "manage", "people")
        assert [study["slug"] for study in (await owner.call("GET", "/studies"))["items"]] == ["s"]
        shown = await owner.call("GET", "/studies/s")
        assert shown["summary"]["valid_votes"] == 6 and shown["versions"][0]["sessions"] == 2
        progress = await owner.call("GET", "/studies/s/progress")
        assert sum(hour["votes"] for hour in progress["hours"]) == 6 and progress["funnel"][3]["people"] == 2
        people = (await owner.call("GET", "/studies/s/people"))["items"]
        assert [person["trials"] for person in people] == [3, 3]
        payments = (await owner.call("GET", "/studies/s/payments"))["items"]
        assert {row["platform_id"] for row in payments} == {"anna", ""} and "a-" not in str(payments)

        body = {"who": people[0]["pseudonym"], "reason": "pressed left"}
        done = await owner.call("POST", "/studies/s/exclusions", json=body)
        assert done["slots"] == 5 and done["pseudonym"] == people[0]["pseudonym"]
        again = await owner.call("POST", "/studies/s/exclusions", json=body, status=409)
        assert "excluded already" in again["error"]["message"]
        assert (await owner.call("GET", "/studies/s/people?only_excluded=true"))["items"][0]["excluded_reason"]
        await owner.call("POST", "/studies/s/inclusions", json={"who": people[0]["pseudonym"], "reason": "a mistake"})
        body = {"platform_id": "anna", "reason": "asked for it"}
        assert (await owner.call("POST", "/studies/s/exclusions", json=body))["pseudonym"] == people[1]["pseudonym"]

        changed = {**design.model_dump(mode="json"), "title": "Another title", "votes_per_pair": 3}
        update = {"design": changed, "set_id": shown["set_id"]}
        assert {one["key"] for one in (await owner.call("PUT", "/studies/s/design", json=update))["changes"]} == {
            "title",
            "votes_per_pair",
        }
        refused = {"design": {**changed, "questions": [{"id": "q", "text": "?"}]}, "set_id": shown["set_id"]}
        assert (
            "questions" in (await owner.call("PUT", "/studies/s/design", json=refused, status=409))["error"]["message"]
        )
        assert (await owner.call("PUT", "/studies/s/status", json={"status": "paused"}))["status"] == "paused"
        *log, created = (await owner.call("GET", "/log?study=s"))["items"]
    assert [action["action"] for action in log] == [
        "paused",
        "design changed",
        "excluded",
        "included again",
        "excluded",
        "payment list exported",
    ]
    assert {action["actor"] for action in log} == {"token script"} and created["action"] == "study created"


async def test_a_scope_opens_its_own_routes_only(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        await voted(browser, "?PROLIFIC_PID=anna")
        reader = Caller(browser(), database, "read", name="reader")
        manager = Caller(browser(), database, "manage", name="manager")
        people = Caller(browser(), database, "people", name="people")
        for path in ("/studies", "/studies/s", "/studies/s/counts", "/studies/s/reports", "/log"):
            await reader.call("GET", path)
            await manager.call("GET", path, status=403)
        for path in ("/studies/s/people", "/studies/s/payments"):
            await people.call("GET", path)
            assert "this needs people" in (await reader.call("GET", path, status=403))["error"]["message"]
        pause = {"json": {"status": "paused"}}
        await reader.call("PUT", "/studies/s/status", status=403, **pause)
        await people.call("PUT", "/studies/s/status", status=403, **pause)
        await manager.call("PUT", "/studies/s/status", **pause)
        # Whether somebody with this platform id takes part is not for those who may only manage.
        body = {"platform_id": "anna", "reason": "x"}
        await manager.call("POST", "/studies/s/exclusions", status=403, json=body)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_token_that_is_wrong_revoked_or_over_opens_nothing(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        client = browser()
        for header in ({}, {"authorization": "Bearer qsched_" + "x" * 43}, {"authorization": "Basic eDp5"}):
            answer = await client.get("/api/v1/studies", headers=header)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        script = Caller(client, database, "read")
        await script.call("GET", "/studies")
        used = query(database, "SELECT used_ms, token_hash FROM api_tokens")[0]
        assert used[0] is not None and script.text not in used[1]
        revoke_token(database, "script")
        await script.call("GET", "/studies", status=401)
        late = Caller(client, database, "read", name="late")
        with database.transaction() as tx:
            tx.command(f"UPDATE api_tokens SET expires_ms = expires_ms - {31 * DAY_MS} WHERE name = 'late'")
        await late.call("GET", "/studies", status=401)
        # A page's cookie is not a token, and a token opens no page.
        assert (await client.get("/admin", headers={"authorization": f"Bearer {late.text}"})).status_code == 303


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_pages_of_a_list_have_every_item_once(settings, database, make_study):
    for slug in ("a", "b", "c", "s"):
        make_study(slug)
    async with serving(settings) as browser:
        await voted(browser, *[""] * 5)
        owner = Caller(browser(), database, "read", "people")
        for path, expected in (("/studies", 4), ("/studies/s/people", 5), ("/studies/s/payments", 5)):
            found, cursor = [], ""
            while cursor is not None:
                page = await owner.call("GET", f"{path}?limit=2{cursor and f'&cursor={cursor}'}")
                assert len(page["items"]) <= 2
                found += [str(item) for item in page["items"]]
                cursor = page["next"]
            assert len(found) == expected
        await owner.call("GET", "/studies?cursor=x", status=422)
        await owner.call("GET", "/studies?limit=100000", status=422)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_export_comes_with_the_checksum_of_what_came(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        await voted(browser, "")
        owner = Caller(browser(), database, "read")
        headers = {"authorization": f"Bearer {owner.text}"}
        answer = await owner.client.get("/api/v1/studies/s/votes?format=parquet", headers=headers)
    digest = base64.b64encode(hashlib.sha256(answer.content).digest()).decode()
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert pl.read_parquet(io.BytesIO(answer.content)).height == 3
    assert query(database, "SELECT action, detail FROM owner_actions ORDER BY id DESC LIMIT 1") == [
        ("votes exported", "parquet")
    ]

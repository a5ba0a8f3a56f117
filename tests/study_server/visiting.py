"""What the tests of the server drive it with: an application with its lifespan, and a browser's behaviour."""

from __future__ import annotations

import asyncio
import re
import uuid
from contextlib import asynccontextmanager

import httpx

from study_server.app import create_app
from study_server.db.database import Database
from study_server.db.statements import Statement
from study_server.settings import ServerSettings


def query(database: Database, sql: str, **values):
    with database.transaction() as tx:
        return tx.all(Statement(sql), **values)


def votes(database: Database):
    """Every stored vote: (id, choice, supersedes_id, surplus_reason)."""
    return query(database, "SELECT id, choice, supersedes_id, surplus_reason FROM votes ORDER BY id")


@asynccontextmanager
async def serving(settings: ServerSettings):
    """The application with its lifespan; yields a maker of browsers."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 1234), raise_app_exceptions=False)
        clients = []

        def browser(*, cookies: httpx.Cookies | None = None) -> httpx.AsyncClient:
            client = httpx.AsyncClient(transport=transport, base_url="http://study.test", timeout=30, cookies=cookies)
            clients.append(client)
            return client

        yield browser
        for client in clients:
            await client.aclose()


class Visitor:
    """One annotator's browser: cookies, CSRF token, queue."""

    def __init__(self, client: httpx.AsyncClient, slug: str = "s") -> None:
        self.client, self.slug = client, slug
        self.csrf = self.tab = ""
        self.state: dict = {}
        self.queue: list[dict] = []

    async def enter(self, query: str = "", **fields):
        page = await self.client.get(f"/s/{self.slug}{query}")
        assert page.status_code == 200, page.text
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        answer = await self.client.post(
            f"/s/{self.slug}/consent", data={**hidden, "csrf": csrf, "consent": "yes", **fields}
        )
        assert answer.status_code == 303, answer.text
        page = await self.client.get(f"/s/{self.slug}/instructions")
        self.csrf = re.search(r'csrf-token" content="([^"]+)"', page.text)[1]
        return self

    async def post(self, path: str, body: dict, **headers) -> httpx.Response:
        return await self.client.post(
            f"/s/{self.slug}/{path}", json=body, headers={"X-CSRF-Token": self.csrf, **headers}
        )

    async def begin(self, **body):
        answer = await self.post("api/session", {"tab_token": self.tab or None, **body})
        assert answer.status_code == 200, answer.text
        self.state = answer.json()
        self.tab = self.state["tab_token"]
        self.queue = list(self.state["queue"])
        return self.state

    def ballot(self, assignment: dict, choice: str = "left", *, key: str | None = None, **more) -> dict:
        questions = self.state["study"]["questions"]
        return {
            "assignment": assignment["token"],
            "answers": {q["id"]: choice for q in questions},
            "response_ms": 900,
            "hidden_ms": 0,
            "idempotency_key": key or str(uuid.uuid4()),
            "tab_token": self.tab,
            **more,
        }

    async def vote(self, choice: str = "left") -> dict:
        """Vote on the head of the queue; a 503 (not saved) is tried again with the same key, as the page does."""
        ballot = self.ballot(self.queue.pop(0), choice)
        answer = await self.post("api/votes", ballot)
        for _ in range(5):
            if answer.status_code != 503:
                break
            answer = await self.post("api/votes", ballot)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        if body["next"]:
            self.queue.append(body["next"])
        self.queue.extend(body["more"])
        return body

    async def vote_all(self, choose=lambda assignment: "left", *, limit: int = 10_000, wait: float | None = 0.1) -> int:
        """Vote until the study says that it is finished; returns how many votes were given.

        Where every open pair is with others, ask again after `wait` seconds, or leave with wait=None.
        """
        if not self.state:
            await self.begin()
        given = 0
        while given < limit:
            if not self.queue:
                await self.begin()
                if self.state["state"] in ("finished", "closed"):
                    break
                if not self.queue:
                    if wait is None:
                        break
                    await asyncio.sleep(wait)
                continue
            await self.vote(choose(self.queue[0]))
            given += 1
        return given

"""An owner's browser, for tests: signs in, reads pages, sends their forms."""

from __future__ import annotations

import re

import httpx

from study_server.admin.accounts import create_account
from study_server.db.database import Database

PASSWORD = "correct horse battery"


class OwnerBrowser:
    """A browser with the cookie of an owner."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def sign_in(self, name: str = "jane", password: str = PASSWORD) -> httpx.Response:
        page = await self.client.get("/admin/sign-in")
        return await self.client.post(
            "/admin/sign-in", data={"csrf": csrf_of(page.text), "name": name, "password": password, "to": "/admin"}
        )

    async def page(self, path: str) -> str:
        """The text of a page below /admin that must be there."""
        answer = await self.client.get(f"/admin{path}")
        assert answer.status_code == 200, (answer.status_code, answer.text[:2000])
        return answer.text

    async def act(self, path: str, *, on: str = "", **fields: str) -> httpx.Response:
        """Send a form of the page `on` to a path below /admin."""
        return await self.client.post(f"/admin{path}", data={"csrf": csrf_of(await self.page(on)), **fields})


async def signed_in(client: httpx.AsyncClient, database: Database, *, role: str = "owner") -> OwnerBrowser:
    """An account of that role, named after it, and its browser."""
    create_account(database, role, role=role, password=PASSWORD)
    browser = OwnerBrowser(client)
    answer = await browser.sign_in(role)
    assert answer.status_code == 303, answer.text
    return browser


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None, "the page has no form"
    return found[1]

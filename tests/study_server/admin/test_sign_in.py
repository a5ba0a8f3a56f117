"""Signing in as an owner: who comes in, for how long, and who is kept out."""

from __future__ import annotations

import sqlite3

import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.errors import InputError
from study_server.admin import sign_in
from study_server.admin.accounts import create_account, list_accounts, remove_account, set_password
from study_server.running.serving import Launch, is_single_user
from tests.study_server.admin.owning import PASSWORD, OwnerBrowser, csrf_of, signed_in
from tests.study_server.visiting import Visitor, query, serving

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_who_is_not_signed_in_is_sent_to_the_form_and_back_to_the_page(settings, database, make_study):
    make_study()
    create_account(database, "jane", role="owner", password=PASSWORD)

    async with serving(settings) as browser:
        client = browser()
        asked = await client.get("/admin/studies/s")
        assert asked.status_code == 303 and asked.headers["location"] == "/admin/sign-in?to=/admin/studies/s"
        form = await client.get(asked.headers["location"])
        answer = await client.post(
            "/admin/sign-in",
            data={"csrf": csrf_of(form.text), "name": " Jane", "password": PASSWORD, "to": "/admin/studies/s"},
        )
        assert answer.status_code == 303 and answer.headers["location"] == "/admin/studies/s"
        cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith("qsowner="))
        assert "HttpOnly" in cookie and "SameSite=lax" in cookie
        assert (await client.get("/admin")).status_code == 200
    stored = query(database, "SELECT token_hash FROM owner_sign_ins")[0][0]
    assert stored not in cookie, "the database must not hold what opens the pages"


@pytest.mark.parametrize("to", ["https://elsewhere.example", "//elsewhere.example", "/admin/../s/s", "/admin\\@x"])
async def test_signing_in_never_leads_to_another_server(settings, database, to):
    create_account(database, "jane", role="owner", password=PASSWORD)
    async with serving(settings) as browser:
        client = browser()
        form = await client.get("/admin/sign-in", params={"to": to})
        fields = {"csrf": csrf_of(form.text), "name": "jane", "password": PASSWORD, "to": to}
        assert (await client.post("/admin/sign-in", data=fields)).headers["location"] == "/admin"


async def test_a_wrong_password_and_an_unknown_name_get_the_same_words_and_attempts_run_out(settings, database):
    create_account(database, "jane", role="owner", password=PASSWORD)
    async with serving(settings) as browser:
        owner = OwnerBrowser(browser())
        answers = [await owner.sign_in(name, "wrong, wrong, wrong") for name in ("jane", "nobody")]
        assert [answer.status_code for answer in answers] == [401, 401]
        words = "This name and password do not belong together."
        assert all(words in answer.text for answer in answers)
        for _ in range(3):
            await owner.sign_in("jane", "guess after guess")
        refused = await owner.sign_in()
        assert refused.status_code == 429 and "wait a minute" in refused.text, "the right password does not help"
    assert query(database, "SELECT COUNT(*) FROM owner_sign_ins") == [(0,)]


async def test_a_flood_keeps_nobody_out_who_has_signed_in_from_this_browser_before(settings, database):
    create_account(database, "jane", role="owner", password=PASSWORD)
    async with serving(settings) as browser:
        jane, stranger = OwnerBrowser(browser()), OwnerBrowser(browser())
        assert (await jane.sign_in()).status_code == 303
        for _ in range(6):
            flooded = await stranger.sign_in("jane", "guess after guess")
        assert flooded.status_code == 429
        # The same address, which has no attempt left.
        assert (await jane.sign_in()).status_code == 303
        # The cookie is for one name, and for five attempts per minute.
        assert (await jane.sign_in("john", "guess after guess")).status_code == 429
        guesses = [(await jane.sign_in("jane", "guess after guess")).status_code for _ in range(6)]
        assert guesses[0] == 401 and guesses[-1] == 429


async def test_a_form_without_its_token_does_nothing(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        for csrf in ("", "x" * 24, csrf_of((await browser().get("/admin/sign-in")).text)):
            answer = await owner.client.post("/admin/studies/s/status", data={"csrf": csrf, "status": "closed"})
            assert answer.status_code == 403
    assert query(database, "SELECT status FROM studies") == [("open",)]


async def test_a_viewer_sees_everything_and_changes_nothing(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        viewer = await signed_in(browser(), database, role="viewer")
        assert "viewer" in await viewer.page("/studies/s")
        answer = await viewer.act("/studies/s/status", on="/studies/s", status="closed")
        assert answer.status_code == 403 and "only an owner may change" in answer.text
    assert query(database, "SELECT status FROM studies") == [("open",)]


@pytest.mark.parametrize(("idle", "age"), [(sign_in.IDLE_MS + 1, 0), (0, sign_in.LONGEST_MS + 1)])
async def test_a_sign_in_ends_by_itself(settings, database, idle, age):
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        assert (await owner.client.get("/admin")).status_code == 200
        with database.transaction() as tx:
            tx.command(f"UPDATE owner_sign_ins SET seen_ms = seen_ms - {idle}, started_ms = started_ms - {age}")
        assert (await owner.client.get("/admin")).status_code == 303


async def test_signing_out_a_new_password_and_removal_end_a_sign_in(settings, database):
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        await owner.act("/sign-out")
        assert (await owner.client.get("/admin")).status_code == 303
        await owner.sign_in("owner")
        set_password(database, "owner", "another good password")
        assert (await owner.client.get("/admin")).status_code == 303
        await owner.sign_in("owner", "another good password")
        assert (await owner.client.get("/admin")).status_code == 200
        remove_account(database, "owner")
        assert (await owner.client.get("/admin")).status_code == 303


async def test_an_annotators_cookie_opens_no_owners_page(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        token = next(cookie.value for cookie in visitor.client.cookies.jar if cookie.name.startswith("qsched-"))
        visitor.client.cookies.set("qsowner", token)
        assert (await visitor.client.get("/admin")).status_code == 303


async def test_the_printed_link_opens_the_pages_while_its_server_runs(settings, database):
    key = "k" * 43
    single = settings.model_copy(update={"owner_key": SecretStr(key)})
    async with serving(single) as browser:
        owner = OwnerBrowser(browser())
        assert (await owner.client.get("/admin/enter", params={"key": "j" * 43})).status_code == 403
        answer = await owner.client.get("/admin/enter", params={"key": key})
        assert answer.status_code == 303 and answer.headers["location"] == "/admin"
        assert "the printed link" in await owner.page("")
        cookies = owner.client.cookies
    async with serving(settings) as browser:  # the same database, served without single-user mode
        assert (await browser(cookies=cookies).get("/admin")).status_code == 303


def test_single_user_mode_needs_this_machine_alone_and_no_account(database):
    def launch(**values):
        given = {"host": "127.0.0.1", "secure_cookies": False, **values}
        names = [name for name in Launch.__dataclass_fields__ if name not in given]
        return Launch(**given, **dict.fromkeys(names))

    assert is_single_user(launch(), database) and is_single_user(launch(host="::1"), database)
    assert not is_single_user(launch(host="0.0.0.0"), database)
    assert not is_single_user(launch(host="study.example"), database)
    assert not is_single_user(launch(secure_cookies=True), database), "a proxy brings strangers"
    create_account(database, "jane", role="viewer", password=PASSWORD)
    assert not is_single_user(launch(), database)


def test_accounts_are_made_listed_and_refused_at_the_command_line(database, settings, tmp_path):
    def call(*words, text=""):
        return CliRunner().invoke(app, ["admin", *words, "--db", settings.database_url], input=text)

    assert call("create", "jane", "--password-stdin", text=f"{PASSWORD}\n").exit_code == 0
    with pytest.raises(InputError, match="12 to 256"):
        create_account(database, "joe", role="owner", password="short")
    with pytest.raises(InputError, match="exists"):
        create_account(database, "jane", role="owner", password=PASSWORD)
    with pytest.raises(InputError, match="not one of owner, viewer"):
        create_account(database, "joe", role="boss", password=PASSWORD)
    with pytest.raises(InputError, match="not a name"):
        create_account(database, "Joe Doe", role="owner", password=PASSWORD)
    assert "jane  owner" in call("list").output
    stored = sqlite3.connect(tmp_path / "study.db").execute("SELECT password_hash FROM owners").fetchone()[0]
    assert stored.startswith("$argon2id$") and PASSWORD not in stored
    assert call("remove", "jane").exit_code == 0 and list_accounts(database) == []
    actions = query(database, "SELECT actor, action, detail FROM owner_actions ORDER BY id")
    assert [action for _, action, _ in actions] == ["account created", "account removed"]


def test_passwords_are_hashed_with_the_parameters_of_the_library(product_hasher, database):
    def work(hasher):
        return hasher.type, hasher.time_cost, hasher.memory_cost, hasher.parallelism, hasher.hash_len, hasher.salt_len

    assert work(product_hasher) == work(PasswordHasher())
    assert product_hasher.memory_cost >= 19 * 1024 and product_hasher.time_cost >= 2, "the least that OWASP asks for"

"""Cookies, CSRF, limits, headers, secrets: what a stranger on the internet may try."""

from __future__ import annotations

import json
import re
import stat

import pytest
from pydantic import ValidationError

from qsched.errors import InputError
from study_server.errors import NotFound
from study_server.owner import make_settings
from study_server.settings import ServerSettings
from study_server.web.limits import address_group
from study_server.web.security import Keyring, read_or_make_secret
from tests.study_server.visiting import Visitor, query, serving


async def test_a_call_without_cookie_or_token_is_refused(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        ballot = visitor.ballot(visitor.queue[0])
        stranger = await browser().post("/s/s/api/votes", json=ballot, headers={"X-CSRF-Token": visitor.csrf})
        assert (stranger.status_code, stranger.json()["error"]["code"]) == (401, "session_expired")
        for token in ("", "wrong", visitor.csrf[:-1]):
            answer = await visitor.post("api/votes", ballot, **{"X-CSRF-Token": token})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "csrf")
        consent = await browser().post("/s/s/consent", data={"consent": "yes", "csrf": "x"})
        assert consent.status_code == 403
    assert query(database, "SELECT COUNT(*) FROM votes") == [(0,)]


async def test_cookies_are_signed_http_only_and_same_site(settings, make_study):
    make_study()

    async with serving(settings.model_copy(update={"secure_cookies": True})) as browser:
        client = browser()
        page = await client.get("/s/s")
        client.cookies.set("qsched_csrf", page.cookies["qsched_csrf"], domain="study.test")
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
        answer = await client.post("/s/s/consent", data={"csrf": csrf, "consent": "yes"})
        (form,) = page.headers.get_list("set-cookie")
        assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/s/s"} <= set(form.split("; "))
        session = answer.headers.get_list("set-cookie")[0]
        assert session.startswith("__Host-qsched-")
        assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/"} <= set(session.split("; "))
        assert "Domain" not in session


async def test_declining_stores_nothing(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        client = browser()
        csrf = re.search(r'name="csrf" value="([^"]+)"', (await client.get("/s/s")).text)[1]
        answer = await client.post("/s/s/consent", data={"csrf": csrf, "consent": "no"})
        assert answer.status_code == 200 and not any(name.startswith("qsched-") for name in answer.cookies)
    assert query(database, "SELECT COUNT(*) FROM annotators") == [(0,)]


async def test_simulated_annotators_are_refused_unless_allowed_and_marked_when_they_are(settings, make_study, database):
    make_study()

    async with serving(settings.model_copy(update={"allow_simulated": False})) as browser:
        client = browser()
        csrf = re.search(r'name="csrf" value="([^"]+)"', (await client.get("/s/s?simulated=1")).text)[1]
        answer = await client.post("/s/s/consent", data={"csrf": csrf, "consent": "yes", "simulated": "1"})
        assert answer.status_code == 403
    async with serving(settings) as browser:
        await (await Visitor(browser()).enter("?simulated=1")).vote_all(limit=1)
        await (await Visitor(browser()).enter()).vote_all(limit=1)
    assert sorted(bool(row[0]) for row in query(database, "SELECT simulated FROM votes_table")) == [False, True]


async def test_a_flood_from_one_session_is_slowed_down_and_others_are_not(settings, make_study):
    make_study()
    strict = settings.model_copy(update={"allow_simulated": False, "request_burst": 5, "requests_per_second": 0.1})

    async with serving(strict) as browser:
        loud, quiet = await Visitor(browser()).enter(), await Visitor(browser()).enter()
        await loud.begin()
        answers = [await loud.post("api/heartbeat", {"tab_token": loud.tab}) for _ in range(8)]
        assert [answer.status_code for answer in answers].count(429) == 4
        assert answers[-1].headers["retry-after"] == "1"
        await quiet.begin()


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(settings, make_study):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()

        async def endless():
            for _ in range(1000):
                yield b"x" * 65536

        async def send(content, kind="application/json"):
            headers = {"X-CSRF-Token": visitor.csrf, "Content-Type": kind}
            return (await visitor.client.post("/s/s/api/votes", content=content, headers=headers)).status_code

        assert await send(endless()) == 413
        assert await send(b'{"assignment": ') == 422
        assert await send(b"[" * 50_000) == 422
        # A form of another site can send this without asking; it can not send JSON.
        assert await send(json.dumps(visitor.ballot(visitor.queue[0])), "text/plain") == 422


async def test_every_page_has_the_strict_headers_and_no_inline_script(settings, make_study):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        pages = [await visitor.client.get(path) for path in ("/", "/s/s/instructions", "/s/s/task", "/no", "/s/no")]
        for page in pages:
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
            assert page.headers["x-content-type-options"] == "nosniff"
            assert page.headers["cache-control"] == "no-store"
            assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|\son\w+=|style=", page.text), page.url
        assert [page.status_code for page in pages] == [200, 200, 200, 404, 404]


async def test_the_api_has_the_strict_headers_also_where_it_fails(settings, make_study, monkeypatch):
    make_study()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        stored = await visitor.post("api/session", {})
        refused = await browser().post("/s/s/api/votes", json={})
        monkeypatch.setattr("study_server.voting.sessions.open_session", None)
        broken = await visitor.post("api/session", {})
        wrong_method = await browser().get("/s/s/api/votes")
        answers = stored, refused, broken, wrong_method
    assert [answer.status_code for answer in answers] == [200, 401, 500, 405]
    assert "went wrong" in answers[2].json()["error"]["message"], "no detail of the failure reaches the browser"
    for answer in answers:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


async def test_no_address_and_no_browser_name_is_stored(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        client = browser()
        client.headers["User-Agent"] = "Tell-Tale/1.0"
        await (await Visitor(client).enter()).vote_all(limit=3)
    import sqlalchemy as sa

    tables = sa.inspect(database.engine).get_table_names()
    everything = "".join(str(query(database, f"SELECT * FROM {table}")) for table in tables)
    assert "192.0.2.7" not in everything and "Tell-Tale" not in everything


def test_the_secret_is_made_once_for_its_owner_only_and_is_never_a_default(tmp_path, monkeypatch):
    monkeypatch.delenv("QSCHED_SECRET_KEY", raising=False)
    path = tmp_path / "study.db.secret"
    first = read_or_make_secret(path)
    assert first == read_or_make_secret(path) and len(first) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_or_make_secret(tmp_path / "other.secret") != first
    with pytest.raises(InputError, match="QSCHED_SECRET_KEY"):
        make_settings(database_url="postgresql://nobody@localhost/none")
    with pytest.raises(ValidationError, match="32 characters"):
        ServerSettings(database_url=f"sqlite:///{path}", data_folder=tmp_path, secret_key="short")
    literal = {"metrics_token": "${QSCHED_METRICS_TOKEN:-}"}, {"secret_key": "${QSCHED_SECRET_KEY:?set it in .env}"}
    for known_to_all in literal:
        with pytest.raises(ValueError, match="a variable was not expanded"):
            ServerSettings(
                **{"database_url": f"sqlite:///{path}", "data_folder": tmp_path, "secret_key": "s" * 40} | known_to_all
            )
    settings = ServerSettings(database_url=f"sqlite:///{path}", data_folder=tmp_path, secret_key="s" * 40)
    assert "ssss" not in repr(settings)


def test_a_seal_opens_only_with_its_key_and_purpose():
    keys, others = Keyring("a" * 40), Keyring("b" * 40)
    sealed = keys.seal("assignment", 7, 2**62)
    assert keys.unseal("assignment", sealed, 2) == (7, 2**62)
    for ring, purpose in ((others, "assignment"), (keys, "vote")):
        with pytest.raises(NotFound):
            ring.unseal(purpose, sealed, 2)
    for position in range(len(sealed)):
        flipped = sealed[:position] + ("A" if sealed[position] != "A" else "B") + sealed[position + 1 :]
        if flipped[-1] == sealed[-1]:
            with pytest.raises(NotFound):
                keys.unseal("assignment", flipped, 2)


@pytest.mark.parametrize(
    "url", ["mysql://localhost/x", "sqlite://", "sqlite:///:memory:", "nonsense", "postgres ql://"], ids=str
)
def test_a_database_that_is_not_supported_is_named(url, tmp_path):
    with pytest.raises(InputError):
        make_settings(database_url=url)


@pytest.mark.parametrize("database_url", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_no_platform_id_reaches_the_log_when_the_database_refuses_a_row(database, make_study, caplog):
    import psycopg

    from study_server.writing.committer import describe

    make_study()
    insert = (
        "INSERT INTO platform_identities (study_id, annotator_id, platform, external_id) "
        "VALUES ({study}, {annotator}, 'prolific', 'PID-OF-A-PERSON')"
    )
    with database.transaction() as tx:
        tx.command("INSERT INTO annotators (study_id, pseudonym, created_ms) SELECT id, 'a', 0 FROM studies")
    values = {"study": "(SELECT id FROM studies)", "annotator": "(SELECT id FROM annotators)"}
    with pytest.raises(psycopg.Error) as caught, database.transaction() as tx:
        tx.command(insert.format(**values))
        tx.command(insert.format(**values))
    assert "PID-OF-A-PERSON" in str(caught.value), "the driver's own message quotes the row"
    assert "PID-OF-A-PERSON" not in describe(caught.value)
    assert "uq_platform_identities" in describe(caught.value)


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("postgresql://owner:hunter2-password@host/db", "too short"),
        ("postgresql:/owner:hunter2-password@host/db", "x" * 40),
        ("mysql://owner:hunter2-password@host/db", "x" * 40),
        ("postgresql://owner:hunter2-password@host:notaport/db", "x" * 40),
    ],
    ids=["short secret", "mistyped", "unknown", "port"],
)
def test_no_message_shows_the_databases_password(url, secret, monkeypatch):
    from qsched.errors import InputError
    from study_server.owner import existing_database, make_settings
    from study_server.settings import SECRET_VARIABLE

    monkeypatch.setenv(SECRET_VARIABLE, secret)
    for attempt in (lambda: make_settings(database_url=url), lambda: existing_database(url)):
        try:
            attempt()
        except InputError as error:
            assert "hunter2" not in str(error)


def test_one_persons_many_addresses_count_as_one():
    assert address_group("2001:db8::1") == address_group("2001:db8::ffff:2") != address_group("2001:db8:0:1::1")
    assert address_group("192.0.2.1") != address_group("192.0.2.2")

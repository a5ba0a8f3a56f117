"""The commands with --server do what they do with --db, and the token stays where others cannot read it."""

from __future__ import annotations

import httpx
import polars as pl
import pytest
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.client import ApiError, RemoteOwner, read_token
from qsched.client.remote import checked_address
from qsched.errors import InputError, IntegrityError
from qsched.records.owner_api import ForgetRequest
from study_server.api.tokens import create_token
from study_server.local import LocalOwner
from tests.study_server.live import listening
from tests.study_server.visiting import Visitor, query, serving

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def remote(anyio_backend, settings, database, make_study):
    """A server elsewhere with a study of two people, and a token for everything."""
    make_study(votes_per_pair=2, platform={"name": "prolific", "completion_code": "DONE"})

    async with serving(settings) as browser:
        for name in ("anna", "ben"):
            visitor = await Visitor(browser()).enter(f"?PROLIFIC_PID={name}&SESSION_ID=sub-{name}")
            await visitor.vote_all(lambda _: "left", limit=4)
    text, _ = create_token(database, "laptop", scopes=["read", "manage", "people"], days=1)
    with listening(settings) as address:
        yield address, text


def test_the_same_words_come_from_the_server_as_from_the_database(remote, settings, database, tmp_path, monkeypatch):
    address, token = remote
    monkeypatch.setenv("QSCHED_TOKEN", token)

    def call(*words):
        outputs = []
        for where in (("--server", address), ("--db", settings.database_url)):
            done = CliRunner().invoke(app, [*words, *where])
            assert done.exit_code == 0, (words, done.output, done.exception)
            outputs.append(done.output)
        return outputs

    for words in (["list"], ["show", "s"], ["progress", "s"], ["history", "s"], ["people", "s"]):
        there, here = call("study", *words)
        assert there == here and len(here) > 20
    lists = []
    for where in (("--server", address), ("--db", settings.database_url)):
        out = tmp_path / f"{where[0]}.csv"
        assert CliRunner().invoke(app, ["study", "people", "s", "--out", str(out), *where]).exit_code == 0
        assert out.stat().st_mode & 0o077 == 0
        lists.append(out.read_text())
    assert lists[0] == lists[1] and "sub-anna" in lists[0]

    files = [tmp_path / "there.parquet", tmp_path / "here.parquet"]
    for file, where in zip(files, (("--server", address), ("--db", settings.database_url)), strict=True):
        assert CliRunner().invoke(app, ["votes", "export", str(file), "--study", "s", *where]).exit_code == 0
    assert pl.read_parquet(files[0]).equals(pl.read_parquet(files[1]))

    def act(*words):
        done = CliRunner().invoke(app, ["study", *words, "--server", address])
        assert done.exit_code == 0, (words, done.output, done.exception)
        return done.output

    assert "6 slots are open again" in act("exclude", "s", "--platform-id", "ben", "--reason", "all left")
    assert "is included again" in act("include", "s", "--platform-id", "ben", "--reason", "no")
    assert "study s is paused" in act("pause", "s")
    assert "token laptop" in act("log", "s").splitlines()[0]
    assert query(database, "SELECT status FROM studies") == [("paused",)]


def test_links_pairs_and_deletions_come_from_the_server_as_from_the_database(
    settings, database, make_study, tmp_path, monkeypatch
):
    make_study(votes_per_pair=2, platform={"name": "personal"})
    query(database, "UPDATE pairs SET disabled = true, problems = 3 WHERE id IN (SELECT min(id) FROM pairs)")
    text, _ = create_token(database, "laptop", scopes=["read", "manage", "people"], days=1)
    monkeypatch.setenv("QSCHED_TOKEN", text)
    monkeypatch.setenv("QSCHED_SECRET_KEY", settings.secret_key.get_secret_value())
    with listening(settings) as address:
        places = {"there": ("--server", address), "here": ("--db", settings.database_url, "--address", address)}

        def act(*words, where="there", code=0):
            place = places[where] if words[0] in ("links", "preview") else places[where][:2]
            done = CliRunner().invoke(app, ["study", *words, *place])
            assert done.exit_code == code, (words, done.output, done.exception)
            return done.output

        files = {}
        for where in places:
            files[where] = tmp_path / f"{where}.csv"
            act("links", "s", "--count", "2", "--out", str(files[where]), where=where)
            assert files[where].stat().st_mode & 0o077 == 0
            # A link made on either side lets a person in.
            link = files[where].read_text().splitlines()[1].partition(",")[2]
            assert link.startswith(f"{address}/s/s?t=")
            assert httpx.get(link, follow_redirects=True).status_code == 200
            walk = act("preview", "s", where=where).strip()
            assert "review" in httpx.get(walk, follow_redirects=True).text
        assert (
            act("revoke", "s", str(files["there"]))
            == "2 links are revoked; 0 were used and go on; 0 were revoked before\n"
        )
        assert "2 were revoked before" in act("revoke", "s", str(files["there"]), where="here")

        assert act("pairs", "s") == act("pairs", "s", where="here") != ""
        assert act("pairs", "s").endswith("3 reports  taken out\n")
        assert "add --enable" in str(
            CliRunner().invoke(app, ["study", "pairs", "s", "--pair", "x", *places["there"]]).exception
        )
        assert "1 pairs of study s are handed out again" in act("pairs", "s", "--enable")
        assert query(database, "SELECT count(*) FROM pairs WHERE disabled") == [(0,)]

        with RemoteOwner(address, text) as owner, pytest.raises(ApiError, match="404"):
            owner.forget("s", ForgetRequest(who="a-000000000000"))
    log = [action for (action,) in query(database, "SELECT action FROM owner_actions ORDER BY id")]
    assert log.count("personal links made") == 2 and "pairs enabled" in log


def test_a_deletion_over_the_api_needs_the_scope_people(remote, database):
    address, token = remote
    narrow, _ = create_token(database, "narrow", scopes=["read", "manage"], days=1)
    with RemoteOwner(address, narrow) as owner, pytest.raises(ApiError, match="scope"):
        owner.forget("s", ForgetRequest(platform_id="ben"))
    with RemoteOwner(address, token) as owner:
        done = owner.forget("s", ForgetRequest(platform_id="ben"))
        assert done.votes == 4 and done.kept == 0
        assert "ben" not in {payment.platform_id for payment in owner.payments("s")}


def test_both_sides_have_every_method_of_an_owner(database_url):
    from qsched.client import Owner

    names = {name for name in vars(Owner) if not name.startswith("_")}
    assert names and names <= set(dir(LocalOwner)) and names <= set(dir(RemoteOwner))


def test_a_token_is_never_read_from_a_file_that_others_can_read(tmp_path, database_url):
    file = tmp_path / "token"
    file.write_text("qsched_x\n")
    file.chmod(0o640)
    with pytest.raises(InputError, match=r"0640.*chmod 600"):
        read_token({"QSCHED_TOKEN_FILE": str(file)})
    file.chmod(0o600)
    assert read_token({"QSCHED_TOKEN_FILE": str(file)}) == "qsched_x"
    with pytest.raises(InputError, match="qsched admin token create"):
        read_token({})


def test_a_token_travels_over_https_or_on_this_machine_only(database_url):
    assert checked_address("https://study.example/") == "https://study.example"
    assert checked_address("http://127.0.0.1:8000") and checked_address("http://[::1]:8000")
    for address, words in (
        ("http://study.example", "everybody on the way"),
        ("study.example", "not an address"),
        ("https://jane:secret@study.example", "name or password"),
    ):
        with pytest.raises(InputError, match=words):
            checked_address(address)


def test_answers_that_are_wrong_are_said_and_calls_that_may_pass_are_repeated(tmp_path, database_url, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path))
        if request.url.path.endswith("/votes"):
            return httpx.Response(200, content=b"half a file", headers={"repr-digest": "sha-256=:AAAA:"})
        if request.method == "PUT":
            return httpx.Response(503, json={"error": {"code": "not_saved", "message": "not saved, trying again"}})
        if len(seen) < 3:
            return httpx.Response(429, headers={"retry-after": "1"})
        return httpx.Response(200, content=b"<html>")

    owner = RemoteOwner("https://study.example", "t", transport=httpx.MockTransport(answer))
    with pytest.raises(ApiError, match="is it a study server"):
        owner.study("a/b")
    assert [path for _, path in seen] == ["/api/v1/studies/a/b"] * 3
    with pytest.raises(ApiError, match="not saved"):
        owner.set_status("s", "paused")
    assert len(seen) == 4, "a change is sent once"
    with pytest.raises(IntegrityError, match="nothing was written"):
        owner.export_votes("s", tmp_path / "votes.csv")
    assert list(tmp_path.iterdir()) == []

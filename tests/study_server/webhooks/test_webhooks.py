"""Webhooks: signed as the standard says, sent until they arrive, nowhere private, and never in the way of a vote."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from study_server.db import Reader
from study_server.errors import BadRequest
from study_server.studies.events import EVENTS, FINISHED, PAUSED, QUALITY, TEST
from study_server.studies.ownership import set_status
from study_server.webhooks import outbox, sending
from study_server.webhooks.addresses import AddressRefused, check_url, is_public, resolve
from study_server.webhooks.endpoints import create_webhook, latest_deliveries, remove_webhook, send_test
from study_server.webhooks.outbox import AttemptOutcome, claim_due, note_outcome
from study_server.webhooks.signing import signature
from study_server.webhooks.watching import Watch, tell
from tests.study_server.admin.owning import signed_in
from tests.study_server.visiting import Visitor, query, serving

HERE = {"allow_private": True, "by": "test", "study": None}
ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@contextmanager
def receiver(*statuses: int):
    """A receiver on this machine: its address, and what it got. Answers the statuses in turn, then 204."""
    got: list[tuple[dict[str, str], str]] = []
    answers = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(answers.pop(0) if answers else 204)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", got
    finally:
        server.shutdown()
        server.server_close()


def make(database, url: str, events=tuple(EVENTS), **more) -> tuple[int, str]:
    with database.transaction() as tx:
        return create_webhook(tx, url=url, events=events, **{**HERE, **more})


def deliveries(database):
    with database.transaction() as tx:
        return latest_deliveries(tx)


async def until(condition, seconds: float = 20.0) -> None:
    for _ in range(round(seconds / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen")


def test_the_signature_is_the_one_of_the_standards_example():
    made = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body='{"test": 2432232314}',
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_what_happens_to_a_study_arrives_once_and_signed(settings, database, make_study):
    make_study(votes_per_pair=1)
    with receiver() as (url, got):
        _, secret = make(database, url)
        make(database, url, [PAUSED], study=None)
        async with serving(settings) as browser:
            await (await Visitor(browser()).enter()).vote_all(lambda _: "left")
            await until(lambda: len(got) >= 2)
            set_status(database, "s", "paused")
            set_status(database, "s", "paused")
            await until(lambda: len(got) >= 4)
            await asyncio.sleep(1.0)
    received = [json.loads(body) for _, body in got]
    events = sorted(one["type"] for one in received)
    assert events == [FINISHED, PAUSED, PAUSED, QUALITY], "left throughout, and each webhook its own"
    finished = next(one for one in received if one["type"] == FINISHED)
    assert finished["data"] == {"study": "s", "valid_votes": 18} and finished["timestamp"].endswith("Z")
    (alarm,) = (one["data"] for one in received if one["type"] == QUALITY)
    assert "under 1.5 s per pair" in alarm["remarks"], "sent as soon as there is enough work to look at"
    headers, body = next((h, b) for h, b in got if FINISHED in b)
    expected = signature(
        secret, message_id=headers["webhook-id"], timestamp=int(headers["webhook-timestamp"]), body=body
    )
    assert headers["webhook-signature"] == expected
    assert {(one.state, one.attempts) for one in deliveries(database)} == {("delivered", 1)}


@ONE
async def test_a_receiver_that_fails_gets_the_same_event_again_and_one_that_is_gone_nothing(
    settings, database, make_study, monkeypatch
):
    monkeypatch.setattr(outbox, "PAUSES", (0.1, 0.1))
    make_study()
    with receiver(500, 302, 204, 500, 500, 500) as (url, got), receiver(410) as (gone, refused):
        number, _ = make(database, url)
        off, _ = make(database, gone)
        async with serving(settings):
            with database.transaction() as tx:
                send_test(tx, number=number, by="test")
                send_test(tx, number=off, by="test")
            await until(lambda: len(got) == 3 and refused)
            assert len({headers["webhook-id"] for headers, _ in got}) == 1, "one event, known by its id"
            await until(lambda: query(database, "SELECT disabled_ms FROM webhooks WHERE id = :id", id=off)[0][0])
            set_status(database, "s", "paused")
            await until(lambda: {one.state for one in deliveries(database)} == {"delivered", "failed"})
    given_up = next(one for one in deliveries(database) if one.event == PAUSED)
    assert (given_up.state, given_up.attempts, given_up.status) == ("failed", 3, 500)
    assert len(refused) == 1 and "webhook switched off" in str(query(database, "SELECT action FROM owner_actions"))


async def test_a_server_that_dies_while_it_sends_leaves_the_event_to_be_sent_again(settings, database, make_study):
    """The claim is what is stored before the request: whoever starts next sends the event when the claim is over."""
    make_study()
    with receiver() as (url, got):
        number, _ = make(database, url)
        with database.transaction() as tx:
            send_test(tx, number=number, by="test")
        with database.transaction() as tx:
            (due,) = claim_due(tx, limit=10)  # then kill -9, before or after the receiver got it
        with database.transaction() as tx:
            assert claim_due(tx, limit=10) == (), "nobody else sends it meanwhile"
            tx.command(f"UPDATE webhook_deliveries SET due_ms = due_ms - {outbox.CLAIM_MS}")
        async with serving(settings):
            await until(lambda: len(got) == 1)
            await until(lambda: deliveries(database)[0].state == "delivered")
    assert got[0][0]["webhook-id"] == due.message_id and deliveries(database)[0].attempts == 2


@ONE
async def test_a_receiver_that_never_answers_holds_up_no_vote(settings, database, make_study, monkeypatch):
    monkeypatch.setattr(sending, "SECONDS", 1.0)
    make_study()
    silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(60), "127.0.0.1", 0)
    number, _ = make(database, f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/")
    async with serving(settings) as browser:
        for _ in range(20):
            with database.transaction() as tx:
                send_test(tx, number=number, by="test")
        visitor = await Visitor(browser()).enter()
        began = asyncio.get_running_loop().time()
        await visitor.vote_all(lambda _: "left", limit=5)
        assert asyncio.get_running_loop().time() - began < 5
        await until(lambda: any(one.problem == "no answer within 1 s" for one in deliveries(database)))
    silent.close()


@ONE
async def test_a_finding_is_told_once_however_many_processes_look(database, make_study):
    make_study(votes_per_pair=1)
    with database.transaction() as tx:
        tx.command("UPDATE pairs SET load = 1")
    make(database, "http://127.0.0.1:1/")
    reader = Reader(database, threads=1)
    for watch in (Watch(), Watch()):
        findings = await reader.run(watch.look)
        with database.transaction() as tx:
            tell(tx, findings=findings)
            tell(tx, findings=findings)
    reader.close()
    assert [one.event for one in deliveries(database)] == [FINISHED]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://hooks.example/", "https://"),
        ("ftp://hooks.example/", "https://"),
        ("https:///x", "https://"),
        ("https://jane:pw@hooks.example/", "signature proves"),
        ("https://10.0.0.7/", "not an address of the public internet"),
        ("https://[::1]/", "not an address of the public internet"),
        ("https://[::ffff:169.254.169.254]/", "not an address of the public internet"),
        ("http://127.0.0.1/", "not an address of the public internet"),
        ("https://localhost/", "not an address of the public internet"),
        ("https://hooks.example:99999/", "cannot be read"),
        ("https://hooks.example/a b", "without blanks"),
    ],
)
def test_an_address_that_is_not_public_https_is_refused(url, words):
    with pytest.raises(BadRequest, match=words):
        check_url(url, allow_private=False)


def test_addresses_inside_are_known_in_every_disguise():
    inside = "10.1.2.3 127.0.0.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 240.0.0.1 ::1 :: fe80::1 fc00::1"
    disguised = "::ffff:10.0.0.1 64:ff9b::a00:1 2002:0a00:0001::1 ff02::1 2001:db8::1 fec0::1"
    for text in (inside + " " + disguised).split():
        assert not is_public(ipaddress.ip_address(text)), text
    for text in ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"):
        assert is_public(ipaddress.ip_address(text)), text


async def test_a_name_that_leads_inside_is_refused_when_it_is_sent(monkeypatch):
    loop = asyncio.get_running_loop()

    async def answers(host, port, **_):
        return [(2, 1, 6, "", ("93.184.216.34", port)), (2, 1, 6, "", ("10.0.0.7", port))]

    monkeypatch.setattr(loop, "getaddrinfo", answers)
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.7, which is not public"):
        await resolve(check_url("https://rebinding.example/", allow_private=False), allow_private=False)


@ONE
async def test_the_page_makes_tests_and_removes_a_webhook_and_shows_its_secret_once(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        fields = {"url": "https://hooks.example/q", "study": "s", FINISHED: "1"}
        made = await owner.act("/webhooks", on="/webhooks", **fields)
        (secret,) = query(database, "SELECT secret FROM webhooks")[0]
        assert made.status_code == 200 and secret in made.text.replace("&#43;", "+")
        page = await owner.page("/webhooks")
        assert "https://hooks.example/q" in page and secret not in page and "study.finished" in page
        refused = await owner.act("/webhooks", on="/webhooks", **{**fields, "url": "http://10.0.0.1/"})
        assert refused.status_code == 422
        assert (await owner.act("/webhooks/²/test", on="/webhooks")).status_code == 422
        assert (await owner.act("/webhooks/1/test", on="/webhooks")).status_code == 303
        assert TEST in await owner.page("/webhooks")
        assert (await owner.act("/webhooks/1/remove", on="/webhooks")).status_code == 303
        assert "There are no webhooks" in await owner.page("/webhooks")
        viewer = await signed_in(browser(), database, role="viewer")
        assert "A new webhook" not in await viewer.page("/webhooks")


@ONE
def test_what_waits_for_a_removed_webhook_is_not_sent(database, make_study):
    make_study()
    number, _ = make(database, "https://hooks.example/")
    set_status(database, "s", "paused")
    with database.transaction() as tx:
        (due,) = claim_due(tx, limit=10)
        remove_webhook(tx, number=number, by="test")
        note_outcome(tx, outcome=AttemptOutcome(due, 200, None))
        assert claim_due(tx, limit=10) == () and latest_deliveries(tx) == ()

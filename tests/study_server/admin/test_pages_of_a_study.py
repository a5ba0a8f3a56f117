"""The owner's pages of a study: what they say is what the database holds, and what they do is logged."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from typing import get_args

import pytest

from qsched.records import Kind, TripletKind
from study_server.admin import figures
from study_server.admin.shared_reads import SharedReads
from study_server.db import Reader
from study_server.db.states import SessionState, StudyStatus
from study_server.errors import Conflict
from study_server.studies.creation import create_study
from study_server.studies.design import StudyDesign
from study_server.studies.ownership import list_studies, set_status
from study_server.web.templating import Pages
from tests.conftest import write_image_set
from tests.study_server.admin.owning import signed_in
from tests.study_server.test_triplet_votes import TripletVisitor
from tests.study_server.visiting import Visitor, query, serving

TEXT = re.compile(r"<[^>]+>|\s+")


def words(page: str) -> str:
    return " ".join(TEXT.sub(" ", page).split())


async def test_progress_counts_votes_people_and_the_way_they_went(settings, database, make_study):
    make_study(pairs_per_annotator=3, votes_per_pair=2)
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        assert "There is no valid vote yet" in await owner.page("/studies/s/counts")
        await (await Visitor(browser()).enter()).vote_all()
        away = await Visitor(browser()).enter()
        await away.vote_all(limit=1)
        await Visitor(browser()).enter()
        with database.transaction() as tx:
            tx.command("UPDATE sessions SET tab_seen_ms = 1, started_ms = 1 WHERE id = 2")
        page = words(await owner.page("/studies/s"))
    assert "Valid votes 4 of 36" in page and "2 pairs on screens" in page
    for step in ("agreed to take part 3", "saw a pair 2", "judged a pair 2", "finished 1", "1 left in the middle"):
        assert step in page, step


async def test_the_page_renews_itself_and_ends_when_the_server_stops(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        client = browser()
        await signed_in(client, database)
        app = client._transport.app
        stopping = asyncio.get_running_loop().call_later(0.3, setattr, app.state, "stopping", True)
        answer = await client.get("/admin/studies/s/live")
        stopping.cancel()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "Valid votes 0 of" in words(json.loads(answer.text.split("\n")[0].removeprefix("data: ")))


async def test_pausing_closing_and_opening_are_logged_with_the_name(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        for status in ("paused", "closed", "open"):
            answer = await owner.act("/studies/s/status", on="/studies/s", status=status)
            assert answer.headers["location"] == f"/admin/studies/s?done={status}"
            assert query(database, "SELECT status FROM studies") == [(status,)]
        assert "is open" in await owner.page("/studies/s?done=open")
        assert (await owner.act("/studies/s/status", on="/studies/s", status="gone")).status_code == 422
        log = words(await owner.page("/log"))
    assert "owner · s opened" in log and "owner · s paused" in log and "command line · s study created" in log


async def test_a_person_is_excluded_and_included_at_their_page(settings, database, make_study):
    make_study(pairs_per_annotator=4, instructed=1)
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        await (await Visitor(browser()).enter()).vote_all()
        name = query(database, "SELECT pseudonym FROM annotators")[0][0]
        assert name in await owner.page("/studies/s/people")
        at = f"/studies/s/people/{name}"
        refused = await owner.act(f"{at}/exclude", on=at, reason=" ")
        assert refused.status_code == 422 and "needs a reason" in refused.text
        assert (await owner.act(f"{at}/exclude", on=at, reason="<b>fast</b>")).status_code == 303
        page = await owner.page(at)
        assert "&lt;b&gt;fast&lt;/b&gt;" in page and "<b>fast" not in page and ">excluded<" in page
        assert name in await owner.page("/studies/s/people?excluded=1")
        assert "Valid votes 0 of" in words(await owner.page("/studies/s"))
        assert (await owner.act(f"{at}/include", on=at, reason="")).status_code == 303
        assert "Valid votes 4 of" in words(await owner.page("/studies/s"))
        assert f"owner · s excluded : {name}: &lt;b&gt;fast" in words(await owner.page("/log"))
        assert (await owner.client.get("/admin/studies/s/people/a-000000000000")).status_code == 404


async def test_the_page_of_annotators_does_not_wait_for_a_look_at_everybody_s_votes(
    settings, database, make_study, monkeypatch
):
    make_study(pairs_per_annotator=3)
    counted = threading.Event()
    read = figures.answers_of_page
    monkeypatch.setattr(figures, "answers_of_page", lambda *args, **named: counted.wait(30) and read(*args, **named))
    monkeypatch.setattr(figures, "PAGE_SECONDS", 0.01)
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        await (await Visitor(browser()).enter()).vote_all()
        page = await owner.page("/studies/s/people")
        assert "…</td>" in page and "being counted" in page and '<td class="n">3</td>' in page
        counted.set()
        while "being counted" in page:
            page = await owner.page("/studies/s/people")
        assert "…</td>" not in page and '<td class="n">3</td>' in page


async def test_data_are_deleted_only_if_the_pseudonym_is_repeated(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        await (await Visitor(browser()).enter()).vote_all(limit=2)
        name = query(database, "SELECT pseudonym FROM annotators")[0][0]
        at = f"/studies/s/people/{name}"
        assert (await owner.act(f"{at}/forget", on=at, repeat="yes")).status_code == 422
        assert query(database, "SELECT COUNT(*) FROM votes") == [(2,)]
        assert (await owner.act(f"{at}/forget", on=at, repeat=name)).status_code == 303
        assert query(database, "SELECT COUNT(*) FROM votes") == query(database, "SELECT COUNT(*) FROM annotators")
        assert "Nobody has taken part" in await owner.page("/studies/s/people")


async def test_platform_ids_are_an_owners_not_a_viewers(settings, database, make_study):
    make_study(platform={"name": "prolific", "completion_code": "C1"})
    async with serving(settings) as browser:
        await Visitor(browser()).enter("?PROLIFIC_PID=pid-7")
        owner = await signed_in(browser(), database)
        viewer = await signed_in(browser(), database, role="viewer")
        paid = await owner.page("/studies/s/payments")
        assert "pid-7" in paid and "nobody who could be paid" not in paid
        assert "pid-7" not in await viewer.page("/studies/s/payments")
        assert (await viewer.client.get("/admin/studies/s/people.csv")).status_code == 403
        file = await owner.client.get("/admin/studies/s/people.csv")
        assert file.headers["content-type"].startswith("text/csv") and "pid-7" in file.text
        assert "payment list exported" in await owner.page("/log")


async def test_an_unknown_study_is_not_found_and_a_hostile_title_is_text(settings, database, make_study):
    make_study()
    with database.transaction() as tx:
        tx.command("UPDATE studies SET title = '<script>alert(1)</script>'")
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        for path in ("", "/live", "/people", "/payments", "/counts"):
            assert (await owner.client.get(f"/admin/studies/gone{path}")).status_code == 404
        for path in ("", "/studies/s", "/studies/s/people"):
            assert "<script>alert" not in await owner.page(path)


async def test_many_who_look_read_once_and_an_error_is_not_kept(database):
    reads = []

    def read(tx):
        reads.append(1)
        if len(reads) == 1:
            raise ValueError("no")
        return len(reads)

    reader = Reader(database, threads=1)
    shared = SharedReads(reader.run, fresh_seconds=60)
    with pytest.raises(ValueError, match="no"):
        await shared.get("a", read)
    assert await asyncio.gather(*(shared.get("a", read) for _ in range(20))) == [2] * 20
    shared.forget("a")
    assert await shared.get("a", read) == 3
    reader.close()


async def test_a_page_does_not_wait_for_a_slow_read_but_the_read_goes_on(database):
    gate = threading.Event()
    reader = Reader(database, threads=1)
    shared = SharedReads(reader.run, fresh_seconds=0)
    assert await shared.get_soon("a", lambda tx: gate.wait(10) and 1, seconds=0.01) is None
    gate.set()
    assert await shared.get("a", lambda tx: 2) == 1, "the read that began is not begun again"
    gate.clear()
    shared._known["a"] = (0.0, shared._known["a"][1])
    for _ in range(2):  # also for a second visitor while the new answer is being made
        assert await shared.get_soon("a", lambda tx: gate.wait(10) and 3, seconds=0.01) == 1, "the answer before"
    assert await shared.get_soon("a", lambda tx: 4, seconds=0.01, oldest=0) is None, "nobody had looked for long"
    gate.set()
    assert await shared.get_soon("a", lambda tx: 4, seconds=10) == 3
    reader.close()


async def test_a_change_during_a_slow_read_fails_nobody_and_the_old_answer_is_not_kept(database):
    gate = threading.Event()
    reader = Reader(database, threads=2)
    shared = SharedReads(reader.run, fresh_seconds=60)
    before = asyncio.create_task(shared.get("a", lambda tx: gate.wait(10) and "before"))
    await asyncio.sleep(0)
    shared.forget("a")
    assert await shared.get("a", lambda tx: "after") == "after"
    gate.set()
    assert await before == "before"
    assert await shared.get_soon("a", lambda tx: "never asked", seconds=1) == "after"
    reader.close()


async def test_pairs_are_browsed_with_their_pictures_and_what_people_preferred(settings, database, make_study):
    make_study(votes_per_pair=2, gold=[{"prompt": "p1", "better": "fp32", "worse": "w4a4"}])
    make_study("other")
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        await (await Visitor(browser()).enter()).vote_all(lambda _: "tie", limit=30)
        page = await owner.page("/studies/s/pairs")
        assert page.count('<li class="card">') == 18 and "gold" in page
        assert (await owner.page("/studies/s/pairs?prompt=p2")).count('<li class="card">') == 3
        assert "no such pair" in await owner.page("/studies/s/pairs?prompt=nowhere")
        key = re.search(r"/studies/s/pairs/(\w{16})", page)[1]
        pair = words(await owner.page(f"/studies/s/pairs/{key}"))
        assert "Ties 1" in pair and "First preferred 0" in pair
        picture = re.search(r"/admin/studies/s/images/(\d+)", page)
        image = await owner.client.get(picture[0])
        assert image.status_code == 200 and image.content.startswith(b"\x89PNG")
        assert (await owner.client.get(f"/admin/studies/other/images/{picture[1]}")).status_code == 404
        assert (await browser().get(picture[0])).status_code == 303, "a picture is for owners too"
        assert (await owner.client.get("/admin/studies/s/pairs/nowhere")).status_code == 404


def test_a_pair_that_was_taken_out_asks_for_no_more_votes_than_it_has(database, make_study):
    make_study(votes_per_pair=2)
    with database.transaction() as tx:
        tx.command("UPDATE pairs SET load = 1 WHERE id = (SELECT MIN(id) FROM pairs)")
        tx.command("UPDATE pairs SET disabled = TRUE WHERE load = 1")
    row = list_studies(database)[0]
    assert (row.valid_votes, row.target_votes) == (1, 2 * row.pairs + 1)


def test_a_study_that_is_half_imported_cannot_be_opened(database, make_study):
    make_study()
    with database.transaction() as tx:
        tx.command("UPDATE studies SET status = 'importing'")
    with pytest.raises(Conflict, match="not imported to the end"):
        set_status(database, "s", "open")


async def test_reports_are_listed_and_a_pair_is_handed_out_again(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        assert "Nobody has reported" in await owner.page("/studies/s/reports")
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        report = {"problem": "cannot_judge", "detail": "<i>blurred</i>", "tab_token": visitor.tab}
        pair = visitor.queue[0]["token"]
        await visitor.post("api/report", {**report, "assignment": pair, "idempotency_key": "k" * 12})
        with database.transaction() as tx:
            tx.command("UPDATE pairs SET disabled = TRUE, problems = 3 WHERE id IN (SELECT MAX(id) FROM pairs)")
        page = await owner.page("/studies/s/reports")
        assert "&lt;i&gt;blurred" in page and "hand out again" in page
        assert "Pairs taken out 1" in words(await owner.page("/studies/s"))
        key = query(database, "SELECT pair_key FROM pairs WHERE disabled")[0][0]
        assert (await owner.act("/studies/s/pairs/enable", on="/studies/s/reports", pair=key)).status_code == 303
        assert query(database, "SELECT COUNT(*) FROM pairs WHERE disabled") == [(0,)]


async def test_a_setting_is_changed_by_the_rules_of_an_update(settings, database, make_study):
    make_study(votes_per_pair=2)
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)

        async def save(**fields):
            fields = {name.replace("__", "."): value for name, value in fields.items()}
            return await owner.act("/studies/s/settings", on="/studies/s/settings", **fields)

        assert (await save(title="Another title", votes_per_pair="3")).status_code == 303
        assert "Another title" in await owner.page("/studies/s/settings?done=changed")
        refused = await save(consent__text="Something else entirely.")
        assert refused.status_code == 422 and "consent.version is still" in refused.text
        assert (await save(consent__text="Something else.", consent__version="2")).status_code == 303
        assert "can only grow" in (await save(votes_per_pair="1")).text
        assert (await save(votes_per_pair="many")).status_code == 422
        log = words(await owner.page("/log"))
    assert "owner · s design changed : title: A test -&gt; Another title; votes_per_pair: 2 -&gt; 3" in log
    assert query(database, "SELECT MAX(version) FROM design_versions") == [(3,)]


async def test_the_votes_are_downloaded_as_the_command_writes_them(settings, database, make_study, tmp_path):
    make_study()
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        await (await Visitor(browser()).enter()).vote_all(limit=3)
        answer = await owner.act("/studies/s/exports/votes", on="/studies/s/exports", format="csv")
        assert answer.status_code == 200, answer.text
        assert 's-votes.csv"' in answer.headers["content-disposition"] and len(answer.text.splitlines()) == 4
        assert (await owner.act("/studies/s/exports/votes", on="/studies/s/exports", format="exe")).status_code == 422
        assert "votes exported : csv" in words(await owner.page("/log"))


async def test_a_preview_begins_at_the_settings_page(settings, database, make_study):
    make_study()
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        found = re.search(r'href="(/s/s\?preview=[^"]+)"', await owner.page("/studies/s/settings"))
        assert "Preview: nothing here is counted" in (await browser().get(found[1])).text


async def test_a_fidelity_study_shows_its_references_and_says_what_was_asked(settings, database, small_image_set):
    design = StudyDesign(slug="f", title="Faces", images=str(small_image_set), design="fidelity")
    create_study(
        database, design, set_folder=small_image_set, data_folder=settings.data_folder, progress=lambda _: None
    )
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        visitor = await TripletVisitor(browser(), "f").enter()
        await visitor.vote_all(lambda _: "left", limit=12)
        page = await owner.page("/studies/f/pairs")
        assert page.count('alt="reference"') == page.count('<li class="card">') == 24
        key = query(database, "SELECT pair_key FROM pairs JOIN assignments a ON a.pair_id = pairs.id LIMIT 1")[0][0]
        pair = words(await owner.page(f"/studies/f/pairs/{key}"))
        assert "First differs more" in pair and "preferred" not in pair and "Reference" in pair
        assert "qsched certify" in await owner.page("/studies/f/counts")
        name = query(database, "SELECT pseudonym FROM annotators")[0][0]
        traps = query(database, "SELECT COUNT(*) FROM assignments WHERE kind = 'trap' AND state = 'voted'")[0][0]
        assert f"/{traps}</td>" in (await owner.page("/studies/f/people")) and traps > 0
        assert name in await owner.page(f"/studies/f/people/{name}")


async def test_a_design_that_cannot_be_read_is_said_and_stops_no_other_study(settings, database, make_study):
    make_study("s")
    make_study("other")
    with database.transaction() as tx:
        tx.command("UPDATE studies SET design = '{}' WHERE slug = 's'")
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        assert "design cannot be read" in await owner.page("")
        answer = await owner.client.get("/admin/studies/s/people")
        assert answer.status_code == 503 and "stored design of study s cannot be read" in answer.text
        assert (await browser().get("/s/s")).status_code == 503
        assert (await browser().get("/s/other")).status_code == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_pair_shows_its_visible_difference_if_the_set_was_scored(settings, database, make_study, tmp_path):
    folder = write_image_set(tmp_path / "scored", prompts=2, size=16)
    make_study(images=folder)
    table = {"set_id": "drawn-scored", "baseline": "fp32", "scorers": [{"name": "cvvdp", "version": "x"}]}
    (folder / "metrics.json").write_text(json.dumps(table), encoding="utf-8")
    row = {"prompt_id": "p0", "sample_index": 0, "arm": "w4a4", "cvvdp": 9.4321}
    (folder / "metrics_images.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        page = await owner.page("/studies/s/pairs")
        assert page.count("9.43 JOD") == page.count(" JOD") == 1, "the one pair of the baseline that was scored"
        (key,) = query(
            database,
            """SELECT p.pair_key FROM pairs p JOIN prompts q ON q.id = p.prompt_id
               JOIN images a ON a.id = p.first_image_id JOIN images b ON b.id = p.second_image_id
               WHERE q.prompt_key = 'p0' AND a.arm IN ('fp32', 'w4a4') AND b.arm IN ('fp32', 'w4a4')""",
        )[0]
        assert "9.43 JOD" in await owner.page(f"/studies/s/pairs/{key}")


async def test_tables_say_states_and_kinds_in_words(settings, database, make_study):
    make_study(instructed=1, warmup=1, pairs_per_annotator=3)
    raw = [state for state in get_args(SessionState) + get_args(StudyStatus) if "_" in state or state == "active"]
    assert raw == ["active", "screened_out", "not_understood"]
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        await (await Visitor(browser()).enter()).vote_all()
        ((person,),) = query(database, "SELECT pseudonym FROM annotators")
        for state in get_args(SessionState):
            with database.transaction() as tx:
                tx.command(f"UPDATE sessions SET state = '{state}'")
            for page in ("/people", f"/people/{person}", "/payments"):
                text = words(await owner.page(f"/studies/s{page}"))
                assert not re.search(r"\b(active|screened_out|not_understood|instructed|warmup)\b", text), (page, text)
        page = words(await owner.page(f"/studies/s/people/{person}"))
        assert "nobody who could be paid" in await owner.page("/studies/s/payments"), "an open link has no platform ids"
    assert "attention check" in page and "warm-up" in page


def test_every_state_that_the_database_holds_has_words(settings, database):
    page = Pages(static_root="/static").environment.get_template("admin/parts.html").module
    for state in (*get_args(SessionState), *get_args(StudyStatus), *Kind, *TripletKind, "plain", "boosted", "–"):
        shown = str(page.words(str(state)))
        assert shown and "_" not in shown, state

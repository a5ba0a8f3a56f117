"""What the pages count in steps is what the database holds, vote by vote."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import cycle

import pytest

from study_server.admin import counting, figures
from study_server.admin.counting import AgreementCount, AnswersCount, KeptCounts, PairsCount, count_at_once
from study_server.admin.progress import HourCounts, read_progress
from study_server.db import Reader
from study_server.export import export_votes
from study_server.export import votes as exported
from study_server.owner import act_on_study
from study_server.quality.exclusion import exclude, include
from study_server.quality.people import answers_of_page, read_people
from study_server.studies.cache import find_study
from tests.study_server.visiting import Visitor, query, serving

# Every stored answer of a study, whether it counts, and what was preferred whatever the side.
ONE_BY_ONE = """
    SELECT p.id, v.question, f.arm, s.arm,
           CASE WHEN v.choice IN ('tie', 'skip') THEN v.choice
                WHEN (v.choice = 'left') = CAST(a.first_on_left AS {boolean}) THEN 'left' ELSE 'right' END,
           a.kind = 'task' AND CAST(a.counted AS {boolean}) AND v.surplus_reason IS NULL
           AND v.id NOT IN (SELECT n.supersedes_id FROM votes n WHERE n.supersedes_id IS NOT NULL)
    FROM votes v JOIN assignments a ON a.id = v.assignment_id JOIN pairs p ON p.id = a.pair_id
    JOIN images f ON f.id = p.first_image_id JOIN images s ON s.id = p.second_image_id
    JOIN studies st ON st.id = p.study_id WHERE st.slug = 's'
"""


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    monkeypatch.setattr(counting, "STEP_VOTES", 3)


async def people_vote(settings, make_study, database):
    """Three people answer every way, one corrects an answer, and another study has votes too."""
    make_study(votes_per_pair=3, gold=[{"prompt": "p1", "better": "fp32", "worse": "w4a4"}])
    make_study("other")
    choices = cycle(("left", "tie", "right", "right", "skip", "left", "left"))
    async with serving(settings) as browser:
        for slug in ("s", "s", "s", "other"):
            visitor = await Visitor(browser(), slug).enter()
            await visitor.vote_all(lambda _: next(choices), limit=11)
            if slug == "s":
                last = await visitor.vote("left")
                undone = await visitor.post("api/undo", {"vote_id": last["vote_id"], "tab_token": visitor.tab})
                assert undone.status_code == 200, undone.text
                corrected = visitor.ballot(undone.json()["assignment"], "right")
                assert (await visitor.post("api/votes", corrected)).status_code == 200


def counted_one_by_one(database):
    boolean = "BOOLEAN" if database.dialect == "postgresql" else "INTEGER"
    rows = query(database, ONE_BY_ONE.format(boolean=boolean))
    answers = Counter((question, f, s, choice) for _, question, f, s, choice, counts in rows if counts)
    return {key: n for key, n in answers.items() if key[3] != "skip"}


def counted_in_steps(database, kept=None):
    with database.snapshot() as tx:
        rows = count_at_once(tx, AnswersCount(find_study(tx, "s"), kept)).rows
    found = {}
    for row in rows:
        for choice, n in (("left", row.first_preferred), ("right", row.second_preferred), ("tie", row.ties)):
            found[row.question, row.first, row.second, choice] = n
    return {key: n for key, n in found.items() if n}


async def test_answers_are_counted_in_steps_and_kept_ones_are_those_of_the_database(
    settings, database, make_study, monkeypatch
):
    await people_vote(settings, make_study, database)
    expected = counted_one_by_one(database)
    assert len(expected) > 3 and counted_in_steps(database) == expected
    # As if all of it had been handed out an hour ago.
    monkeypatch.setattr(counting, "HOUR_MS", -60_000)
    kept = KeptCounts()
    assert counted_in_steps(database, kept) == expected
    assert sum(counts.total() for counts in kept.counts.values()) == sum(expected.values())
    assert counted_in_steps(database, kept) == expected, "nothing is counted twice"
    person = query(database, "SELECT MIN(pseudonym) FROM annotators WHERE study_id = 1")[0][0]
    act_on_study(database, "s", exclude, pseudonym=person, reason="asleep", by="a test")
    without = counted_one_by_one(database)
    assert without != expected and counted_in_steps(database, kept) == without
    act_on_study(database, "s", include, pseudonym=person, reason="", by="a test")
    assert counted_in_steps(database, kept) == counted_one_by_one(database)
    query(database, "UPDATE votes SET surplus_reason = 'late' WHERE choice = 'tie' RETURNING id")
    monkeypatch.setattr(counting, "KEPT_MS", 0)
    kept.renew(recounts=-1, now=0)
    assert counted_in_steps(database, kept) == counted_one_by_one(database)


async def test_pairs_agreement_and_hours_are_those_of_the_database(settings, database, make_study, tmp_path):
    await people_vote(settings, make_study, database)
    boolean = "BOOLEAN" if database.dialect == "postgresql" else "INTEGER"
    rows = query(database, ONE_BY_ONE.format(boolean=boolean))
    names = {"left": "first", "right": "second", "tie": "tie", "skip": "skip"}
    superseded = {row[0] for row in query(database, "SELECT supersedes_id FROM votes WHERE supersedes_id IS NOT NULL")}
    assert len(superseded) == 3
    with database.snapshot() as tx:
        pairs = sorted({row[0] for row in rows})
        count, steps = PairsCount(pairs), 1
        while count.step(tx):
            steps += 1
        found = count.result().of
        assert steps == len(pairs), "everybody may have answered the same pair with a known answer"
        page = {"study_id": 1, "before": 2**62, "only_excluded": False}
        agreement = count_at_once(tx, AgreementCount(lambda tx: answers_of_page(tx, **page)))
        people = read_people(tx, study_id=1)
        progress = read_progress(tx, "s", HourCounts(), counting_seconds=0)
    tasks = Counter((pair, names[choice]) for pair, _, _, _, choice, counts in rows if counts)
    shown = Counter({(pair, name): n for pair, names in found.items() for name, n in names.items() if name != "skip"})
    gold = {row[0] for row in query(database, "SELECT id FROM pairs WHERE pool <> 'task'")}
    assert {key: n for key, n in shown.items() if key[0] not in gold} == {k: n for k, n in tasks.items() if n}
    assert agreement == {person.id: person.work.agreement for person in people} and len(agreement) == 3
    assert any(share.of for share in agreement.values())
    assert sum(votes for _, votes in progress.hours) == progress.row.valid_votes
    assert progress.hours_missing == 21
    summary = export_votes(database, study="s", path=tmp_path / "v.csv", rest=0.1)
    assert summary.superseded == 3 and summary.written == summary.rows_in_database - 3


async def test_an_exclusion_that_is_stored_after_a_later_one_is_noticed_too(
    settings, database, make_study, monkeypatch
):
    await people_vote(settings, make_study, database)
    monkeypatch.setattr(counting, "HOUR_MS", -60_000)
    kept = KeptCounts()
    for number in (1_001, 1_000):
        counted_in_steps(database, kept)
        query(database, f"UPDATE votes SET surplus_reason = 'x' WHERE id % 7 = {number % 7} RETURNING id")
        query(
            database,
            "INSERT INTO owner_actions (id, at_ms, actor, study, action) "
            f"VALUES ({number}, 1, 'a test', 's', 'excluded') RETURNING id",
        )
        assert counted_in_steps(database, kept) == counted_one_by_one(database), number


async def test_a_server_that_stops_gives_up_what_is_being_counted(database, make_study, monkeypatch):
    make_study()
    monkeypatch.setattr(figures, "PAGE_SECONDS", 0.01)
    monkeypatch.setattr(figures, "REST", 1e6)
    monkeypatch.setattr(counting.AnswersCount, "step", lambda self, tx: True)
    reader = Reader(database)
    owner = figures.OwnerFigures(database, reader)
    with database.snapshot() as tx:
        study = find_study(tx, "s")
    assert await owner.counts(study) is None
    (counting_now,) = (task for task in asyncio.all_tasks() if "SharedReads._answer" in repr(task.get_coro()))
    await owner.close()
    reader.close()
    assert counting_now.cancelled()


async def test_an_export_in_pieces_is_one_moment_of_the_study(settings, database, make_study, tmp_path, monkeypatch):
    await people_vote(settings, make_study, database)
    export_votes(database, study="s", path=tmp_path / "before.csv")
    person = query(database, "SELECT MIN(pseudonym) FROM annotators WHERE study_id = 1")[0][0]
    changes = [
        lambda: act_on_study(database, "s", exclude, pseudonym=person, reason="asleep", by="a test"),
        lambda: query(database, "UPDATE votes SET surplus_reason = 'late' WHERE choice = 'tie' RETURNING id"),
        lambda: query(database, "DELETE FROM votes WHERE supersedes_id IS NOT NULL RETURNING id"),
    ]
    monkeypatch.setattr(exported, "PIECE_ROWS", 4)
    monkeypatch.setattr(exported.time, "sleep", lambda _: changes.pop()() if changes else None)
    export_votes(database, study="s", path=tmp_path / "meanwhile.csv", rest=1.0)
    assert not changes
    assert (tmp_path / "meanwhile.csv").read_bytes() == (tmp_path / "before.csv").read_bytes()
    export_votes(database, study="s", path=tmp_path / "after.csv")
    assert (tmp_path / "after.csv").read_bytes() != (tmp_path / "before.csv").read_bytes()

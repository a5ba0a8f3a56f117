"""Exactly V valid votes per pair, whoever comes, goes, or never returns; balanced; nobody sees a pair twice."""

from __future__ import annotations

import asyncio
import itertools
import random
import re

import pytest

from study_server import app
from study_server.assignment import queries
from study_server.assignment.service import expire_leases
from study_server.writing import contexts
from tests.study_server.visiting import Visitor, query, serving

EXACT = """
    SELECT pair_id, COUNT(*) FROM assignments WHERE kind = 'task' AND state = 'voted' AND counted GROUP BY pair_id
"""


async def test_hundreds_of_impatient_annotators_give_each_pair_exactly_its_votes(
    settings, make_study, database, monkeypatch
):
    """Two servers on one database; a third of the people walk away with leases in their hands.

    The clock of both is stopped while they vote, however slow the machine is: a lease ends when the test says so.
    """
    make_study(votes_per_pair=5, lease_seconds=60, max_minutes=None)
    rng = random.Random(7)
    now = contexts.now_ms()
    monkeypatch.setattr(contexts, "now_ms", lambda: now)
    monkeypatch.setattr("study_server.app.now_ms", lambda: now)

    async with serving(settings) as one, serving(settings) as two:

        async def person(number: int):
            visitor = await Visitor((one, two)[number % 2]()).enter("?simulated=1")
            patience = rng.choice([0, 3, 50, 50])
            await visitor.begin()
            return await visitor.vote_all(lambda _: rng.choice(["left", "right", "tie"]), limit=patience, wait=None)

        await asyncio.gather(*(person(n) for n in range(40)))
        # Others finish what the absent ones held, once their leases have run out.
        for _ in range(10):
            now += 61_000
            await (await Visitor(one()).enter("?simulated=1")).vote_all(wait=None)
    counts = query(database, EXACT)
    assert len(counts) == 18 and {count for _, count in counts} == {5}
    assert query(database, "SELECT DISTINCT load FROM pairs") == [(5,)]
    assert query(database, "SELECT COUNT(*) FROM votes WHERE surplus_reason IS NOT NULL") == [(0,)]
    assert not query(database, "SELECT 1 FROM votes_table GROUP BY annotator, pair_id HAVING COUNT(*) > 1")


async def test_sides_stay_nearly_even_and_cannot_be_foretold(settings, make_study, database):
    make_study(votes_per_pair=4)

    async with serving(settings) as browser:
        for _ in range(4):
            await (await Visitor(browser()).enter()).vote_all()
    rows = query(database, "SELECT session_id, first_on_left FROM assignments ORDER BY id")
    lefts = [bool(left) for _, left in rows]
    assert 22 <= sum(lefts) <= 50, "of 72; a fair coin is outside once in 1,000 runs"
    sides: dict[int, list[bool]] = {}
    for session, left in rows:
        sides.setdefault(session, []).append(bool(left))
    alternating = [one != other for row in sides.values() for one, other in itertools.pairwise(row)]
    assert sum(alternating) < 0.85 * len(alternating), "a side is not always the opposite of the one before"


async def test_wherever_a_study_stops_prompts_and_comparisons_have_had_the_same_share(settings, make_study, database):
    make_study(votes_per_pair=6)

    async with serving(settings) as browser:
        for _ in range(3):
            await (await Visitor(browser()).enter()).vote_all(limit=12)
    # 36 votes and 6 pairs on screen, over 18 pairs of 6 prompts and 3 comparisons.
    assert set(row[0] for row in query(database, "SELECT load FROM pairs")) <= {2, 3}
    for (shown,) in query(database, "SELECT SUM(load) FROM pairs GROUP BY prompt_id"):
        assert 6 <= shown <= 9
    for (shown,) in query(
        database,
        "SELECT SUM(load) FROM pairs p JOIN images f ON f.id = p.first_image_id JOIN images s "
        "ON s.id = p.second_image_id GROUP BY f.arm, s.arm",
    ):
        assert 12 <= shown <= 18


async def test_the_same_prompt_never_comes_twice_within_the_gap_while_there_is_another(settings, make_study, database):
    make_study(prompt_gap=3)

    async with serving(settings) as browser:
        await (await Visitor(browser()).enter()).vote_all(limit=12)
    order = [
        row[0]
        for row in query(
            database, "SELECT p.prompt_id FROM assignments a JOIN pairs p ON p.id = a.pair_id ORDER BY a.position"
        )
    ]
    for place, prompt in enumerate(order[:12]):
        assert prompt not in order[max(0, place - 3) : place]


async def test_a_queue_that_ran_low_is_filled_up_as_soon_as_there_are_pairs_again(
    settings, make_study, database, monkeypatch
):
    make_study(votes_per_pair=1, lease_seconds=60)
    real, offset = contexts.now_ms, 0
    monkeypatch.setattr(contexts, "now_ms", lambda: real() + offset)

    async with serving(settings.model_copy(update={"sweep_seconds": 600.0})) as browser:
        people = [await Visitor(browser()).enter() for _ in range(4)]
        present = people[0]
        for person in people:
            await person.begin()
        assert await present.vote_all(limit=11) == 11  # 18 pairs: 6 are held by the absent ones, 1 is on screen
        assert len(present.queue) == 1
        offset = 61_000
        body = await present.vote()
        assert body["next"] and len(body["more"]) == 1 and len(present.queue) == 2
        body = await present.vote()
        assert body["next"] and body["more"] == [] and len(present.queue) == 2
        assert await present.vote_all() == 5
        assert present.state["state"] == "finished"
    assert query(database, "SELECT DISTINCT load FROM pairs") == [(1,)]
    assert query(database, "SELECT COUNT(*) FROM votes") == [(18,)]


@pytest.mark.parametrize("choice", ["left", "skip"])
async def test_a_late_vote_keeps_its_slot_when_its_own_transaction_sweeps(
    settings, make_study, database, monkeypatch, choice
):
    """The lease ran out, no sweep has seen it, and the vote's own search for the next pair is the one that sweeps."""
    make_study(votes_per_pair=1, pairs_per_annotator=None, lease_seconds=60)
    real, offset = contexts.now_ms, 0
    monkeypatch.setattr(contexts, "now_ms", lambda: real() + offset)

    async with serving(settings.model_copy(update={"sweep_seconds": 600.0})) as browser:
        person, other = await Visitor(browser()).enter(), await Visitor(browser()).enter()
        await other.begin()
        assert await other.vote_all(limit=10) == 10
        await person.begin()
        assert await person.vote_all(limit=4) == 4  # 18 pairs: no open one is left, each has two on screen
        offset = 61_000
        await person.vote(choice)
        await other.vote_all(limit=4)
    wrong = query(
        database,
        "SELECT p.id, p.load, COUNT(a.id) FROM pairs p LEFT JOIN assignments a ON a.pair_id = p.id AND a.counted "
        "GROUP BY p.id, p.load HAVING p.load <> COUNT(a.id)",
    )
    assert wrong == [], "a pair's load is not the number of its votes and live leases"
    assert query(database, "SELECT MAX(load), MIN(load) FROM pairs")[0][0] == 1


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_sweep_leaves_alone_the_lease_that_a_vote_has_looked_at(settings, make_study, database):
    """PostgreSQL only: SQLite has one writer at a time."""
    make_study(votes_per_pair=1)

    async with serving(settings) as browser:
        await (await Visitor(browser()).enter()).begin()
    session, number = query(database, "SELECT session_id, id FROM assignments ORDER BY id")[0]
    with database.transaction() as vote:
        assert vote.one(queries.ASSIGNMENT, assignment=number, session=session)[6] == "leased"
        with database.transaction() as sweep:
            swept = expire_leases(sweep, now=2**50)
    assert swept == 1, "only the other lease"
    assert query(database, "SELECT state FROM assignments WHERE id = :id", id=number) == [("leased",)]


async def test_no_work_because_of_absent_people_resolves_itself(settings, make_study, database, monkeypatch):
    make_study(votes_per_pair=1, lease_seconds=60)
    real, offset = contexts.now_ms, 0
    monkeypatch.setattr(contexts, "now_ms", lambda: real() + offset)

    async with serving(settings.model_copy(update={"sweep_seconds": 600.0})) as browser:
        absent, present = await Visitor(browser()).enter(), await Visitor(browser()).enter()
        await absent.begin()
        assert await present.vote_all(limit=16) == 16
        state = await present.begin()
        assert (state["state"], state["queue"], state["retry_after"]) == ("waiting", [], 5)
        offset = 61_000
        state = await present.begin()
        assert state["state"] == "task" and len(state["queue"]) == 2
        await present.vote_all()
        assert present.state["state"] == "finished"


async def test_a_heartbeat_keeps_a_lease_and_tells_what_was_given_away(settings, make_study, monkeypatch):
    make_study(votes_per_pair=1, lease_seconds=60)
    real, offset = contexts.now_ms, 0
    monkeypatch.setattr(contexts, "now_ms", lambda: real() + offset)

    async with serving(settings.model_copy(update={"sweep_seconds": 600.0})) as browser:
        slow, quick = await Visitor(browser()).enter(), await Visitor(browser()).enter()
        await slow.begin()
        tokens = [assignment["token"] for assignment in slow.queue]
        offset = 50_000
        beat = {"assignments": tokens[:1], "tab_token": slow.tab}
        assert (await slow.post("api/heartbeat", beat)).json() == {"ok": True, "lease_seconds": 60, "lost": []}
        offset = 100_000
        await quick.vote_all(limit=17)
        lost = (await slow.post("api/heartbeat", {"assignments": tokens, "tab_token": slow.tab})).json()
        assert lost["lost"] == tokens[1:]


async def test_a_person_who_comes_back_through_prolific_is_the_same_and_sees_no_pair_again(
    settings, make_study, database
):
    make_study(votes_per_pair=3, platform={"name": "prolific", "completion_code": "C0DE"})
    link = "?PROLIFIC_PID=person1&STUDY_ID=st&SESSION_ID={}"

    async with serving(settings) as browser:
        first = await Visitor(browser()).enter(link.format("one"))
        await first.vote_all(limit=7)
        same = await Visitor(browser()).enter(link.format("one"))
        assert (await same.begin(take_over=True))["progress"]["done"] == 7
        later = await Visitor(browser()).enter(link.format("two"))
        await later.vote_all()
        thanks = await later.client.get("/s/s/thanks")
        assert "https://app.prolific.com/submissions/complete?cc=C0DE" in thanks.text
    assert query(database, "SELECT COUNT(*) FROM annotators") == [(1,)]
    assert query(database, "SELECT COUNT(*) FROM sessions") == [(2,)]
    assert not query(database, "SELECT 1 FROM votes_table GROUP BY annotator, pair_id HAVING COUNT(*) > 1")
    assert "person1" not in str(query(database, "SELECT * FROM votes_table"))


@pytest.mark.parametrize("statement", ["OPEN_PAIRS", "LEVEL", "EXPIRE_LEASES", "ASSIGNMENT", "CLAIM_PAIR"])
def test_the_statements_of_assignment_walk_an_index(database, statement):
    """No statement on the path of a vote reads a whole table, so its cost does not grow with the study."""
    values = {f"r{i}": -1 for i in range(8)} | dict(
        study=1,
        pool="task",
        target=5,
        annotator=1,
        window=12,
        rank=0,
        probes=128,
        now=0,
        limit=10,
        assignment=1,
        session=1,
        pair=1,
        load=0,
        balance=0,
        side=1,
    )
    chosen = getattr(queries, statement)
    with database.transaction() as tx:
        if database.dialect == "sqlite":
            plan = tx._execute("EXPLAIN QUERY PLAN " + chosen.sqlite, values).fetchall()
            rows = {row[3].removeprefix("CO-ROUTINE ") for row in plan if row[3].startswith("CO-ROUTINE ")} | {"l"}
            scans = [row[3] for row in plan if row[3].startswith("SCAN ") and "INDEX" not in row[3]]
            assert {scan.removeprefix("SCAN ") for scan in scans} <= rows, plan
            assert not [row for row in plan if "TEMP B-TREE" in row[3]], plan
        else:
            tx.command("SET LOCAL enable_seqscan = off")
            plan = "\n".join(row[0] for row in tx._execute("EXPLAIN " + chosen.postgresql, values).fetchall())
            assert "Seq Scan" not in plan, plan
            assert statement != "OPEN_PAIRS" or "Sort" not in plan, plan


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("statement", ["OPEN_PAIRS", "OPEN_PAIRS_OF", "OPEN_COMPARISONS", "HELD_BY_OTHERS"])
def test_whether_a_person_saw_a_pair_is_one_probe_of_an_index_in_tables_without_statistics(database, statement):
    """Joined by the annotator alone, each candidate is compared with everything that the person has seen."""
    values = {f"r{i}": -1 for i in range(8)} | dict(
        study=1, pool="task", target=5, annotator=1, window=12, comparison=1, load=0, rank=0, probes=128
    )
    with database.transaction() as tx:
        tx.command("SET LOCAL enable_seqscan = off")
        chosen = getattr(queries, statement).postgresql
        plan = "\n".join(row[0] for row in tx._execute("EXPLAIN " + chosen, values).fetchall())
    assert re.search(r"using uq_assignments_once.*\n *Index Cond: .*annotator_id = .* AND \(pair_id = p.id\)", plan), (
        plan
    )


async def test_leases_run_out_while_many_votes_are_sealed(settings, make_study, database, monkeypatch):
    make_study()
    sealed = []
    monkeypatch.setattr(app, "seal_all", lambda tx, *, now: sealed.append(now) or 1)  # as if there were no end of them
    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        while not sealed:
            await asyncio.sleep(0.05)
        query(database, "UPDATE assignments SET lease_expires_ms = 1 WHERE state = 'leased' RETURNING id")
        for _ in range(100):
            if not query(database, "SELECT 1 FROM assignments WHERE state = 'leased'"):
                break
            await asyncio.sleep(0.05)
    assert query(database, "SELECT DISTINCT state FROM assignments") == [("expired",)]

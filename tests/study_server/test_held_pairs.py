"""On PostgreSQL a vote's first statement locks the pairs that come first, and its second one takes one of them."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from qsched.records import Choice
from study_server.assignment.open_pairs import SPARE, places_to_hold
from study_server.assignment.queries import CLAIM_PAIR, OPEN_PAIRS
from study_server.assignment.records import AssignmentContext, PairCache
from study_server.clock import now_ms
from study_server.participation.service import join
from study_server.studies.design import StudyDesign
from study_server.studies.study import Study
from study_server.voting import queries, service, sessions
from tests.study_server.visiting import query

pytestmark = [pytest.mark.postgres, pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)]
DESIGN = StudyDesign(slug="s", title="t", images="i", votes_per_pair=5, pairs_per_annotator=None, repeat_rate=0)


@pytest.fixture
def open_study(database, make_study):
    """Makes a study of as many open pairs, each of a prompt of its own, and people who sit in it."""
    make_study(votes_per_pair=5)
    cache, rng = PairCache(), random.Random(0)

    def context(pairs: int = 100) -> AssignmentContext:
        study = Study(1, "u", "s", "t", DESIGN, task_pairs=pairs, practice_pairs=0, gold_pairs=0)
        return AssignmentContext(study, cache, rng, now_ms())

    def make(pairs: int, people: int):
        with database.transaction() as tx:
            tx.command("DELETE FROM pairs")
            tx.command(
                "INSERT INTO prompts (study_id, prompt_key, prompt)"
                f" SELECT 1, 'n' || n, 'a prompt' FROM generate_series(1, {pairs}) AS n"
            )
            tx.command(
                "INSERT INTO pairs (study_id, pair_key, prompt_id, sample_index, first_image_id, second_image_id, pool,"
                " rank) SELECT 1, p.prompt_key, p.id, 0, i.id, i.id, 'task', p.id"
                " FROM prompts p, (SELECT MIN(id) AS id FROM images) i WHERE p.prompt_key LIKE 'n%'"
            )
        seats = {}
        for person in range(people):
            key = f"person {person}"
            with database.transaction() as tx:
                join(tx, context(pairs), participant=None, simulated=True, demographics={}, session_key=key)
                opened = sessions.open_session(
                    tx, context(pairs), session_key=key, tab_token=None, new_tab="tab", take_over=False
                )
            seats[key] = opened.shown[0].assignment.id
        return seats

    make.context = context
    return make


def vote(tx, context, key: str, assignment: int, unique: str = "key"):
    ballot = service.SubmittedVote(key, assignment, {"overall": Choice.LEFT}, 900, 0, None, unique, "tab", {})
    return service.submit_vote(tx, context, ballot)


def count_sent(tx) -> list[str]:
    """The statements that `tx` sends from now on."""
    sent: list[str] = []
    execute = tx._execute
    tx._execute = lambda *parts: (sent.append(parts[0]), execute(*parts))[1]
    return sent


def test_a_vote_is_two_statements_with_the_next_pair(database, open_study):
    seats = open_study(pairs=100, people=2)
    with database.transaction() as tx:
        (key, assignment), (other, theirs) = seats.items()
        shown = vote(tx, open_study.context(), key, assignment).shown
        for pair in query_pairs(tx):  # what a pair shows is read once per process
            open_study.context().cache.get(tx, pair)
        sent = count_sent(tx)
        again = vote(tx, open_study.context(), other, theirs).shown
        assert len(sent) == 2, sent
    assert shown[0].assignment.pair_id != again[0].assignment.pair_id
    loads = query(database, "SELECT SUM(load), MAX(load) FROM pairs")
    assert loads == [(6, 1)]  # four leases of the beginning, two of the votes' next pairs


def query_pairs(tx) -> list[int]:
    return [number for (number,) in tx.command("SELECT id FROM pairs").fetchall()]


def test_votes_at_the_same_time_take_different_pairs_and_wait_for_nobody(database, open_study):
    seats = open_study(pairs=100, people=6)
    taken = []
    with ExitStack() as stack:
        for key, assignment in seats.items():
            tx = stack.enter_context(database.transaction())
            tx.command("SET LOCAL lock_timeout = '1ms'")
            taken += [one.assignment.pair_id for one in vote(tx, open_study.context(), key, assignment).shown]
    assert len(set(taken)) == 6
    wrong = (
        "SELECT id FROM pairs p WHERE load <> (SELECT COUNT(*) FROM assignments a WHERE a.pair_id = p.id AND a.counted)"
    )
    assert query(database, wrong) == [] and query(database, "SELECT MAX(load) FROM pairs") == [(1,)]


def test_where_few_pairs_are_open_a_vote_holds_only_the_one_that_it_takes(database, open_study):
    """Otherwise one vote would hold all that is left, and everybody else would be asked to wait."""
    seats = open_study(pairs=12, people=5)
    with ExitStack() as stack:
        for key, assignment in seats.items():
            tx = stack.enter_context(database.transaction())
            # Ten of the twelve pairs are out by now; with two votes left on each, any is open.
            assert vote(tx, open_study.context(12), key, assignment).shown, "nothing was left for this person"


def test_pairs_are_held_down_to_the_spare_ones_and_of_the_fewest_votes_first(database, open_study):
    (key, assignment), *_ = open_study(pairs=SPARE + 3, people=1).items()
    values = {"hash": key, "study": 1, "assignment": assignment, "key": "k", **places_to_hold(DESIGN)}
    statement = queries.SESSION_AND_LEASE
    with database.transaction() as tx:
        held = tx.one(statement, **values)[-1]
        assert len(held) == 8 and {load for _, _, load, _ in held} == {0}
        first = tx.command("SELECT id FROM pairs WHERE load = 0 ORDER BY rank LIMIT 8").fetchall()
        assert [pair for pair, *_ in held] == [number for (number,) in first]
    with database.transaction() as tx:
        tx.command(f"UPDATE pairs SET disabled = TRUE WHERE id IN (SELECT id FROM pairs ORDER BY id LIMIT {3})")
        assert tx.one(statement, **values)[-1] == []
    with database.transaction() as tx:
        tx.command("UPDATE pairs SET disabled = FALSE")
        tx.command("UPDATE sessions SET plan = repeat('G', length(plan))")
        assert tx.one(statement, **values)[-1] == []


@pytest.mark.parametrize("change", ["pool = 'decided'", "disabled = TRUE"])
def test_a_pair_that_was_decided_meanwhile_is_neither_claimed_nor_held(database, open_study, change):
    (key, assignment), *_ = open_study(pairs=SPARE + 20, people=1).items()
    with database.transaction() as tx:
        recent = {f"r{place}": -1 for place in range(8)}
        walk = {"study": 1, "pool": "task", "target": 5, "annotator": 1, "load": 0, "rank": 0, "probes": 9, "window": 9}
        pair, _, load, balance = tx.all(OPEN_PAIRS, **walk, **recent)[0]
        with database.transaction() as other:
            other.command(f"UPDATE pairs SET {change} WHERE id = {pair}")
        assert tx.one(CLAIM_PAIR, pair=pair, load=load, balance=balance, side=1) is None
    values = {"hash": key, "study": 1, "assignment": assignment, "key": "k", **places_to_hold(DESIGN)}
    with database.transaction() as tx, ThreadPoolExecutor(1) as pool:
        tx.command("SELECT id FROM sessions FOR UPDATE")  # for which the vote below waits, having looked at the pairs
        voting = pool.submit(read_for_vote, database, values)
        while not query(database, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            time.sleep(0.01)
        with database.transaction() as other:
            other.command(f"UPDATE pairs SET {change} WHERE load = 0 AND id % 2 = 0")
        tx.command("COMMIT")
        tx.command("BEGIN")
        held = voting.result()
    assert len(held) == 8 and all(number % 2 for number, *_ in held), held


def read_for_vote(database, values) -> list[list[int]]:
    with database.transaction() as tx:
        return tx.one(queries.SESSION_AND_LEASE, **values)[-1]


def test_a_vote_reads_no_table_whole_though_none_has_statistics(database, open_study):
    """A new study has none, and PostgreSQL read all votes for each vote until it had some."""
    tables = ("votes", "sessions", "assignments", "pairs")
    with database.transaction() as tx:
        for table in tables:  # else statistics come a minute after the first of these tests
            tx.command(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    seats = open_study(pairs=400, people=64)
    with database.transaction() as tx:
        for round_ in range(5):
            for key, assignment in seats.items():
                seats[key] = vote(tx, open_study.context(), key, assignment, str(round_)).shown[0].assignment.id
        read = "SELECT relname, seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables"
        found = {name: (whole, probed) for name, whole, probed in tx.command(read).fetchall()}
    for table in tables:
        assert found[table][0] == 0, found
    assert found["sessions"][1] < 64 * 5 * 5, found

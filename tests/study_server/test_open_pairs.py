"""The search for open pairs: its cost for a person who knows half of a large study, and what it must still find."""

from __future__ import annotations

import random

import pytest

from study_server.assignment import open_pairs, queries
from study_server.assignment.open_pairs import ComparisonPairs, Pool, find_open, find_open_comparisons
from study_server.assignment.records import AssignmentContext, PairCache
from study_server.assignment.session import AnnotatorSession
from study_server.studies.design import StudyDesign
from study_server.studies.study import Study
from tests.study_server.visiting import query

PAIRS, TARGET, POOL = 4000, 5, Pool(1, "task")


@pytest.fixture
def large(database, make_study):
    """A study of PAIRS pairs with one vote each; an annotator who judged the half that comes first."""
    make_study(pairs_per_annotator=None)
    recursive = f"WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {PAIRS})"
    numbers = {
        "sqlite": f"({recursive} SELECT n FROM n)",
        "postgresql": f"generate_series(1, {PAIRS})",
    }[database.dialect]
    counter = "n" if database.dialect == "postgresql" else "n.n"
    with database.transaction() as tx:
        tx.command("DELETE FROM pairs")
        tx.command("INSERT INTO comparisons (id, study_id, first_arm, second_arm) VALUES (7, 1, 'a', 'b')")
        tx.command(
            "INSERT INTO pairs (study_id, pair_key, prompt_id, sample_index, first_image_id, second_image_id, pool,"
            f" rank, load, comparison_id) SELECT 1, 'k' || {counter}, p.id, 0, i.id, i.id, 'task', {counter}, 1, 7"
            f" FROM {numbers} AS n, (SELECT MIN(id) AS id FROM prompts) p, (SELECT MIN(id) AS id FROM images) i"
        )
        tx.command("INSERT INTO annotators (id, study_id, pseudonym, created_ms) VALUES (5, 1, 'a', 0)")
        tx.command(
            "INSERT INTO sessions (id, study_id, annotator_id, pseudonym, simulated, state, consent_version,"
            " started_ms, plan) VALUES (9, 1, 5, 's', FALSE, 'active', '1', 0, 'T')"
        )
        judge(tx, f"rank <= {PAIRS // 2}")
    return database


def judge(tx, which: str) -> None:
    tx.command(
        "INSERT INTO assignments (id, session_id, annotator_id, pair_id, kind, position, first_on_left, state, counted,"
        f" served_ms, lease_expires_ms) SELECT id, 9, 5, id, 'task', rank, TRUE, 'voted', TRUE, 0, 0 FROM pairs"
        f" WHERE {which} AND id NOT IN (SELECT pair_id FROM assignments)"
    )


def search(tx, *, seed: int = 0, scope=POOL, find=find_open):
    design = StudyDesign(slug="s", title="t", images="i", votes_per_pair=TARGET)
    study = Study(1, "u", "s", "t", design, task_pairs=PAIRS, practice_pairs=0, gold_pairs=0)
    context = AssignmentContext(study, PairCache(), random.Random(seed), 0)
    session = AnnotatorSession(
        9, 1, 5, False, "active", 0, "T", 0, 0, 0, 0, 0, (), None, None, None, None, preview=False, status="open"
    )
    if find is find_open_comparisons:
        return find_open_comparisons(tx, context, session)
    return find_open(tx, context, session, scope, target=TARGET)


def work(tx, task) -> float:
    """How much the database does, whatever the machine: steps of SQLite's engine, or rows fetched by index."""
    if tx.dialect == "sqlite":
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        tx._connection.set_progress_handler(count, 1)
        task()
        tx._connection.set_progress_handler(None, 0)
        return steps

    def fetched() -> int:
        return tx._execute("SELECT SUM(idx_tup_fetch + seq_tup_read) FROM pg_stat_xact_user_tables").fetchone()[0]

    before = fetched()
    task()
    return fetched() - before


@pytest.mark.parametrize("scope", [POOL, ComparisonPairs(7)])
def test_a_vote_of_a_person_who_knows_half_of_the_pairs_costs_little_more_than_a_newcomers(large, scope):
    with large.transaction() as tx:
        known = sum(work(tx, lambda n=n: search(tx, seed=n, scope=scope)) for n in range(20)) / 20
        tx.command("UPDATE assignments SET annotator_id = 6")
        fresh = work(tx, lambda: search(tx, scope=scope))
        tx.command("UPDATE assignments SET annotator_id = 5")
        walk = dict(target=TARGET, annotator=5, load=0, rank=0, probes=open_pairs.ALL, window=8)
        prompts = {f"r{i}": -1 for i in range(8)}
        statement = scope.statements[0]
        naive = work(tx, lambda: tx.all(statement, **walk, **prompts, **scope._asdict()))
    assert known < naive / 8, "one walk over all that the person has judged"
    assert known < fresh + 2 * open_pairs.FIRST * naive / (PAIRS // 2)


def test_a_person_who_knows_half_of_the_pairs_goes_on_to_the_other_half_and_sees_none_twice(large):
    with large.transaction() as tx:
        for seed in range(100):
            # judge() passes by what is judged already, so that a pair shown again would not be counted below.
            judge(tx, f"id = {random.Random(seed).choice(search(tx, seed=seed)).pair_id}")
    assert query(large, "SELECT COUNT(*) FROM assignments") == [(PAIRS // 2 + 100,)]


def test_the_fewest_votes_come_first_for_a_person_who_knows_half_of_the_pairs(large):
    with large.transaction() as tx:
        tx.command(f"UPDATE pairs SET load = 2 WHERE rank > {PAIRS // 2} AND rank % 10 <> 0")
        for seed in range(30):
            assert {pair.load for pair in search(tx, seed=seed)} == {1}, "one in ten of the unseen has a single vote"


def test_a_level_of_which_everything_is_known_does_not_hide_the_next_nor_make_it_dear(large):
    with large.transaction() as tx:
        tx.command(f"UPDATE pairs SET load = 2 WHERE rank > {PAIRS // 2}")
        for seed in range(10):
            assert {pair.load for pair in search(tx, seed=seed)} == {2}


def test_the_very_last_pair_is_found_and_after_it_nothing(large):
    with large.transaction() as tx:
        judge(tx, f"rank <> {PAIRS - 3}")
        (last,) = [pair.pair_id for pair in search(tx)]
        assert tx._execute(f"SELECT rank FROM pairs WHERE id = {last}").fetchone() == (PAIRS - 3,)
        assert search(tx, find=find_open_comparisons) == [7]
        judge(tx, "TRUE")
        assert search(tx) == [] and search(tx, find=find_open_comparisons) == []


def test_whether_a_comparison_is_open_to_a_person_who_knows_half_of_it_is_cheap_to_say(large):
    with large.transaction() as tx:
        assert search(tx, find=find_open_comparisons) == [7]
        known = sum(work(tx, lambda n=n: search(tx, seed=n, find=find_open_comparisons)) for n in range(20)) / 20
        naive = work(
            tx,
            lambda: tx.all(
                queries.OPEN_COMPARISONS,
                study=1,
                target=TARGET,
                annotator=5,
                probes=open_pairs.ALL,
                rank=0,
                **{f"r{i}": -1 for i in range(8)},
            ),
        )
    assert known < naive / 4

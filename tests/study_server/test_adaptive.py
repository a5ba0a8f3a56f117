"""Adaptive comparisons: worth their votes, drawn with the probability that is stored, exact in their totals."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import optimize, stats

from qsched.errors import InputError
from study_server.assignment import queries
from study_server.assignment.adaptive import draw_comparison, selection_probabilities
from study_server.assignment.ranking import PRIOR_SD, Tally, doubt, fit_posterior, plan_batch
from study_server.assignment.shares import ComparisonShares
from study_server.db import Reader
from study_server.studies.cache import _load
from study_server.studies.comparisons import MAX_ADAPTIVE_ARMS, plan_pairs
from study_server.studies.design import StudyDesign
from study_server.studies.ownership import list_studies
from study_server.writing import contexts
from tests.study_server.visiting import Visitor, query, serving

THETA = (0.0, 0.25, 0.5, 1.5, 1.75, 3.0)
PAIRS = [(i, j) for i in range(6) for j in range(i + 1, 6)]


def simulated_study(seed: int, *, adaptive: bool, votes: int, batch: int = 30) -> list[int]:
    """Number of pairs of six unequal arms that stand in the wrong order after each batch."""
    rng = random.Random(seed)
    tallies = {pair: Tally() for pair in PAIRS}
    shares: dict[int, float] = {}
    wrong = []
    for _ in range(votes // batch):
        for _ in range(batch):
            draw = draw_comparison(range(len(PAIRS)), shares, floor=0.2, rng=rng)
            i, j = PAIRS[draw.comparison_id]
            old = tallies[i, j]
            if rng.random() < 1 / (1 + np.exp(THETA[j] - THETA[i])):
                tallies[i, j] = Tally(old.first + 1, old.second, old.ties)
            else:
                tallies[i, j] = Tally(old.first, old.second + 1, old.ties)
        posterior = fit_posterior(6, tallies, design_effect=2.0)
        wrong.append(sum(posterior.mean[i] > posterior.mean[j] for i, j in PAIRS))
        if adaptive:
            shares = dict(enumerate(plan_batch(posterior, PAIRS, votes=batch)))
    return wrong


@pytest.mark.slow
def test_with_unequal_arms_it_needs_fewer_votes_than_even_sampling_for_the_same_accuracy():
    studies = range(40)
    even = np.mean([simulated_study(seed, adaptive=False, votes=1200) for seed in studies], axis=0)
    adaptive = np.mean([simulated_study(seed, adaptive=True, votes=1200) for seed in studies], axis=0)
    # At half the votes it is as accurate as even sampling is at the end (and a third of the errors at equal votes).
    assert adaptive[19] <= even[39] + 0.1
    assert adaptive[19:].sum() < 0.5 * even[19:].sum()


SHARES = st.dictionaries(st.integers(0, 20), st.floats(0, 1), max_size=20)


@hypothesis_settings(deadline=None)
@given(st.sets(st.integers(0, 20), min_size=1), SHARES, st.floats(0.01, 1))
def test_every_open_comparison_keeps_the_floor_and_probabilities_sum_to_one(opened, shares, floor):
    found = selection_probabilities(sorted(opened), shares, floor=floor)
    assert found.keys() == opened
    assert sum(found.values()) == pytest.approx(1)
    assert min(found.values()) >= floor / len(opened) - 1e-12
    assert max(found.values()) <= 1


@pytest.mark.parametrize("last", range(3))
@pytest.mark.parametrize("votes", [(1, 4, 0), (2, 2, 1), (3, 1, 1)])
def test_the_only_open_comparison_is_drawn_for_certain_whatever_its_share(votes, last):
    shares = {number: count / 5 for number, count in enumerate(votes)}
    assert selection_probabilities([last], shares, floor=0.2) == {last: 1.0}


def test_the_probability_of_a_draw_is_how_often_it_is_drawn():
    shares = {1: 0.5, 2: 0.3, 3: 0.2, 4: 0.0}
    rng = random.Random(5)
    draws = [draw_comparison([1, 2, 4], shares, floor=0.2, rng=rng) for _ in range(20_000)]
    stated = {draw.comparison_id: draw.probability for draw in draws}
    assert stated == pytest.approx({1: 0.2 / 3 + 0.8 * 0.625, 2: 0.2 / 3 + 0.8 * 0.375, 4: 0.2 / 3})
    seen = Counter(draw.comparison_id for draw in draws)
    assert stats.chisquare([seen[n] for n in stated], [20_000 * stated[n] for n in stated]).pvalue > 0.01
    assert draw_comparison([], shares, floor=0.2, rng=rng) is None


def test_the_posterior_is_the_maximum_and_the_curvature_that_a_general_optimiser_finds():
    tallies = {(0, 1): Tally(9, 3, 2), (1, 2): Tally(0, 40, 0), (0, 3): Tally(5, 5, 10)}

    def loss(theta):
        total = theta @ theta / (2 * PRIOR_SD**2)
        for (i, j), t in tallies.items():
            eta = theta[i] - theta[j]
            total += (t.first + t.ties / 2) / 2 * np.logaddexp(0, -eta)
            total += (t.second + t.ties / 2) / 2 * np.logaddexp(0, eta)
        return total

    best = optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
    found = fit_posterior(4, tallies, design_effect=2.0)
    np.testing.assert_allclose(found.mean, best.x, atol=1e-5)
    hessian = np.array(
        [
            optimize.approx_fprime(best.x, lambda x, k=k: optimize.approx_fprime(x, loss, 1e-5)[k], 1e-4)
            for k in range(4)
        ]
    )
    np.testing.assert_allclose(np.linalg.inv(found.covariance), hessian, atol=5e-3)


def test_extreme_tallies_give_finite_strengths_in_their_order():
    found = fit_posterior(3, {(0, 1): Tally(100_000, 0, 0), (1, 2): Tally(100_000, 0, 0)})
    assert np.isfinite(found.mean).all() and found.mean[0] > found.mean[1] > found.mean[2]
    assert sum(plan_batch(found, [(0, 1), (1, 2), (0, 2)], votes=10)) == pytest.approx(1)


def test_the_worth_of_a_vote_is_what_it_takes_off_the_entropy_of_the_order():
    """The second-order formula against the exact expectation over a small normal observation."""
    rng = np.random.default_rng(1)

    def entropy(p):
        return -(p * np.log(p) + (1 - p) * np.log1p(-p))

    for z in (0.0, 0.7, 2.0):
        share = 0.01
        moved = z + np.sqrt(share) * rng.standard_normal(400_000)
        after = entropy(np.clip(stats.norm.cdf(moved / np.sqrt(1 - share)), 1e-12, 1 - 1e-12)).mean()
        assert entropy(stats.norm.cdf(z)) - after == pytest.approx(float(doubt(np.array([z]))[0]) * share, rel=0.1)


def test_votes_go_where_the_order_is_open():
    tallies = {(0, 1): Tally(52, 48, 0), (0, 2): Tally(95, 5, 0), (1, 2): Tally(95, 5, 0)}
    shares = plan_batch(fit_posterior(3, tallies), [(0, 1), (0, 2), (1, 2)], votes=20)
    assert shares[0] == 1.0
    # Without any vote each comparison tells the same: the batch is spread over them.
    assert plan_batch(fit_posterior(3, {}), [(0, 1), (0, 2), (1, 2)], votes=9) == pytest.approx([1 / 3] * 3)


@pytest.mark.slow
async def test_an_adaptive_study_stops_at_exactly_its_total_whoever_comes_and_goes(settings, make_study, database):
    """Two servers, impatient people, leases that run out, skips and reports: the books balance at every commit."""
    make_study(
        comparisons="adaptive",
        votes_per_pair=6,
        votes_total=61,
        lease_seconds=5,
        adaptive={"refresh_votes": 5, "refresh_seconds": 0.1},
    )
    rng = random.Random(3)
    spent = "SELECT (SELECT SUM(load) FROM pairs) + (SELECT SUM(remaining) FROM vote_budgets)"

    async with serving(settings) as one, serving(settings) as two:

        async def person(number: int):
            visitor = await Visitor((one, two)[number % 2]()).enter("?simulated=1")
            await visitor.begin()
            await visitor.vote_all(
                lambda _: rng.choice(["left", "right", "tie", "skip"]), limit=rng.choice([0, 2, 9]), wait=0.5
            )
            assert query(database, spent) == [(61,)]

        await asyncio.gather(*(person(n) for n in range(16)))
        while query(database, "SELECT SUM(remaining) FROM vote_budgets") != [(0,)] or query(
            database, "SELECT COUNT(*) FROM assignments WHERE state = 'leased'"
        ) != [(0,)]:
            await (await Visitor(one()).enter("?simulated=1")).vote_all(wait=0.5)
            assert query(database, spent) == [(61,)]
        late = await Visitor(two()).enter("?simulated=1")
        assert (await late.begin())["state"] == "finished"
    valid = "FROM assignments WHERE kind = 'task' AND state = 'voted' AND counted"
    assert query(database, f"SELECT COUNT(*) {valid}") == [(61,)]
    assert max(count for (count,) in query(database, f"SELECT COUNT(*) {valid} GROUP BY pair_id")) <= 6
    assert not query(database, "SELECT 1 FROM votes_table GROUP BY annotator, pair_id HAVING COUNT(*) > 1")
    probabilities = [row[0] for row in query(database, "SELECT selection_probability FROM votes_table")]
    assert all(0 < p <= 1 for p in probabilities)
    assert [row.target_votes for row in list_studies(database)] == [61]


async def test_a_study_with_a_total_that_is_not_adaptive_stops_there_too_and_stays_balanced(
    settings, make_study, database
):
    make_study(votes_per_pair=5, votes_total=27)

    async with serving(settings) as browser:
        for _ in range(3):
            await (await Visitor(browser()).enter()).vote_all()
    assert Counter(query(database, "SELECT load FROM pairs")) == {(1,): 9, (2,): 9}
    assert {row[0] for row in query(database, "SELECT selection_probability FROM assignments")} == {None}


async def test_without_a_total_an_adaptive_study_fills_every_pair_exactly(settings, make_study, database):
    make_study(comparisons={"baseline": "fp32"}, adaptive={"floor": 0.1}, votes_per_pair=3)

    async with serving(settings) as browser:
        for _ in range(3):
            await (await Visitor(browser()).enter()).vote_all()
    assert Counter(query(database, "SELECT load FROM pairs")) == {(3,): 12}


@pytest.mark.slow
async def test_stored_probabilities_are_the_frequencies_of_the_draws(settings, make_study, database, monkeypatch):
    """Through the server's own statements, with shares far from even; each person sees a few of many pairs."""
    make_study(comparisons="adaptive", votes_per_pair=400, pairs_per_annotator=4, prompt_gap=2)
    numbers = [row[0] for row in query(database, "SELECT id FROM comparisons ORDER BY id")]
    shares = dict(zip(numbers, (0.7, 0.3, 0.0), strict=True))
    monkeypatch.setattr(ComparisonShares, "shares", lambda self, study: shares)

    real = contexts.random.Random
    monkeypatch.setattr(contexts.random, "Random", lambda: real(11))
    async with serving(settings) as browser:
        for _ in range(75):
            await (await Visitor(browser()).enter("?simulated=1")).vote_all()
    rows = query(
        database,
        "SELECT p.comparison_id, a.selection_probability FROM assignments a JOIN pairs p ON p.id = a.pair_id",
    )
    assert len(rows) == 300
    stated = dict(rows)
    assert stated == pytest.approx(dict(zip(numbers, (0.2 / 3 + 0.56, 0.2 / 3 + 0.24, 0.2 / 3), strict=True)))
    seen = Counter(number for number, _ in rows)
    assert stats.chisquare([seen[n] for n in numbers], [300 * stated[n] for n in numbers]).pvalue > 0.01


async def test_the_board_looks_at_the_votes_that_stand_and_only_now_and_then(settings, make_study, database):
    make_study(comparisons="adaptive", votes_per_pair=9, adaptive={"refresh_votes": 10, "refresh_seconds": 60})

    async with serving(settings) as browser:
        for _ in range(4):
            await (await Visitor(browser()).enter()).vote_all(lambda _: "left")
        undone = await Visitor(browser()).enter()
        await undone.begin()
        last = await undone.vote("left")
        undo = {"vote_id": last["vote_id"]}
        again = (await undone.post("api/undo", undo)).json()["assignment"]
        await undone.post("api/votes", undone.ballot(again, "tie"))
    with database.transaction() as tx:
        study = _load(tx, "s", None).study
        rows = tx.all(queries.TALLY, study=study.id, question="overall")
    assert len(rows) == 3
    assert sum(int(first) + int(second) for _, first, second, _ in rows) == 4 * 18
    assert sum(int(ties) for *_, ties in rows) == 1
    on_left = query(
        database,
        "SELECT p.comparison_id, SUM(CASE WHEN a.first_on_left THEN 1 ELSE 0 END) FROM assignments a "
        "JOIN pairs p ON p.id = a.pair_id JOIN votes v ON v.assignment_id = a.id WHERE v.choice = 'left' "
        "AND NOT EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id) GROUP BY p.comparison_id",
    )
    assert {number: int(first) for number, first, *_ in rows} == {number: int(n) for number, n in on_left}

    class CountingReader(Reader):
        looks = 0

        def submit(self, function):
            CountingReader.looks += 1
            return super().submit(function)

    reader, now = CountingReader(database, threads=1), 0.0
    try:
        board = ComparisonShares(reader, clock=lambda: now)
        assert board.shares(study) == {}
        reader._pool.submit(lambda: None).result()
        assert sum(board.shares(study).values()) == pytest.approx(1)
        for _ in range(8):
            board.shares(study)
        assert reader.looks == 1
        board.shares(study)
        assert reader.looks == 2
        reader._pool.submit(lambda: None).result()
        now = 61.0
        board.shares(study)
        assert reader.looks == 3
    finally:
        reader.close()


@pytest.mark.parametrize("statement", ["OPEN_COMPARISONS", "OPEN_PAIRS_OF", "TAKE_FROM_BUDGET"])
def test_the_statements_of_a_draw_walk_an_index(database, statement):
    values = {f"r{i}": -1 for i in range(8)} | dict(study=1, target=5, annotator=1, window=8, comparison=1)
    values |= dict(load=0, rank=0, probes=128)
    chosen = getattr(queries, statement)
    with database.transaction() as tx:
        if database.dialect == "sqlite":
            plan = tx._execute("EXPLAIN QUERY PLAN " + chosen.sqlite, values).fetchall()
            # `p` is a subquery, read as it comes.
            assert not [row for row in plan if row[3].startswith("SCAN ") and row[3] != "SCAN p"], plan
            pairs = [row[3] for row in plan if "pairs" in row[3]]
            assert all("ix_pairs_comparison" in line for line in pairs), plan
            assert statement == "OPEN_COMPARISONS" or not [row for row in plan if "TEMP B-TREE" in row[3]], plan
        else:
            tx.command("SET LOCAL enable_seqscan = off")
            plan = "\n".join(row[0] for row in tx._execute("EXPLAIN " + chosen.postgresql, values).fetchall())
            assert "Seq Scan" not in plan, plan
            assert statement == "TAKE_FROM_BUDGET" or "ix_pairs_comparison" in plan, plan


def test_a_total_that_the_pairs_cannot_give_and_too_many_arms_are_refused():
    arms = [f"a{n}" for n in range(MAX_ADAPTIVE_ARMS + 1)]
    images = [("p", 0, arm) for arm in arms]
    head = {"slug": "s", "title": "t", "images": "i"}
    with pytest.raises(InputError, match=r"1 pairs x 5 votes are 5; lower it"):
        plan_pairs(StudyDesign(**head, votes_total=6, arms=("a0", "a1")), arms=arms, images=images)
    with pytest.raises(InputError, match="31 arms; an adaptive study has at most 30"):
        plan_pairs(StudyDesign(**head, comparisons="adaptive"), arms=arms, images=images)

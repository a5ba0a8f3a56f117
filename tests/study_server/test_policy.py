"""The policies of assignment, tried on random orders of events without database or clock."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from study_server.assignment.policy import (
    REPEAT_GAP,
    Candidate,
    Person,
    PlanCounts,
    choose_pair,
    draw_side,
    plan_session,
    remember,
    scored_length,
)

COUNTS = st.builds(
    PlanCounts,
    practice=st.integers(0, 3),
    warmup=st.integers(0, 3),
    task=st.integers(1, 60),
    gold=st.integers(0, 5),
    instructed=st.integers(0, 3),
    repeats=st.integers(0, 5),
)


@given(COUNTS, st.integers())
def test_a_plan_holds_exactly_what_was_asked_practice_first(counts, seed):
    plan = plan_session(counts, random.Random(seed))
    assert {letter: plan.count(letter) for letter in "PWTGIR"} == {
        "P": counts.practice,
        "W": counts.warmup,
        "T": counts.task,
        "G": counts.gold,
        "I": counts.instructed,
        "R": counts.repeats,
    }
    assert plan.startswith("P" * counts.practice + "W" * counts.warmup)
    assert scored_length(plan) == len(plan) - counts.practice


@given(st.integers(20, 60), st.integers(1, 4), st.integers())
def test_a_repeat_never_comes_before_there_is_something_old_enough_to_repeat(task, repeats, seed):
    counts = PlanCounts(practice=0, warmup=0, task=task, gold=0, instructed=0, repeats=repeats)
    assert plan_session(counts, random.Random(seed)).index("R") >= REPEAT_GAP


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        pair_id=st.integers(1, 1000),
        prompt_id=st.integers(1, 6),
        load=st.integers(0, 4),
        side_balance=st.integers(-2, 2),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda c: c.pair_id,
)


@given(CANDIDATES, st.lists(st.integers(1, 6), max_size=4, unique=True), st.integers(-5, 5), st.integers())
def test_the_choice_avoids_recent_prompts_first_then_takes_the_fewest_votes(candidates, recent, balance, seed):
    choice = choose_pair(candidates, Person(tuple(recent), balance), random.Random(seed))
    chosen = next(c for c in candidates if c.pair_id == choice.pair_id)
    fresh = [c for c in candidates if c.prompt_id not in recent]
    if fresh:
        assert chosen in fresh
        assert chosen.load == min(c.load for c in fresh)
    else:
        oldest = min(recent.index(c.prompt_id) for c in candidates)
        assert recent.index(chosen.prompt_id) == oldest


def test_without_candidates_there_is_no_choice():
    assert choose_pair([], Person((), 0), random.Random(1)) is None


def test_ties_are_broken_at_random():
    candidates = [Candidate(n, n, 0, 0) for n in range(10)]
    drawn = {choose_pair(candidates, Person((), 0), random.Random(seed)).pair_id for seed in range(200)}
    assert drawn == set(range(10))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7))
def test_in_a_simulated_study_pairs_and_people_end_with_even_sides(seed, votes_per_pair):
    """Annotators in random order judge 30 pairs of 10 prompts until each has its votes."""
    rng = random.Random(seed)
    pairs = {n: Candidate(n, n % 10, 0, 0) for n in range(30)}
    lefts = []
    for _ in range(votes_per_pair):
        person, seen, balance = (), set(), 0
        while len(seen) < 30:
            window = sorted((p for n, p in pairs.items() if n not in seen), key=lambda p: (p.load, p.pair_id))[:12]
            choice = choose_pair(window, Person(person, balance), rng)
            pair, side = pairs[choice.pair_id], 1 if choice.first_on_left else -1
            pairs[pair.pair_id] = Candidate(pair.pair_id, pair.prompt_id, pair.load + 1, pair.side_balance + side)
            seen.add(pair.pair_id)
            balance += side
            person = remember(person, pair.prompt_id, gap=3)
        lefts.append(balance)
    assert {abs(pair.side_balance) for pair in pairs.values()} <= {votes_per_pair % 2}
    # A person's sides may drift by what their pairs force: each round undoes the one before it.
    assert abs(sum(lefts)) <= 30 * (votes_per_pair % 2)
    assert abs(lefts[0]) <= 1


def test_a_side_evens_out_the_pair_first_then_the_person():
    rng = random.Random(0)
    assert draw_side(pair_balance=-1, left_balance=5, rng=rng)
    assert not draw_side(pair_balance=1, left_balance=-5, rng=rng)
    assert draw_side(pair_balance=0, left_balance=-1, rng=rng)
    assert not draw_side(pair_balance=0, left_balance=1, rng=rng)
    assert {draw_side(pair_balance=0, left_balance=0, rng=rng) for _ in range(50)} == {True, False}

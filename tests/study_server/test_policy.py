"""The policies of assignment, tried on random orders of events without database or clock."""

from __future__ import annotations

import random
from dataclasses import dataclass
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study_server.assignment.policy import (
    AnnotatorHistory,
    Candidate,
    choose_pair,
    draw_side,
    plan_session,
    remember,
)
from study_server.studies.session_length import REPEAT_GAP, TrialCounts

COUNTS = st.builds(
    TrialCounts,
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


@given(st.integers(20, 60), st.integers(1, 4), st.integers())
def test_a_repeat_never_comes_before_there_is_something_old_enough_to_repeat(task, repeats, seed):
    counts = TrialCounts(practice=0, warmup=0, task=task, gold=0, instructed=0, repeats=repeats)
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
    choice = choose_pair(candidates, AnnotatorHistory(tuple(recent), balance), random.Random(seed))
    chosen = next(c for c in candidates if c.pair_id == choice.pair_id)
    fresh = [c for c in candidates if c.prompt_id not in recent]
    if fresh:
        assert chosen in fresh
        assert chosen.load == min(c.load for c in fresh)
    else:
        oldest = min(recent.index(c.prompt_id) for c in candidates)
        assert recent.index(chosen.prompt_id) == oldest


def test_without_candidates_there_is_no_choice():
    assert choose_pair([], AnnotatorHistory((), 0), random.Random(1)) is None


def test_ties_are_broken_at_random():
    candidates = [Candidate(n, n, 0, 0) for n in range(10)]
    drawn = {choose_pair(candidates, AnnotatorHistory((), 0), random.Random(seed)).pair_id for seed in range(200)}
    assert drawn == set(range(10))


@dataclass
class Simulated:
    """What a simulated study showed: how often two guessers were right, and what stayed uneven at the end."""

    all_knowing: float
    by_own_screen: float
    person_lean: float
    pair_lean: float


def simulate(*, people: int, pairs: int, seed: int) -> Simulated:
    """People judge 40 pairs each. Before each pair two guessers say on which side the first arm will be: one knows the
    rule and every balance, the other the rule and what the own screen has shown."""
    rng, guess = random.Random(seed), random.Random(seed + 1)
    known = {n: Candidate(n, n % 10, 0, 0) for n in range(pairs)}
    right, leans = [0, 0], []

    def call(balance: int) -> int:
        return -1 if balance > 0 else 1 if balance < 0 else guess.choice((1, -1))

    for _ in range(people):
        recent, seen, lean = (), set(), 0
        for _ in range(40):
            window = sorted((c for n, c in known.items() if n not in seen), key=lambda c: (c.load, c.pair_id))[:8]
            choice = choose_pair(window, AnnotatorHistory(recent, lean), rng)
            pair, side = known[choice.pair_id], 1 if choice.first_on_left else -1
            right[0] += call(pair.side_balance or lean) == side
            right[1] += call(lean) == side
            known[pair.pair_id] = pair._replace(load=pair.load + 1, side_balance=pair.side_balance + side)
            seen.add(pair.pair_id)
            lean += side
            recent = remember(recent, pair.prompt_id, gap=3)
        leans.append(abs(lean))
    total = people * 40
    uneven = mean(abs(pair.side_balance) for pair in known.values())
    return Simulated(right[0] / total, right[1] / total, mean(leans), uneven)


def test_nobody_foretells_the_side_and_both_pairs_and_people_stay_nearly_even():
    studies = [simulate(people=20, pairs=100, seed=seed) for seed in range(12)]
    assert mean(study.all_knowing for study in studies) < 0.61, "who knows the rule and every balance"
    assert mean(study.by_own_screen for study in studies) < 0.57, "who knows the rule and the own screen"
    # A fair coin leaves 5.1 of 40 for a person and 2.1 of 8 votes for a pair.
    assert mean(study.person_lean for study in studies) < 4.2
    assert mean(study.pair_lean for study in studies) < 1.7


def test_the_first_person_of_a_study_cannot_foretell_the_side():
    firsts = [simulate(people=1, pairs=100, seed=seed) for seed in range(100)]
    assert 0.5 < mean(study.all_knowing for study in firsts) < 0.61


@pytest.mark.parametrize(
    ("pair", "person", "chance"), [(0, 0, 0.5), (-1, 5, 0.6), (1, -5, 0.4), (0, -3, 0.6), (0, 3, 0.4)]
)
def test_the_coin_is_biased_towards_evening_out_the_pair_first_then_the_person(pair, person, chance):
    rng = random.Random(0)
    lefts = mean(draw_side(pair_balance=pair, left_balance=person, rng=rng) for _ in range(4000))
    assert abs(lefts - chance) < 0.03

"""The share clause: scores, flags and the bound, beside loops; no distribution of damage makes it claim too much."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.stats.jnd.share import (
    Perception,
    VoteStage,
    flag_probability,
    prompt_scores,
    score_distribution,
    share_bound,
    share_under,
)
from analysis.triplets import BOOSTED, PLAIN, TripletCodes


def test_the_distribution_of_scores_equals_enumeration():
    p = (0.2, 0.3, 0.5)
    twin = np.zeros(9)
    for outcome in itertools.product(range(3), repeat=4):
        twin[sum(outcome)] += np.prod([p[o] for o in outcome])
    assert score_distribution(4, p) == pytest.approx(twin)


@given(st.integers(0, 20), st.integers(21, 300), st.floats(0.3, 1.0))
def test_the_bound_is_clopper_pearson_over_pi(flagged: int, prompts: int, pi: float):
    upper = stats.binomtest(flagged, prompts, alternative="less").proportion_ci(0.95).high
    assert share_bound(flagged, prompts, pi=pi) == pytest.approx(max(0.0, 1 - upper / pi))


def test_flagging_grows_with_damage_and_falls_with_the_cut():
    even = Perception(people_sd=0.0, gain_sd=0.0)
    stages = (VoteStage(PLAIN, 20, 13.0),)
    flags = [flag_probability(stages, d, even) for d in (0.0, 0.5, 1.0, 1.5)]
    assert flags == sorted(flags)
    assert flag_probability((VoteStage(PLAIN, 20, 14.0),), 1.0, even) < flags[2]
    one = flag_probability((VoteStage(PLAIN, 1, 1.0),), 1.0, Perception(people_sd=0, thresholds=(0, 0), lapses=(0, 0)))
    assert one == pytest.approx(0.75, abs=1e-6)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_scores_equal_a_loop_over_votes(seed: int):
    rng = np.random.default_rng(seed)
    n, prompts = 150, 6
    right = rng.integers(0, 2, n)
    codes = TripletCodes(
        rng.integers(0, 5, n),
        rng.integers(0, prompts, n),
        rng.integers(0, 2, n),
        1 - right,
        right,
        rng.integers(0, 3, n),
        rng.integers(0, 3, n) // 2,
        tuple("abcde"),
        tuple("uvwxyz"),
        ("reference", "arm"),
    )
    stages = (VoteStage(BOOSTED, 3, 2.0), VoteStage(PLAIN, 4, 2.5), VoteStage(BOOSTED, 4, 3.0))
    scores, used = prompt_scores(codes, "arm", stages)
    for p in range(prompts):
        queues = {m: [] for m in (PLAIN, BOOSTED)}
        for v in range(n):
            if codes.prompt[v] == p and codes.kind[v] == 0:
                worse = 2 if codes.right[v] == 1 else 0
                queues[int(codes.presentation[v])].append(
                    0.5 if codes.answer[v] == 1 else float(codes.answer[v] == worse)
                )
        total = 0
        for s, stage in enumerate(stages):
            taken, queues[stage.presentation] = (
                queues[stage.presentation][: stage.votes],
                queues[stage.presentation][stage.votes :],
            )
            total += len(taken)
            expected = sum(taken) if len(taken) == stage.votes else np.nan
            assert scores[p, s] == pytest.approx(expected, nan_ok=True)
        assert used[p] == total


def test_a_prompt_without_its_votes_counts_as_flagged_unless_cleared():
    zero = np.zeros(6, dtype=np.int64)
    codes = TripletCodes(
        zero,
        np.array([0, 0, 1, 1, 2, 2]),
        zero,
        zero,
        zero + 1,
        np.array([0, 0, 2, 2, 2, 2]),
        zero,
        ("a",),
        ("cleared", "open", "also open", "never shown"),
        ("reference", "arm"),
    )
    found = share_under(codes, "arm", (VoteStage(PLAIN, 2, 1.0), VoteStage(PLAIN, 2, 1.0)), pi=0.9)
    assert (found.prompts, found.flagged, found.incomplete) == (4, 3, 3)
    assert found.open_prompts == ("open", "also open", "never shown")
    changed = {"cleared", "not in the votes"}
    strict = share_under(codes, "arm", (VoteStage(PLAIN, 2, 1.0), VoteStage(PLAIN, 2, 1.0)), pi=0.9, changed=changed)
    assert (strict.prompts, strict.flagged) == (5, 5), "other content is never under 1 JND"
    assert strict.open_prompts == found.open_prompts


def test_seven_percent_of_broken_prompts_are_hardly_ever_passed_over():
    """By exact probabilities, for the worst case of prompts at exactly 1 JND and all others at 0."""
    stages = (VoteStage(BOOSTED, 12, 10.0), VoteStage(BOOSTED, 40, 34.0))
    perception = Perception(gain=2.2, gain_sd=0.15)
    pi = flag_probability(stages, 1.0, perception)
    most = max(f for f in range(200) if share_bound(f, 200, pi=pi) >= 0.95)
    assert stats.binom.cdf(most, 14, pi) < 0.05

"""Votes that determine no estimate are refused, with the arms and the remedy; never a number."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats import NoEstimateError, count_arrays, count_table, examine, fit_bradley_terry, fit_model
from analysis.stats.results import Model

CONNECTED = [("a", "b", 3, 2), ("b", "c", 2, 2), ("a", "c", 4, 1)]


def refusal(rows: list[tuple], **options) -> NoEstimateError:
    with pytest.raises(NoEstimateError) as caught:
        fit_model(count_table(rows), **options)
    return caught.value


def test_two_groups_never_compared_are_named_and_not_ranked():
    error = refusal([("a", "b", 3, 2), ("c", "d", 2, 2)])
    assert error.diagnosis.islands == (("a", "b"), ("c", "d"))
    assert "a, b | c, d" in str(error) and "Add comparisons between the groups" in str(error)


def test_groups_never_compared_are_not_said_to_have_gone_one_way():
    only_apart = refusal([("a", "b", 3, 2), ("c", "d", 2, 2)]).diagnosis
    assert len(only_apart.problems) == 1 and len(only_apart.remedies) == 1
    both = refusal([("a", "b", 3, 2), ("c", "d", 2, 2), ("e", "f", 1, 1), ("c", "e", 2, 0)]).diagnosis
    assert [words for words in both.problems if "one way" in words] == [
        "Between these groups every comparison that was made went one way: c, d | e, f. "
        "The differences between the groups are infinite."
    ]
    assert any("--penalty firth" in words for words in both.remedies)


def test_firth_does_not_bridge_groups_but_ridge_may():
    rows = [("a", "b", 3, 2), ("c", "d", 2, 2)]
    assert "groups" in str(refusal(rows, penalty="firth"))
    assert np.isfinite(fit_model(count_table(rows), penalty="ridge:1").log_strengths).all()


@pytest.mark.parametrize(
    ("rows", "won", "lost"),
    [([*CONNECTED, ("d", "a", 0, 5)], ("d",), ()), ([*CONNECTED, ("d", "a", 5, 0), ("d", "b", 1, 0)], (), ("d",))],
)
def test_an_arm_that_never_won_or_never_lost_is_named(rows, won, lost):
    error = refusal(rows)
    assert error.diagnosis.never_won == won and error.diagnosis.never_lost == lost
    assert "d" in str(error) and "infinit" in str(error) and "--penalty firth" in str(error)
    shrunk = fit_model(count_table(rows), penalty="firth")
    assert np.isfinite(shrunk.log_strengths).all() and shrunk.converged


def test_a_group_that_beat_all_others_is_named():
    rows = [("a", "b", 2, 3), ("c", "d", 2, 2), ("a", "c", 4, 0), ("b", "d", 1, 0)]
    error = refusal(rows)
    assert error.diagnosis.components == (("a", "b"), ("c", "d"))
    assert "a, b | c, d" in str(error)


def test_the_largest_set_of_arms_that_has_an_estimate_is_named_and_has_one():
    rows = [
        ("a", "b", 5, 3),
        ("b", "c", 4, 4),
        ("a", "c", 6, 2),
        ("a", "lost", 5, 0),
        ("d", "e", 2, 1),
        ("d", "a", 3, 0),
    ]
    counts = count_table(rows)
    found = examine(counts)
    assert found.estimable == ("a", "b", "c")
    (remedy,) = [words for words in found.remedies if "--exclude-arm" in words]
    assert remedy.startswith("Leave out d, e, lost (--exclude-arm): the 3 arms a, b, c have an estimate")
    assert fit_bradley_terry(counts.restrict(found.estimable)).arms == ("a", "b", "c")
    assert examine(count_table([("a", "b", 5, 0)])).estimable == ()
    assert examine(count_table([("a", "b", 5, 1)])).estimable == ()


def test_a_tie_connects_in_both_directions_unless_ties_are_dropped():
    rows = [*CONNECTED, ("d", "a", 0, 5, 1)]
    fit_bradley_terry(count_table(rows))
    with pytest.raises(NoEstimateError):
        fit_bradley_terry(count_table(rows), ties="drop")


def test_an_arm_left_without_votes_by_dropping_ties_is_named():
    with pytest.raises(NoEstimateError, match=r"No votes without ties for d"):
        fit_bradley_terry(count_table([*CONNECTED, ("d", "a", 0, 0, 4)]), ties="drop")


def test_a_side_that_wins_every_vote_is_refused_only_where_the_effect_is_fitted():
    counts = count_arrays(["a", "b", "a", "c", "b", "c"], ["b", "a", "c", "a", "c", "b"], ["left"] * 6)
    assert fit_bradley_terry(counts).log_strengths == pytest.approx([0, 0, 0])
    with pytest.raises(NoEstimateError, match="left image won every vote") as caught:
        fit_bradley_terry(counts, position_effect=True)
    assert caught.value.diagnosis.position_separated
    with pytest.raises(NoEstimateError, match="left image won every vote"):
        fit_bradley_terry(counts, position_effect=True, penalty="ridge:1")


def test_arms_that_lay_on_one_side_only_cannot_be_told_from_the_side():
    rows = [("a", "b", 3, 2, 0, 1), ("a", "c", 2, 2, 0, 1), ("d", "b", 1, 2, 0, 1), ("d", "c", 2, 2, 0, 1)]
    with pytest.raises(NoEstimateError, match="one side only"):
        fit_bradley_terry(count_table(rows), position_effect=True)
    fit_bradley_terry(count_table(rows))


@pytest.mark.parametrize("model", ["davidson", "rao-kupper"])
def test_tie_models_need_ties_and_something_else(model: Model):
    assert "no tie" in str(refusal(CONNECTED, model=model))
    assert "Every vote is a tie" in str(refusal([("a", "b", 0, 0, 3), ("b", "c", 0, 0, 3)], model=model))


@pytest.mark.parametrize("model", ["davidson", "rao-kupper"])
def test_ties_among_neighbours_and_wins_between_distant_arms_have_no_estimate(model: Model):
    # Davidson's model fits this perfectly with strengths (c, 0, -c) and nu = exp(c/2) as c grows, although the
    # graph of wins and ties is strongly connected: only the linear programme finds it.
    rows = [("a", "b", 0, 0, 5), ("b", "c", 0, 0, 5), ("a", "c", 5, 0, 0)]
    assert "separate" in str(refusal(rows, model=model))
    fit_model(count_table(rows))


def test_a_covariate_that_never_varies_within_a_pair_is_refused():
    left, right = ["a", "b", "a", "b"], ["b", "a", "b", "a"]
    choice = ["left", "left", "right", "right"]
    same = count_arrays(left, right, choice, covariates={"size": [1, -1, 1, -1]})
    with pytest.raises(NoEstimateError, match="size"):
        fit_bradley_terry(same)
    varied = count_arrays(left * 2, right * 2, choice * 2, covariates={"size": [1, -1, 1, -1, 2, 3, 2, 3]})
    assert fit_bradley_terry(varied).covariates == ("size",)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_an_estimate_is_given_exactly_where_the_likelihood_has_a_finite_peak(votes):
    """Against the definition by brute force: Ford's condition over all ways to part the arms in two."""
    votes = [(i, j, o) for i, j, o in votes if i != j]
    if not votes:
        return
    names = ["left", "right", "tie"]
    counts = count_arrays([f"a{i}" for i, _, _ in votes], [f"a{j}" for _, j, _ in votes], [names[o] for *_, o in votes])
    arms = sorted({i for i, _, _ in votes} | {j for _, j, _ in votes})
    wins = {(i, j) for i, j, o in votes if o in (0, 2)} | {(j, i) for i, j, o in votes if o in (1, 2)}
    connected = all(
        any((i, j) in wins for i in part for j in arms if j not in part)
        for size in range(1, len(arms))
        for part in itertools.combinations(arms, size)
    )
    assert examine(counts).exists == connected
    if connected:
        fit = fit_bradley_terry(counts)
        assert fit.gradient < 1e-7 and np.abs(fit.log_strengths).max() < 20


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1)), min_size=3, max_size=14))
@settings(max_examples=150, deadline=None)
def test_with_a_position_effect_the_graph_test_equals_the_linear_programme(votes):
    from analysis.stats.existence import _separated_by_programme

    votes = [(i, j, o) for i, j, o in votes if i != j]
    if not votes:
        return
    counts = count_arrays(
        [f"a{i}" for i, _, _ in votes], [f"a{j}" for _, j, _ in votes], [("left", "right")[o] for *_, o in votes]
    )
    by_graph = examine(counts, position_effect=True).exists
    assert by_graph == (not _separated_by_programme(counts, "bradley-terry", True, free=True))

"""What must not change an estimate: names, sides, the order of rows, how rows are split, who comes first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import analysis.stats.cluster_counts as clusters_module
import analysis.stats.counts as counts_module
from analysis.stats import EstimateSettings, count_table, estimate, fit_model
from analysis.stats.results import Estimate, Method, Model
from tests.analysis.conftest import counts_of, draw_study

MODELS: tuple[Model, ...] = ("bradley-terry", "davidson", "rao-kupper")
SWAP = {"left": "right", "right": "left", "tie": "tie"}
seeds = st.integers(0, 100_000)


def summary(result: Estimate) -> dict[str, tuple[float, ...]]:
    return {row.arm: (row.log_strength, row.se, row.low, row.high) for row in result.strengths}


def close(one: dict[str, tuple[float, ...]], two: dict[str, tuple[float, ...]]) -> None:
    assert one.keys() == two.keys()
    for arm, values in one.items():
        assert values == pytest.approx(two[arm], abs=1e-9), arm


def settings_for(model: Model, *, position: bool = True) -> EstimateSettings:
    return EstimateSettings(model=model, position_effect=position, method="sandwich")


@given(seeds, st.sampled_from(MODELS))
@settings(max_examples=15, deadline=None)
def test_the_order_of_rows_changes_nothing(seed: int, model: Model):
    study = draw_study(seed=seed, arms=3, annotators=8, each=20)
    order = np.random.default_rng(seed).permutation(len(study["left"]))
    shuffled = {name: [values[i] for i in order] for name, values in study.items()}
    close(*(summary(estimate(counts_of(s), settings_for(model))) for s in (study, shuffled)))


@given(seeds, st.sampled_from(MODELS))
@settings(max_examples=15, deadline=None)
def test_other_names_for_arms_annotators_and_prompts_change_nothing(seed: int, model: Model):
    study = draw_study(seed=seed, arms=3, annotators=8, each=20)
    rename = {"arm0": "zebra", "arm1": "Äpfel", "arm2": "42"}
    other = dict(study)
    for side in ("left", "right"):
        other[side] = [rename[arm] for arm in study[side]]
    for who in ("annotator", "prompt"):
        other[who] = [name[::-1] + "!" for name in study[who]]
    one, two = (summary(estimate(counts_of(s), settings_for(model))) for s in (study, other))
    close({rename[arm]: values for arm, values in one.items()}, two)


@given(seeds, st.sampled_from(MODELS))
@settings(max_examples=15, deadline=None)
def test_swapping_all_sides_turns_the_position_effect_around_and_nothing_else(seed: int, model: Model):
    study = draw_study(seed=seed, arms=3, annotators=8, each=20)
    swapped = dict(study, left=study["right"], right=study["left"], choice=[SWAP[c] for c in study["choice"]])
    one, two = (estimate(counts_of(s), settings_for(model)) for s in (study, swapped))
    close(summary(one), summary(two))
    assert one.position_effect is not None and two.position_effect is not None
    assert one.position_effect.log_odds == pytest.approx(-two.position_effect.log_odds, abs=1e-9)
    assert [row.raw.win_rate for row in one.pairwise] == pytest.approx([row.raw.win_rate for row in two.pairwise])


@given(seeds, st.sampled_from(MODELS))
@settings(max_examples=15, deadline=None)
def test_without_a_position_effect_the_side_of_single_votes_changes_nothing(seed: int, model: Model):
    study = draw_study(seed=seed, arms=3, annotators=8, each=20)
    flip = np.random.default_rng(seed).random(len(study["left"])) < 0.5
    turned = {name: list(values) for name, values in study.items()}
    for i in np.flatnonzero(flip):
        turned["left"][i], turned["right"][i] = study["right"][i], study["left"][i]
        turned["choice"][i] = SWAP[study["choice"][i]]
    close(*(summary(estimate(counts_of(s), settings_for(model, position=False))) for s in (study, turned)))


@given(st.lists(st.integers(1, 30), min_size=9, max_size=9), st.floats(0.05, 0.95), st.sampled_from(MODELS))
@settings(max_examples=25, deadline=None)
def test_splitting_a_row_of_counts_in_two_changes_nothing(numbers: list[int], share: float, model: Model):
    rows = [("a", "b", *numbers[:3]), ("b", "c", *numbers[3:6]), ("c", "a", *numbers[6:])]
    a, b, *counts = rows[0]
    parts = [(a, b, *(n * weight for n in counts)) for weight in (share, 1 - share)]
    one, two = (fit_model(count_table(table), model=model) for table in (rows, [*parts, *rows[1:]]))
    assert one.parameters == pytest.approx(two.parameters, abs=1e-8)
    assert one.log_likelihood == pytest.approx(two.log_likelihood, abs=1e-8)
    assert one.covariance == pytest.approx(two.covariance, abs=1e-8)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_strengths_sum_to_zero_and_better_counts_give_better_strengths(seed: int):
    study = draw_study(seed=seed, arms=4)
    base = fit_model(counts_of(study))
    more = {name: [*values] for name, values in study.items()}
    for other in ("arm1", "arm2", "arm3"):
        for name, value in zip(study, ("arm0", other, "left", "ann00", "pr00"), strict=True):
            more[name].append(value)
    better = fit_model(counts_of(more))
    assert base.log_strengths.sum() == pytest.approx(0, abs=1e-12)
    assert better.log_strengths[0] > base.log_strengths[0]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    counts = counts_of(draw_study())
    one, two, other = (estimate(counts, EstimateSettings(seed=seed, resamples=200)) for seed in (4, 4, 5))
    assert one.strengths == two.strengths and one.pairwise == two.pairwise
    assert one.strengths != other.strengths


@pytest.mark.parametrize("method", ["sandwich", "bootstrap"])
def test_counts_by_cluster_that_are_kept_sparsely_give_the_same(monkeypatch: pytest.MonkeyPatch, method: Method):
    study = draw_study(seed=5, arms=40, annotators=30, each=60)
    settings = EstimateSettings(method=method, resamples=60)
    dense = counts_of(study)
    assert not any(sparse.issparse(dense.clusters[name].counts) for name in ("annotator", "prompt"))
    monkeypatch.setattr(clusters_module, "_EMPTY_ENTRIES", 0)
    monkeypatch.setattr(clusters_module, "_FILLED", 1.0)
    thin = counts_of(study)
    assert all(sparse.issparse(thin.clusters[name].counts) for name in ("annotator", "prompt"))
    one, two = estimate(dense, settings), estimate(thin, settings)
    close(summary(one), summary(two))
    assert [(p.raw.low, p.raw.high, p.df) for p in one.pairwise] == [
        pytest.approx((p.raw.low, p.raw.high, p.df), abs=1e-9) for p in two.pairwise
    ]


def test_pairs_of_many_arms_are_counted_by_sorting_and_give_the_same(monkeypatch: pytest.MonkeyPatch):
    study = draw_study(seed=6, arms=6, annotators=12, each=30)
    table = counts_of(study)
    monkeypatch.setattr(counts_module, "_TABULATED_ARMS", 5)
    ordered = counts_of(study)
    for name in ("left", "right", "outcomes"):
        assert np.array_equal(getattr(table, name), getattr(ordered, name)), name
    assert table.clusters.keys() == ordered.clusters.keys()
    for name in ("annotator", "prompt"):
        assert np.array_equal(table.clusters[name].counts, ordered.clusters[name].counts), name

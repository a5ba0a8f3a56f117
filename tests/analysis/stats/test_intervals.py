"""Intervals: bootstrap against sandwich, what is random, few clusters, many comparisons, ranks, scales."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from analysis.stats import (
    EstimateSettings,
    VoteCounts,
    count_arrays,
    count_table,
    elo,
    estimate,
    fit_bradley_terry,
    fit_model,
    pair_contrasts,
    prepare,
    raw_pairs,
    rebase,
    resample,
    uncertainty_of,
)
from analysis.stats.fit import newton
from analysis.stats.refits import refit
from analysis.stats.results import Model, Penalty
from qsched.records import InputError
from tests.analysis.conftest import counts_of, draw_study


@pytest.mark.parametrize("kind", ["vote", "annotator", "prompt", "two-way"])
def test_the_bootstrap_agrees_with_the_sandwich_on_a_study_of_fair_size(kind):
    counts = counts_of(draw_study(annotators=60, prompts=60, each=40, taste=0.3))
    fit = fit_bradley_terry(counts, position_effect=True)
    sandwich = uncertainty_of(fit, counts, intervals=kind, method="sandwich").covariance
    boot = uncertainty_of(fit, counts, intervals=kind, resamples=400).covariance
    assert np.sqrt(np.diag(boot)) == pytest.approx(np.sqrt(np.diag(sandwich)), rel=0.05)


@pytest.mark.parametrize("model", ["bradley-terry", "davidson", "rao-kupper"])
@pytest.mark.parametrize("penalty", ["none", "ridge:2", "firth"])
def test_chord_iteration_finds_what_newton_finds_on_each_resample(model: Model, penalty: str, counts: VoteCounts):
    fit = fit_model(counts, model=model, position_effect=True, penalty=penalty)
    ready = prepare(fit, counts)
    drawn = resample(ready, unit="annotator", resamples=60, seed=1)
    by_cluster = np.asarray(counts.clusters["annotator"].counts)
    rng = np.random.default_rng([1, 1])
    weights = rng.standard_exponential((60, len(by_cluster)))
    weights *= len(by_cluster) / weights.sum(axis=1, keepdims=True)
    for b in range(60):
        table = (weights[b] @ by_cluster).reshape(-1, 3)
        exact = newton(ready.design, table, model, fit.penalty, fit.parameters)[0]
        assert drawn.draws[b] == pytest.approx(exact, abs=1e-8)


@pytest.mark.parametrize("penalty", ["none", "firth"])
@pytest.mark.parametrize("position_effect", [False, True])
def test_a_reweighted_table_in_which_an_arm_has_no_votes_has_no_estimate(penalty, position_effect):
    study = draw_study(arms=3, annotators=12, each=30)
    columns = study["left"], study["right"], study["annotator"]
    weak, only = max(study["left"]), min(study["annotator"])
    keep = [i for i, row in enumerate(zip(*columns, strict=True)) if weak not in row or only in row]
    counts = counts_of({name: [values[i] for i in keep] for name, values in study.items()})
    ready = prepare(fit_bradley_terry(counts, penalty=penalty, position_effect=position_effect), counts)
    by_annotator = np.asarray(counts.clusters["annotator"].counts)
    weights = np.vstack([np.full(12, 1.0), [0.0, *np.full(11, 12 / 11)]])
    ok = refit(ready, (weights @ by_annotator).reshape(2, -1, 3))[2]
    assert ok.tolist() == [True, False]


def test_a_plain_loop_bootstrap_by_annotator_gives_the_same_errors():
    study = draw_study(annotators=25, each=30)
    counts = counts_of(study)
    fit = fit_bradley_terry(counts)
    ours = uncertainty_of(fit, counts, intervals="annotator", resamples=1000)
    rng = np.random.default_rng(0)
    names = sorted(set(study["annotator"]))
    rows_of = {name: [i for i, a in enumerate(study["annotator"]) if a == name] for name in names}
    draws = []
    for _ in range(300):
        rows = [i for name in rng.choice(names, len(names)) for i in rows_of[name]]
        part = {name: [values[i] for i in rows] for name, values in study.items()}
        draws.append(fit_bradley_terry(count_arrays(part["left"], part["right"], part["choice"])).log_strengths)
    assert np.sqrt(np.diag(ours.covariance)) == pytest.approx(np.std(draws, axis=0) * 25 / 24, rel=0.15)


def test_missing_ids_fall_back_with_a_note_and_a_chosen_one_is_an_error(study):
    no_annotator = count_arrays(study["left"], study["right"], study["choice"], prompt=study["prompt"])
    result = estimate(no_annotator, EstimateSettings(resamples=100))
    assert result.uncertainty.kind == "prompt" and any("no annotator ids" in note for note in result.notes)
    bare = count_arrays(study["left"], study["right"], study["choice"])
    result = estimate(bare, EstimateSettings(resamples=100))
    assert result.uncertainty.kind == "vote" and any("Neither" in words for words in result.warnings)
    with pytest.raises(InputError, match="column of annotator ids"):
        estimate(bare, EstimateSettings(intervals="annotator"))


def test_few_clusters_are_warned_of_and_widen_by_t():
    counts = counts_of(draw_study(annotators=6, each=60))
    result = estimate(counts, EstimateSettings(resamples=100))
    assert any("Only 6 annotators" in words for words in result.warnings)
    assert result.uncertainty.df == 5
    row = result.strengths[0]
    # Nearly five degrees of freedom: a sixth of the variance is the votes' own noise.
    assert row.high - row.log_strength >= stats.t.ppf(0.975, 5.5) * 0.99 * row.se or row.design_effect == 1


def test_a_two_way_interval_is_never_narrower_than_by_votes():
    narrow = 0
    for seed in range(30):
        counts = counts_of(draw_study(seed=seed, annotators=8, prompts=8, each=16, taste=0.0, arms=3))
        result = estimate(counts, EstimateSettings(method="sandwich"))
        bare = dataclasses.replace(result.uncertainty, floor=None)
        plain = pair_contrasts(result.fit.log_strengths, bare)
        for row, low, high in zip(result.pairwise, plain.low, plain.high, strict=True):
            assert row.design_effect >= 1 - 1e-12
            narrow += (row.high - row.low) > (high - low) + 1e-12
    assert narrow > 0, "the floor is at work in some of these studies"


def test_p_values_and_intervals_agree_and_holm_and_max_t_are_stricter(counts: VoteCounts):
    result = estimate(counts, EstimateSettings(resamples=200))
    for row in result.pairwise:
        assert (row.p < 0.05) == (not row.low <= 0 <= row.high)
        assert row.p_holm >= row.p
        assert row.low_all <= row.low and row.high_all >= row.high
        assert row.prob_superior == pytest.approx(1 - row.p / 2 if row.log_odds > 0 else row.p / 2)
    assert any(row.low_all < row.low - 1e-6 for row in result.pairwise)


def test_one_pair_needs_no_adjustment():
    study = draw_study(arms=2)
    row = estimate(counts_of(study), EstimateSettings(method="sandwich")).pairwise[0]
    assert (row.low, row.high, row.p) == (row.low_all, row.high_all, row.p_holm)


def test_ranks_are_certain_for_arms_far_apart_and_open_for_equal_ones():
    far = count_table([("a", "b", 900, 100), ("b", "c", 900, 100), ("a", "c", 990, 10)])
    result = estimate(far, EstimateSettings(intervals="model"))
    assert [(r.arm, r.rank_low, r.rank_high) for r in result.strengths] == [("a", 1, 1), ("b", 2, 2), ("c", 3, 3)]
    near = count_table([("a", "b", 5, 5), ("b", "c", 5, 5), ("a", "c", 5, 5)])
    result = estimate(near, EstimateSettings(intervals="model"))
    assert {(r.rank_low, r.rank_high) for r in result.strengths} == {(1, 3)}


def test_percentile_intervals_are_those_of_the_draws_and_need_a_one_way_bootstrap(counts: VoteCounts):
    result = estimate(counts, EstimateSettings(intervals="annotator", shape="percentile", resamples=300))
    draws = result.uncertainty.draws
    assert draws is not None and draws.shape == (300, 4)
    best = result.fit.arms.index(result.strengths[0].arm)
    assert result.strengths[0].low == pytest.approx(np.quantile(draws[:, best], 0.025), abs=1e-9)
    with pytest.raises(InputError, match="one-way bootstrap"):
        estimate(counts, EstimateSettings(shape="percentile", resamples=100))


def test_scales_agree_and_a_baseline_stands_at_zero_without_error(counts: VoteCounts):
    result = estimate(counts, EstimateSettings(method="sandwich"))
    assert elo(math.log(10)) == pytest.approx(1400)
    rows = {row.arm: row for row in rebase(result, "arm1")}
    assert rows["arm1"].log_strength == rows["arm1"].se == 0 and rows["arm1"].elo == 1000
    pair = next(row for row in result.pairwise if (row.arm_a, row.arm_b) == ("arm1", "arm3"))
    assert rows["arm3"].log_strength == pytest.approx(-pair.log_odds)
    assert rows["arm3"].low == pytest.approx(-pair.high)
    with pytest.raises(InputError, match="'nobody' is not an arm"):
        rebase(result, "nobody")


def test_confidence_outside_its_range_and_unknown_words_are_refused(counts: VoteCounts):
    for wrong in (
        {"confidence": 1.0},
        {"confidence": 95},
        {"model": "elo"},
        {"ties": "ignore"},
        {"intervals": "pigeonhole"},
        {"method": "magic"},
        {"resamples": 3},
        {"model": "davidson", "ties": "drop"},
    ):
        with pytest.raises(InputError):
            estimate(counts, EstimateSettings(**wrong))


def test_pairs_of_which_all_votes_are_alike_get_exact_bounds_and_pairs_without_votes_none():
    study = {"left": ["a"] * 12, "right": ["b"] * 12, "choice": ["left"] * 12}
    ids = [str(i) for i in range(12)]
    left, right, choice = [*study["left"], "b"], [*study["right"], "c"], [*study["choice"], "left"]
    counts = count_arrays(left, right, choice, annotator=[*ids, "0"], prompt=[*ids, "0"])
    ab, ac, bc = raw_pairs(counts)
    assert (ab.win_rate, ab.high, ab.interval) == (1.0, 1.0, "exact")
    assert ab.low == pytest.approx(0.025 ** (1 / 12))
    assert (ac.n_votes, ac.win_rate, ac.interval) == (0, None, "none")
    assert (bc.n_votes, bc.win_rate, bc.low) == (1, 1.0, None)


def test_raw_rates_count_ties_half_apart_or_not_at_all():
    counts = count_table([("a", "b", 6, 2, 4), ("b", "a", 1, 3, 4)])
    (half,) = raw_pairs(counts, intervals="vote")
    assert (half.wins_a, half.wins_b, half.ties) == (9, 3, 8)
    assert half.win_rate == pytest.approx((9 + 4) / 20)
    assert half.win_rate_without_ties == pytest.approx(0.75) and half.tie_rate == pytest.approx(0.4)
    (dropped,) = raw_pairs(counts, intervals="vote", ties="drop")
    assert dropped.win_rate == pytest.approx(0.75) and dropped.n_votes == 20
    assert dropped.low is not None and dropped.low < 0.75 < (dropped.high or 0)


def test_a_penalised_estimate_says_so_and_names_what_it_hides():
    rows = [("a", "b", 3, 2), ("b", "c", 2, 2), ("a", "c", 4, 1), ("d", "a", 0, 5)]
    result = estimate(count_table(rows), EstimateSettings(penalty=Penalty("ridge", 1.0), intervals="vote"))
    assert any("shrunken" in words for words in result.warnings)
    assert any("Never won: d" in words for words in result.warnings)


def test_busy_annotators_count_as_their_effective_number():
    study = draw_study(annotators=20, each=30)
    even = estimate(counts_of(study), EstimateSettings(method="sandwich"))
    assert even.uncertainty.n_clusters["annotator"] == 20 and even.uncertainty.df < 15
    busy = [f"ann{0 if i % 2 else i % 20:02d}" for i in range(len(study["left"]))]
    uneven = estimate(counts_of({**study, "annotator": busy}), EstimateSettings(method="sandwich"))
    n = np.unique(busy, return_counts=True)[1]
    assert uneven.uncertainty.df == pytest.approx(n.sum() ** 2 / (n**2).sum() - 1)
    assert any("count as" in words for words in uneven.warnings) or len(n) < 15


def split_votes(prompts: int, left: int, right: int, ties: int = 0) -> VoteCounts:
    """Every prompt with the same split of votes: its clusters agree entirely."""
    choices = ["left"] * left + ["right"] * right + ["tie"] * ties
    n = prompts * len(choices)
    names = [f"p{i}" for i in range(prompts) for _ in choices]
    people = [f"j{i % len(choices)}" for i in range(n)]
    return count_arrays(["a"] * n, ["b"] * n, choices * prompts, annotator=people, prompt=names)


@pytest.mark.parametrize("method", ["sandwich", "bootstrap"])
@pytest.mark.parametrize("kind", ["two-way", "prompt"])
def test_clusters_that_agree_by_chance_do_not_make_a_detection_of_six_to_three(kind, method):
    result = estimate(split_votes(3, 2, 1), EstimateSettings(intervals=kind, method=method, resamples=200))
    (pair,) = result.pairwise
    assert pair.p > 0.2
    assert pair.win_probability_low < 0.4 and pair.win_probability_high > 0.85
    assert result.strengths[0].high - result.strengths[0].low > 1


def test_percentiles_of_clusters_that_agree_are_not_a_point():
    settings = EstimateSettings(intervals="prompt", resamples=200, shape="percentile")
    (pair,) = estimate(split_votes(3, 2, 1), settings).pairwise
    assert pair.win_probability_high - pair.win_probability_low > 0.3


@pytest.mark.parametrize("kind", ["two-way", "annotator", "vote", "model"])
def test_votes_that_are_all_ties_have_the_width_of_the_information_and_say_so(kind):
    result = estimate(split_votes(10, 0, 0, ties=10), EstimateSettings(intervals=kind, resamples=200))
    (pair,) = result.pairwise
    assert pair.se == pytest.approx(math.sqrt(4 / 100), rel=0.02)
    assert pair.p == 1 and pair.detectable > 0.3
    assert kind == "model" or any("do not vary" in line for line in result.warnings)

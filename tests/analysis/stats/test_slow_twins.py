"""Each estimator beside a slow twin that shares no code with it: a loop, scipy's optimiser, statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize
from statsmodels.stats.multitest import multipletests

from analysis.stats import (
    VoteCounts,
    count_codes,
    fit_bradley_terry,
    fit_model,
    holm,
    parse_penalty,
    prepare,
    raw_pairs,
    resample,
    uncertainty_of,
)
from analysis.stats.fit import firth_terms, make_design, objective
from analysis.stats.likelihood import cell_terms, information_and_slope, outcome_probabilities
from analysis.stats.results import Model
from analysis.stats.small_samples import correction
from analysis.stats.uncertainty import vote_covariance
from tests.analysis.conftest import counts_of, draw_study

MODELS: tuple[Model, ...] = ("bradley-terry", "davidson", "rao-kupper")


def twin_log_likelihood(study: dict[str, list[str]], model: str, arms: tuple[str, ...], beta: np.ndarray) -> float:
    """Vote by vote, from the definitions: beta = [theta, delta, log nu or log kappa]."""
    theta = dict(zip(arms, beta, strict=False))
    delta, last = beta[len(arms)], beta[-1]
    total = 0.0
    for left, right, choice in zip(study["left"], study["right"], study["choice"], strict=True):
        a, b = math.exp(theta[left] + delta), math.exp(theta[right])
        if model == "bradley-terry":
            p = {"left": a / (a + b), "right": b / (a + b)}
            p["tie"] = math.sqrt(p["left"] * p["right"])  # half a win each
        elif model == "davidson":
            tie = math.exp(last) * math.sqrt(a * b)
            p = {"left": a / (a + b + tie), "right": b / (a + b + tie), "tie": tie / (a + b + tie)}
        else:
            k = math.exp(last)
            p = {"left": a / (a + k * b), "right": b / (b + k * a)}
            p["tie"] = 1 - p["left"] - p["right"]
        total += math.log(p[choice])
    return total


@pytest.mark.parametrize("model", MODELS)
def test_fits_equal_a_generic_optimiser_on_the_votes_one_by_one(model: Model):
    study = draw_study(arms=3, annotators=6, each=25, seed=3)
    fit = fit_model(counts_of(study), model=model, position_effect=True)
    k = len(fit.arms)

    def loss(free: np.ndarray) -> float:
        theta = np.append(free[: k - 1], -free[: k - 1].sum())
        return -twin_log_likelihood(study, model, fit.arms, np.concatenate([theta, free[k - 1 :]]))

    start = np.zeros(k if model == "bradley-terry" else k + 1)
    start[-1] = 0.3
    found = minimize(loss, start, method="BFGS", options={"gtol": 1e-7})
    theta = np.append(found.x[: k - 1], -found.x[: k - 1].sum())
    assert np.concatenate([theta, found.x[k - 1 :]]) == pytest.approx(fit.parameters, abs=2e-5)
    assert -found.fun == pytest.approx(fit.log_likelihood, abs=1e-7)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("penalty", ["none", "firth", "ridge:0.7", "gamma:1.5"])
def test_gradient_and_hessian_equal_finite_differences(model: Model, penalty: str, counts: VoteCounts):
    design = make_design(counts, model=model, position_effect=True)
    rng = np.random.default_rng(5)
    beta = rng.normal(0, 0.4, design.n_parameters)
    beta[-1] = 0.6
    chosen = parse_penalty(penalty)

    def at(b: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        return objective(design, counts.outcomes, model, chosen, b)[:3]

    value, gradient, curve = at(beta)
    step = 1e-5
    for axis in range(len(beta)):
        e = np.zeros(len(beta))
        e[axis] = step
        up, down = at(beta + e), at(beta - e)
        assert (up[0] - down[0]) / (2 * step) == pytest.approx(gradient[axis], abs=2e-5), axis
        if penalty != "firth":  # Firth's steps use the information, on purpose
            assert (down[1] - up[1]) / (2 * step) == pytest.approx(curve[axis], abs=1e-4), axis
    assert math.isfinite(value)


@pytest.mark.parametrize("model", MODELS)
def test_probabilities_sum_to_one_and_expected_information_is_the_mean_of_the_observed(model: Model):
    eta, tau = np.linspace(-4, 4, 9), (None if model == "bradley-terry" else 0.4)
    p = outcome_probabilities(model, eta, tau)
    assert p.sum(axis=1) == pytest.approx(1.0)
    terms = cell_terms(model, 100 * p, eta, None if tau is None else np.array([tau]))
    assert terms.score_eta == pytest.approx(0.0, abs=1e-10)


def test_firth_determinant_equals_a_dense_computation(counts: VoteCounts):
    design = make_design(counts, model="davidson", position_effect=True)
    beta = np.linspace(-0.3, 0.4, design.n_parameters)
    value, _, information = firth_terms(design, counts.outcomes.sum(axis=1), "davidson", beta)
    eigenvalues = np.linalg.eigvalsh(information)
    assert abs(eigenvalues[0]) < 1e-8, "adding a constant to all strengths changes nothing"
    assert value == pytest.approx(0.5 * np.log(eigenvalues[1:]).sum(), abs=1e-9)


def test_two_way_sandwich_equals_statsmodels_with_repeated_intersections(study: dict[str, list[str]]):
    counts = counts_of(study).without_ties()
    fit = fit_bradley_terry(counts, position_effect=True)
    ours = uncertainty_of(fit, counts, method="sandwich").covariance
    keep = [i for i, choice in enumerate(study["choice"]) if choice != "tie"]
    place = {arm: i for i, arm in enumerate(fit.arms)}
    x = np.zeros((len(keep), len(fit.arms) + 1))
    for row, i in enumerate(keep):
        x[row, place[study["left"][i]]], x[row, place[study["right"][i]]], x[row, -1] = 1, -1, 1
    y = np.array([study["choice"][i] == "left" for i in keep], dtype=float)
    groups = np.column_stack(
        [np.unique([study[name][i] for i in keep], return_inverse=True)[1] for name in ("annotator", "prompt")]
    )
    assert len(np.unique(groups, axis=0)) < len(groups), "some annotator judges a prompt twice"
    model = sm.GLM(y, x[:, 1:], family=sm.families.Binomial())
    other = model.fit(cov_type="cluster", cov_kwds={"groups": groups}, tol=1e-14)
    k = len(fit.arms)
    contrast = np.zeros((k, k + 1))
    contrast[: k - 1, 0], contrast[: k - 1, 1:k], contrast[k - 1, k] = -1, np.eye(k - 1), 1
    assert contrast @ fit.parameters == pytest.approx(other.params, abs=1e-10)
    assert np.abs(contrast @ ours @ contrast.T - other.cov_params()).max() < 1e-12


@pytest.mark.parametrize("position", [False, True])
def test_resamples_on_the_folded_table_equal_fits_of_the_whole_reweighted_table(position: bool):
    clusters = 20
    counts = counts_of(draw_study(arms=4, annotators=clusters, each=12, seed=8))
    fit = fit_bradley_terry(counts, position_effect=position)
    found = resample(prepare(fit, counts), unit="annotator", resamples=50, seed=4)
    drawn = np.random.default_rng([4, 1]).standard_exponential((50, clusters))
    table = np.asarray(counts.clusters["annotator"].counts)
    for number in (0, 7, 49):
        weights = drawn[number] * clusters / drawn[number].sum()
        twin = fit_bradley_terry(counts.with_outcomes((weights @ table).reshape(-1, 3)), position_effect=position)
        assert found.draws[number] == pytest.approx(twin.parameters, abs=1e-9)


@pytest.mark.parametrize("position", [False, True])
def test_with_many_cells_resamples_are_within_a_thousandth_of_a_standard_error(
    position: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("analysis.stats.refits._MANY_CELLS", 10)
    counts = counts_of(draw_study(arms=6, annotators=40, each=12, seed=8))
    ready = prepare(fit_bradley_terry(counts, position_effect=position), counts)
    found = resample(ready, unit="annotator", resamples=60, seed=4)
    monkeypatch.setattr("analysis.stats.refits._MANY_CELLS", 10**9)
    exact = resample(ready, unit="annotator", resamples=60, seed=4)
    errors = exact.draws.std(axis=0)
    assert (np.abs(found.draws - exact.draws) / errors).max() < 2e-3
    assert found.linear == pytest.approx(exact.linear, abs=1e-12)


def test_random_groups_of_clusters_vary_as_the_clusters_do(monkeypatch: pytest.MonkeyPatch):
    counts = counts_of(draw_study(arms=4, annotators=2400, each=12, seed=8))
    fit = fit_bradley_terry(counts)
    ready = prepare(fit, counts)
    monkeypatch.setattr("analysis.stats.bootstrap._MOST_UNITS", 800)
    found = resample(ready, unit="annotator", resamples=2000, seed=4)
    assert found.n_units == 800
    assert "2,400 annotators were resampled as 800 random groups" in " ".join(uncertainty_of(fit, counts).notes)
    whole = uncertainty_of(fit, counts, intervals="annotator", method="sandwich").covariance
    contrast = np.eye(4)[0] - np.eye(4)[1:]
    ratio = np.diag(contrast @ np.cov(found.linear, rowvar=False) @ contrast.T) / np.diag(contrast @ whole @ contrast.T)
    # Simulation error: a standard deviation of sqrt(2 / 800 + 2 / 2000) = 6 %.
    assert ratio == pytest.approx(np.ones(3), abs=0.2)


def test_intersections_are_the_same_by_sorting_one_key_or_two(
    study: dict[str, list[str]], counts: VoteCounts, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("analysis.stats.cluster_counts._LARGEST_KEY", 0)
    other = counts_of(study)
    name = "annotator x prompt"
    assert (counts.clusters[name].counts != other.clusters[name].counts).nnz == 0
    assert counts.clusters[name].counts.sum() > 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_a_loop_over_its_definition(p: list[float]):
    adjusted, least = [0.0] * len(p), 0.0
    for step, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        least = max(least, min(1.0, (len(p) - step) * p[place]))
        adjusted[place] = least
    assert holm(np.array(p)) == pytest.approx(adjusted, abs=1e-12)


# Each call of statsmodels collects the garbage of the whole test run (0.4 s), so that it is asked five times only.
@pytest.mark.parametrize(
    "p",
    [
        [0.03],
        [0.01, 0.04, 0.03],
        [0.2, 0.2, 0.001, 0.9],
        [0.0, 1.0, 0.5],
        list(np.random.default_rng(0).random(28) ** 4),
    ],
)
def test_holm_equals_statsmodels(p: list[float]):
    assert holm(np.array(p)) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)


def twin_correction(share: np.ndarray, variance: np.ndarray) -> tuple[float, float]:
    """Factor and degrees of freedom of sum_g (z_g - p_g sum_h z_h)^2, by matrices, z_g independent."""
    ones = np.ones(len(share))
    residual = np.eye(len(share)) - np.outer(share, ones)
    form, d = residual.T @ residual, np.diag(variance)
    mean = np.trace(form @ d)
    if mean <= variance.sum() / 4:
        return 4.0, 1.0
    return variance.sum() / mean, max(mean**2 / np.trace(form @ d @ form @ d), 1.0)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_raw_rates_and_their_two_way_error_equal_a_loop_over_votes(seed: int):
    study = draw_study(arms=3, annotators=5, prompts=4, each=12, seed=seed)
    rows = {(row.arm_a, row.arm_b): row for row in raw_pairs(counts_of(study))}
    votes: dict[tuple[str, str], list[tuple[float, str, str]]] = {pair: [] for pair in rows}
    for left, right, choice, annotator, prompt in zip(*study.values(), strict=True):
        a, b = min(left, right), max(left, right)
        score = 0.5 if choice == "tie" else float((choice == "left") == (left == a))
        votes[a, b].append((score, annotator, prompt))
    rate = {pair: sum(score for score, *_ in own) / len(own) for pair, own in votes.items() if own}
    by_vote = {p: sum((v[0] - rate[p]) ** 2 for v in votes[p]) * len(votes[p]) / (len(votes[p]) - 1) for p in rate}

    def sums(pair: tuple[str, str], which: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        total: dict[object, list[float]] = {}
        for vote in votes[pair]:
            total.setdefault(tuple(vote[i] for i in which), []).append(vote[0] - rate[pair])
        return np.array([sum(own) for own in total.values()]), np.array([len(own) for own in total.values()])

    def taste(which: int) -> float:
        excess = squares = 0.0
        for pair in rate:
            z, n = sums(pair, (which,))
            shrunk = max(1 - (n**2).sum() / n.sum() ** 2, 0.25)
            excess += (z**2).sum() / shrunk / (by_vote[pair] / n.sum()) - n.sum()
            squares += (n**2).sum()
        return max(0.0, excess / squares)

    tastes = {which: taste(which) for which in (1, 2)}
    for pair, row in rows.items():
        assert row.n_votes == len(votes[pair])
        assert row.win_rate == pytest.approx(rate[pair])
        if row.interval != "clustered":
            continue
        total, df = 0.0, math.inf
        for which, kappa in tastes.items():
            z, n = sums(pair, (which,))
            factor, own_df = twin_correction(n / n.sum(), n + kappa * n**2)
            total, df = total + factor * (z**2).sum(), min(df, own_df)
        z, n = sums(pair, (1, 2))
        total -= (z**2).sum() * len(z) / (len(z) - 1)
        error = math.sqrt(max(total, by_vote[pair])) / len(votes[pair])
        assert row.se == pytest.approx(error, rel=1e-9)
        own = math.sqrt(max(total, 0.0)) / len(votes[pair])
        half = max(stats.t.ppf(0.975, df) * own, stats.norm.ppf(0.975) * math.sqrt(by_vote[pair]) / len(votes[pair]))
        centre = math.log(rate[pair] / (1 - rate[pair]))
        low = 1 / (1 + math.exp(half / (rate[pair] * (1 - rate[pair])) - centre))
        assert row.low == pytest.approx(low, rel=1e-9)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["annotator", "prompt"])
def test_factor_and_degrees_of_freedom_of_contrasts_equal_matrices_built_vote_by_vote(model: Model, name: str):
    study = draw_study(arms=4, annotators=9, prompts=7, each=40, taste=0.8, seed=17)
    rare = [i for i in range(len(study["left"])) if "arm3" not in (study["left"][i], study["right"][i])]
    keep = sorted({*rare, *(i for i, who in enumerate(study["annotator"]) if who < "ann04")})
    counts = counts_of({key: [values[i] for i in keep] for key, values in study.items()})
    fit = fit_model(counts, model=model)
    ready = prepare(fit, counts)
    by_vote = vote_covariance(ready)[0]
    found = correction(ready, name, by_vote)
    m = information_and_slope(model, ready.design.eta(fit.parameters), fit.parameters[-1:])[0]
    part = counts.clusters[name]
    u = np.asarray(part.counts @ ready.scores)
    information = np.zeros((len(u), len(fit.parameters), len(fit.parameters)))
    for g, row in enumerate(np.asarray(part.counts)):
        for cell in range(counts.n_cells):
            d = np.zeros((m.shape[1], len(fit.parameters)))
            d[0, counts.left[cell]], d[0, counts.right[cell]] = 1, -1
            d[1:, -1] = 1
            information[g] += row[3 * cell : 3 * cell + 3].sum() * d.T @ m[cell] @ d

    def parts(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        along = information @ ready.bread @ c
        return np.array([c @ ready.bread @ v for v in along]), (along**2).sum(axis=1)

    excess = unit = 0.0
    for c in np.eye(len(fit.parameters))[:4]:
        w1, w2 = parts(c)
        observed = ((u @ ready.bread @ c) ** 2).sum() / max(1 - (w1**2).sum() / w1.sum() ** 2, 0.25)
        excess, unit = excess + observed / (c @ by_vote @ c) - 1, unit + w2.sum() / (c @ by_vote @ c)
    taste = max(0.0, excess / unit)
    assert taste > 0
    for i, j in ((0, 0), (0, 1), (0, 3), (2, 3)):
        c = np.eye(len(fit.parameters))[i] - (np.eye(len(fit.parameters))[j] if i != j else 0)
        w1, w2 = parts(c)
        w = c @ by_vote @ c / w1.sum() * w1 + taste * w2
        assert (found.factor[i, j], found.df[i, j]) == pytest.approx(twin_correction(w1 / w1.sum(), w), rel=1e-8)
    assert name == "prompt" or found.df[0, 3] < found.df[0, 1], "four annotators judged arm3"


def test_many_arms_take_the_more_cautious_of_two_arms(monkeypatch: pytest.MonkeyPatch, counts: VoteCounts):
    ready = prepare(fit_bradley_terry(counts), counts)
    by_vote = vote_covariance(ready)[0]
    exact = correction(ready, "annotator", by_vote)
    monkeypatch.setattr("analysis.stats.small_samples._MOST_PARAMETERS", 2)
    rough = correction(ready, "annotator", by_vote)
    assert rough.df == pytest.approx(exact.df, rel=0.15) and (rough.factor >= 1).all()
    assert rough.df[0, 1] == min(rough.df[0, 0], rough.df[1, 1])


def test_counting_equals_a_loop(study: dict[str, list[str]], counts: VoteCounts):
    table = {}
    for left, right, choice in zip(study["left"], study["right"], study["choice"], strict=True):
        table[left, right, choice] = table.get((left, right, choice), 0) + 1
    for cell in range(counts.n_cells):
        for column, choice in enumerate(("left", "right", "tie")):
            key = (counts.arms[counts.left[cell]], counts.arms[counts.right[cell]], choice)
            assert counts.outcomes[cell, column] == table.get(key, 0)
    for name in ("annotator", "prompt"):
        part = counts.clusters[name]
        assert np.asarray(part.counts.sum(axis=0)).ravel() == pytest.approx(counts.outcomes.ravel())


def test_codes_and_names_give_the_same_counts(study: dict[str, list[str]], counts: VoteCounts):
    arms = sorted(set(study["left"]))
    codes = {name: np.unique(study[name], return_inverse=True)[1] for name in ("annotator", "prompt")}
    other = count_codes(
        np.array([arms.index(a) for a in study["left"]]),
        np.array([arms.index(a) for a in study["right"]]),
        np.array([("left", "right", "tie").index(c) for c in study["choice"]]),
        arms=arms,
        annotator=codes["annotator"],
        prompt=codes["prompt"],
    )
    fits = [fit_bradley_terry(c) for c in (counts, other)]
    assert fits[0].parameters == pytest.approx(fits[1].parameters, abs=0)
    covariances = [uncertainty_of(f, c).covariance for f, c in zip(fits, (counts, other), strict=True)]
    assert np.array_equal(*covariances)

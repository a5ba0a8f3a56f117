"""Covariates: the coefficients of a generic optimiser on single votes, their meaning, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize

from analysis.stats import EstimateSettings, NoEstimateError, fit_bradley_terry, fit_covariates
from analysis.votes import VotesTable
from qsched.records import InputError
from tests.analysis.conftest import counts_of, draw_study

ARMS = ("a", "b", "c")


def study(n: int = 900, *, seed: int = 2) -> pl.DataFrame:
    """Votes on three arms: longer answers win, and slow votes see the difference between the arms less."""
    rng = np.random.default_rng(seed)
    i = rng.integers(0, 3, n)
    j = (i + rng.integers(1, 3, n)) % 3
    length = rng.normal(100, 20, (n, 2)).round(3)
    slow = rng.lognormal(8, 0.5, n).round()
    device = rng.integers(0, 3, n)
    z = (np.log(slow) - 8) / 0.5
    theta = np.array([0.8, 0.0, -0.8])
    eta = (theta[i] - theta[j]) * (1 - 0.4 * z) + 0.03 * (length[:, 0] - length[:, 1])
    eta += 0.5 * ((device == 1) & (i == 0)) - 0.5 * ((device == 1) & (j == 0))
    left = rng.random(n) < 1 / (1 + np.exp(-eta))
    return pl.DataFrame(
        {
            "left_arm": [ARMS[x] for x in i],
            "right_arm": [ARMS[x] for x in j],
            "choice": np.where(left, "left", "right").tolist(),
            "annotator": [f"p{x}" for x in rng.integers(0, 40, n)],
            "prompt_id": [f"q{x}" for x in rng.integers(0, 25, n)],
            "length_left": length[:, 0],
            "length_right": length[:, 1],
            "response_ms": slow.astype(int),
            "device": [("desk", "phone", "tablet")[x] for x in device],
        }
    )


def minimised(frame: pl.DataFrame, features: np.ndarray) -> np.ndarray:
    """Free coefficients of a logistic regression by BFGS, one row per vote; the first two columns are the strengths."""
    sign = np.where(frame["choice"].to_numpy() == "left", 1.0, -1.0)

    def loss(beta: np.ndarray) -> float:
        return float(np.logaddexp(0, -sign * (features @ beta)).sum())

    return minimize(loss, np.zeros(features.shape[1]), method="BFGS", options={"gtol": 1e-6}).x


def sides(frame: pl.DataFrame) -> np.ndarray:
    """(n, 3): +1 for the arm on the left, -1 for that on the right."""
    left, right = frame["left_arm"].to_numpy(), frame["right_arm"].to_numpy()
    return np.column_stack([(left == arm).astype(float) - (right == arm) for arm in ARMS])


def test_all_three_kinds_equal_a_generic_optimiser_on_single_votes():
    frame = study()
    fit = fit_covariates(frame, ["length", "response_ms", "device"])
    s = sides(frame)
    difference = (frame["length_left"] - frame["length_right"]).to_numpy()
    slow = np.log(frame["response_ms"].to_numpy())
    z = (slow - slow.mean()) / slow.std()
    free = s[:, :2] - s[:, 2:]
    device = frame["device"].to_numpy()
    contrast = {level: (device == level).astype(float) - (device == "tablet") for level in ("desk", "phone")}
    columns = [free, difference[:, None] / difference.std(), free * z[:, None]]
    columns += [free * contrast[level][:, None] for level in ("desk", "phone")]
    beta = minimised(frame, np.hstack(columns))

    def by_arm(pair: np.ndarray) -> dict[str, float]:
        return dict(zip(ARMS, (*pair, -pair.sum()), strict=True))

    assert {row.arm: row.log_strength for row in fit.strengths} == pytest.approx(by_arm(beta[:2]), abs=2e-4)
    terms = {(t.covariate, t.arm, t.level): t.coefficient for t in fit.terms}
    assert terms["length", None, None] == pytest.approx(beta[2], abs=2e-4)
    for arm, value in by_arm(beta[3:5]).items():
        assert terms["response_ms", arm, None] == pytest.approx(value, abs=2e-4)
    for level, pair in (("desk", beta[5:7]), ("phone", beta[7:9]), ("tablet", -beta[5:7] - beta[7:9])):
        for arm, value in by_arm(pair).items():
            assert terms["device", arm, level] == pytest.approx(value, abs=2e-4)
    assert len(terms) == 1 + 3 + 9


def test_vote_level_errors_equal_a_sandwich_by_hand():
    frame = study(400)
    found = fit_covariates(frame, ["length"], settings=EstimateSettings(intervals="vote"))
    difference = (frame["length_left"] - frame["length_right"]).to_numpy()
    s = sides(frame)
    x = np.column_stack([s[:, :2] - s[:, 2:], difference / difference.std()])
    beta = minimised(frame, x)
    p = 1 / (1 + np.exp(-x @ beta))
    y = (frame["choice"].to_numpy() == "left").astype(float)
    bread = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)
    score = x * (y - p)[:, None]
    n = len(y)
    covariance = bread @ (score.T @ score) @ bread * n / (n - 1) * (n - 1) / (n - 3)
    assert found.terms[0].se == pytest.approx(math.sqrt(covariance[2, 2]), rel=1e-3)


def test_what_was_built_into_the_votes_is_found():
    fit = fit_covariates(study(4000), ["length", "response_ms", "device"])
    term = {(t.covariate, t.arm, t.level): t for t in fit.terms}
    assert term["length", None, None].low > 0.5
    assert term["response_ms", "a", None].high < 0 < term["response_ms", "c", None].low
    assert term["device", "a", "phone"].low > 0 and term["device", "b", "desk"].p_holm > 0.001
    assert fit.n_left_out == 0 and fit.intervals == "two-way"


def test_a_covariate_without_effect_changes_no_strength_by_more_than_its_error():
    frame = study(3000).with_columns(noise=pl.Series(np.random.default_rng(0).normal(size=3000)))
    fit = fit_covariates(frame, ["noise"])
    plain = dict(zip(ARMS, fit_bradley_terry(counts_of_frame(frame)).log_strengths, strict=True))
    for row in fit.strengths:
        assert row.without == pytest.approx(plain[row.arm], abs=1e-9)
        assert abs(row.log_strength - row.without) < row.se
    assert all(term.p_holm > 0.05 for term in fit.terms)


def counts_of_frame(frame: pl.DataFrame):
    names = {"left": "left_arm", "right": "right_arm", "choice": "choice", "annotator": "annotator"}
    return counts_of({**{key: frame[name].to_list() for key, name in names.items()}, "prompt": frame["prompt_id"]})


def test_votes_without_a_value_are_left_out_and_counted():
    frame = study().with_columns(device=pl.when(pl.col("response_ms") > 5000).then(None).otherwise(pl.col("device")))
    fit = fit_covariates(frame, ["device"])
    assert fit.n_left_out == frame["device"].null_count() > 0
    assert fit.n_votes + fit.n_left_out == frame.height


def test_swapping_the_sides_of_every_vote_changes_nothing():
    frame = study()
    turned = frame.select(
        pl.col("right_arm").alias("left_arm"),
        pl.col("left_arm").alias("right_arm"),
        pl.col("choice").replace({"left": "right", "right": "left"}),
        pl.col("length_right").alias("length_left"),
        pl.col("length_left").alias("length_right"),
        "annotator",
        "prompt_id",
        "device",
    )
    one, two = (fit_covariates(each, ["length", "device"]) for each in (frame, turned))
    for a, b in zip(one.terms, two.terms, strict=True):
        assert (a.coefficient, a.low, a.p) == pytest.approx((b.coefficient, b.low, b.p), abs=1e-9)


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({}, "weather", "neither a column 'weather' nor weather_left"),
        ({"same": pl.lit("x")}, "same", "every vote has the value 'x'"),
        ({"same": pl.lit(3.0)}, "same", "every vote has the same value"),
        ({"s_left": pl.lit(2), "s_right": pl.lit(1)}, "s", "same difference"),
        ({"s_left": pl.lit("x"), "s_right": pl.lit(1)}, "s", "holds words"),
        ({"response_ms": pl.lit(0)}, "response_ms", "logarithm"),
        ({"none": pl.lit(None, pl.String)}, "none", "no vote has a value"),
        ({"far": pl.lit(math.inf)}, "far", "infinite"),
        ({}, "annotator", "40 different words"),
        ({}, "choice", "what the model explains"),
    ],
)
def test_a_covariate_that_can_explain_nothing_is_refused_by_name(change: dict, name: str, words: str):
    with pytest.raises(InputError, match=words):
        fit_covariates(VotesTable(study().with_columns(**change), (), "qsched", (), is_screened=True), [name])


def test_too_few_votes_for_the_parameters_are_refused_with_both_numbers():
    with pytest.raises(InputError, match="60 votes are too few for 8 parameters"):
        fit_covariates(study(60), ["device", "response_ms"])


def test_a_property_of_the_arms_cannot_be_told_from_their_strengths():
    size = {"a": 4.0, "b": 2.0, "c": 1.0}
    frame = study().with_columns(
        size_left=pl.col("left_arm").replace_strict(size), size_right=pl.col("right_arm").replace_strict(size)
    )
    with pytest.raises(NoEstimateError, match="size"):
        fit_covariates(frame, ["size"])


def test_many_cells_give_the_same_verdict_as_few(monkeypatch: pytest.MonkeyPatch):
    frame = study(600)
    whole = fit_covariates(frame, ["length"])
    monkeypatch.setattr("analysis.stats.existence._CELLS_TRIED", 50)
    assert fit_covariates(frame, ["length"]) == whole
    size = {"a": 4.0, "b": 2.0, "c": 1.0}
    same = frame.with_columns(
        s_left=pl.col("left_arm").replace_strict(size), s_right=pl.col("right_arm").replace_strict(size)
    )
    with pytest.raises(NoEstimateError):
        fit_covariates(same, ["s", "length"])


def test_a_study_with_ties_and_a_position_effect_can_have_covariates_too():
    columns = draw_study(arms=3, annotators=20, each=40)
    rng = np.random.default_rng(1)
    frame = pl.DataFrame(
        {
            "left_arm": columns["left"],
            "right_arm": columns["right"],
            "choice": columns["choice"],
            "annotator": columns["annotator"],
            "prompt_id": columns["prompt"],
            "mood": rng.normal(size=800),
        }
    )
    for model in ("davidson", "rao-kupper", "bradley-terry"):
        fit = fit_covariates(frame, ["mood"], settings=EstimateSettings(model=model, position_effect=True))
        assert sum(term.coefficient for term in fit.terms) == pytest.approx(0, abs=1e-9)
        assert all(0 < term.se < 1 for term in fit.terms)

"""Power: the formula against closed forms, brute force and simulated studies; the command as its users call it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit
from typer.testing import CliRunner

from analysis.plan import app as plan_app
from analysis.planning import StudyPlan, detectable_win_rate, planned_power, simulate_power
from analysis.planning.simulation import draw_study
from qsched.planning import t_power, vote_moments
from qsched.records import InputError


def test_without_differences_of_taste_and_ties_it_is_the_textbook_formula():
    plan = StudyPlan(annotators=500, prompts=1000, votes_per_pair=1, tie_rate=0, annotator_sd=0, prompt_sd=0)
    found = planned_power(plan, 0.55)
    assert found.design_effect == pytest.approx(1.0)
    assert found.se == pytest.approx(1 / math.sqrt(1000 * 0.55 * 0.45))
    shift = math.log(0.55 / 0.45) / found.se
    assert found.power_if_independent == pytest.approx(
        stats.norm.cdf(shift - 1.959964) + stats.norm.cdf(-shift - 1.959964), abs=1e-6
    )
    assert abs(found.power - found.power_if_independent) < 0.01


def test_at_an_even_win_rate_the_power_is_the_level():
    for adjust, tests in (("none", 1), ("bonferroni", 6), ("holm", 6)):
        plan = StudyPlan(annotators=30, prompts=50, votes_per_pair=4, arms=4, adjust=adjust)
        assert planned_power(plan, 0.5).power == pytest.approx(0.05 / tests)


def test_the_moments_of_a_vote_are_those_of_many_drawn_votes():
    tau, sa, sp, rate = 0.25, 0.7, 0.4, 0.62
    found = vote_moments(rate, tie_rate=tau, annotator_sd=sa, prompt_sd=sp)
    rng = np.random.default_rng(4)
    n = 2_000_000

    def vote(u, v):
        wins = rng.random(n) < expit(found.log_odds + u + v)
        return np.where(rng.random(n) < tau, 0.5, wins)

    def taste(sd):
        return rng.normal(0, sd, n) - rng.normal(0, sd, n)

    u, v = taste(sa), taste(sp)
    y = vote(u, v)
    assert y.mean() == pytest.approx(rate, abs=0.002)
    assert y.var() == pytest.approx(found.variance, abs=0.001)
    assert np.cov(y, vote(u, taste(sp)))[0, 1] == pytest.approx(found.same_annotator, abs=0.001)
    assert np.cov(y, vote(taste(sa), v))[0, 1] == pytest.approx(found.same_prompt, abs=0.001)


def test_more_votes_help_little_where_people_are_few():
    few = [planned_power(StudyPlan(annotators=10, prompts=400, votes_per_pair=v), 0.57).power for v in (1, 3, 10)]
    many = [planned_power(StudyPlan(annotators=200, prompts=400, votes_per_pair=v), 0.57).power for v in (1, 3, 10)]
    assert few == sorted(few) and many == sorted(many)
    assert few[2] < 0.5 < many[1] and many[2] - many[0] > few[2] - few[0]


def test_the_detectable_win_rate_has_the_power_asked_for():
    plan = StudyPlan(annotators=40, prompts=100, votes_per_pair=3, arms=3)
    for power in (0.5, 0.8, 0.95):
        assert planned_power(plan, detectable_win_rate(plan, power=power)).power == pytest.approx(power, abs=1e-4)
    assert detectable_win_rate(StudyPlan(annotators=2, prompts=2, votes_per_pair=1)) is None


def test_a_drawn_study_is_the_one_planned():
    plan = StudyPlan(annotators=7, prompts=9, votes_per_pair=3, arms=4)
    counts = draw_study(plan, 0.3, np.random.default_rng(0))
    assert counts.n_votes == plan.votes == 9 * 3 * 6
    loads = np.asarray(counts.clusters["annotator"].counts.sum(axis=1)).ravel()
    assert loads.max() - loads.min() <= 1
    assert set(np.asarray(counts.clusters["prompt"].counts.sum(axis=1)).ravel()) == {18.0}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"annotators": 1}, "annotators is 1"),
        ({"votes_per_pair": 50}, "nobody judges a pair"),
        ({"tie_rate": 1.0}, "tie_rate is 1.0"),
        ({"confidence": 95}, "confidence is 95"),
        ({"annotator_sd": -1}, "annotator_sd is -1"),
        ({"comparisons": "some"}, "choose all or baseline"),
    ],
)
def test_numbers_that_make_no_study_are_named(values, words):
    with pytest.raises(InputError, match=words):
        StudyPlan(**{"annotators": 40, "prompts": 100, "votes_per_pair": 3, **values})
    with pytest.raises(InputError, match="cannot occur with 40 % ties"):
        vote_moments(0.9, tie_rate=0.4, annotator_sd=0, prompt_sd=0)


PLANS = {
    "two arms": (StudyPlan(annotators=30, prompts=40, votes_per_pair=3), 0.62),
    "four arms": (StudyPlan(annotators=30, prompts=30, votes_per_pair=3, arms=4, adjust="bonferroni"), 0.62),
    "baseline": (StudyPlan(annotators=24, prompts=40, votes_per_pair=4, arms=3, comparisons="baseline"), 0.63),
    "independent": (StudyPlan(annotators=30, prompts=50, votes_per_pair=4, annotator_sd=0, prompt_sd=0), 0.59),
    "few people": (StudyPlan(annotators=10, prompts=60, votes_per_pair=5, prompt_sd=0.2), 0.65),
}


@pytest.fixture(scope="module")
def simulated():
    """What 120 simulated studies of each plan found, beside the formula."""
    return {
        name: (simulate_power(plan, rate, studies=120, resamples=100, seed=1), planned_power(plan, rate))
        for name, (plan, rate) in PLANS.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANS)
def test_the_formula_agrees_with_simulated_studies(simulated, name):
    """Within 4 points beyond the simulation's own error; the standard error within 12 %."""
    found, formula = simulated[name]
    assert 0.2 < formula.power < 0.97, "a power near 0 or 1 agrees with anything"
    assert abs(found.power - formula.power) < 0.04 + 2 * found.error, (found, formula)
    assert found.true_se == pytest.approx(formula.se, rel=0.12), (found, formula)
    assert 0.9 < found.coverage < 0.99


@pytest.mark.slow
def test_over_all_plans_the_formula_is_neither_high_nor_low(simulated):
    """600 studies together: a bias too small for one plan's 120 to show."""
    power = [found.power - formula.power for found, formula in simulated.values()]
    errors = [found.error for found, _ in simulated.values()]
    assert abs(np.mean(power)) < 0.02 + 2 * np.linalg.norm(errors) / len(errors), power
    ratios = [found.true_se / formula.se for found, formula in simulated.values()]
    assert np.mean(ratios) == pytest.approx(1, abs=0.05), ratios
    assert 0.93 < np.mean([found.coverage for found, _ in simulated.values()]) < 0.975


def test_the_same_seed_simulates_the_same_studies():
    plan, rate = PLANS["two arms"]
    again = simulate_power(plan, rate, studies=3, resamples=100, seed=5)
    assert again == simulate_power(plan, rate, studies=3, resamples=100, seed=5)
    assert again != simulate_power(plan, rate, studies=3, resamples=100, seed=6)


@pytest.mark.parametrize("df", [1, 5, 39])
def test_the_power_of_t_is_that_of_scipys_noncentral_t_and_finite_beyond_it(df):
    for shift in (0.0, 0.8, 3.0):
        bound = stats.t.isf(0.025, df)
        expected = stats.nct.sf(bound, df, shift) + stats.nct.cdf(-bound, df, shift)
        assert t_power(shift, df=df, level=0.05) == pytest.approx(expected, abs=1e-6)
    assert t_power(80.0, df=39, level=0.05) == pytest.approx(1.0)


def test_the_normal_is_the_limit_of_t():
    assert t_power(2.5, df=10**6, level=0.05) == pytest.approx(t_power(2.5, df=math.inf, level=0.05), abs=1e-5)


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_json_and_a_curve(script, tmp_path):
    code, out, err = script(
        "power",
        "--annotators",
        "40",
        "--prompts",
        "100",
        "--votes-per-pair",
        "3",
        "--win-rate",
        "0.58",
        "--simulate",
        "20",
        "--resamples",
        "100",
        "--json",
        str(tmp_path / "out" / "power.json"),
        "--curve",
        str(tmp_path / "power.svg"),
    )
    assert code == 0, err
    for words in ("design effect", "detectable", "with 80 % power", "power at 58.0 %", "Monte Carlo s.e.", "20 % ties"):
        assert words in out
    found = json.loads((tmp_path / "out" / "power.json").read_text())
    plan = StudyPlan(annotators=40, prompts=100, votes_per_pair=3)
    assert found["detectable_win_rate"] == pytest.approx(detectable_win_rate(plan))
    assert found["formula"]["power"] == pytest.approx(planned_power(plan, 0.58).power)
    assert found["simulation"]["studies"] == 20 and found["plan"]["votes"] == 300
    assert (tmp_path / "power.svg").read_text().lstrip().startswith("<?xml")


def test_the_command_refuses_with_exit_code_2(script):
    for options, words in (
        (("--annotators", "2", "--prompts", "10", "--votes-per-pair", "3"), "nobody judges a pair twice"),
        (("--annotators", "9", "--prompts", "10", "--votes-per-pair", "3", "--curve", "x.bmp"), "'.bmp' is not one of"),
        (("--prompts", "10", "--votes-per-pair", "3"), "--annotators"),
    ):
        code, _, err = script("power", *options)
        assert code == 2 and words in err, err


@pytest.mark.slow
def test_unequal_loads_cost_power_and_the_simulation_draws_them() -> None:
    plan = StudyPlan(annotators=60, prompts=60, votes_per_pair=6, effective_annotators=15)
    even = StudyPlan(annotators=60, prompts=60, votes_per_pair=6)
    fewer = StudyPlan(annotators=15, prompts=60, votes_per_pair=6)
    # As if 15 people had given all votes, in equal shares.
    assert planned_power(plan, 0.6).se == pytest.approx(planned_power(fewer, 0.6).se)
    assert planned_power(plan, 0.6).power < planned_power(even, 0.6).power - 0.2
    drawn = []
    for seed in range(20):
        loads = draw_study(plan, 0.4, np.random.default_rng(seed)).clusters["annotator"].votes
        drawn.append(loads.sum() ** 2 / (loads**2).sum())
    assert np.mean(drawn) == pytest.approx(15, rel=0.1)
    found = simulate_power(plan, 0.6, studies=100, resamples=100, seed=3)
    assert abs(found.power - planned_power(plan, 0.6).power) < 4 * found.error


@pytest.mark.parametrize("effective", [1.0, 61.0])
def test_an_effective_number_outside_the_number_of_people_is_refused(effective: float) -> None:
    with pytest.raises(InputError, match=r"effective_annotators is .* of 60 annotators; it must be from 2"):
        StudyPlan(annotators=60, prompts=60, votes_per_pair=6, effective_annotators=effective)


def test_loads_more_unequal_than_the_design_allows_are_refused() -> None:
    plan = StudyPlan(annotators=60, prompts=60, votes_per_pair=6, effective_annotators=3)
    with pytest.raises(InputError, match="the effective number is at least"):
        draw_study(plan, 0.4, np.random.default_rng(0))


def test_a_plan_says_what_is_asked_and_no_size_that_it_is_to_find():
    done = CliRunner().invoke(plan_app, ["--half-width", "0.05", "--prompts", "100", "--json", "-"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["study"]["arms"] == 2
    assert not {"annotators", "prompts", "votes_per_pair", "effective_annotators"} & set(found["study"])
    said = CliRunner().invoke(plan_app, ["--half-width", "0.05", "--prompts", "100"]).output
    assert "2 arms, 1 comparison;" in said and "8 s per vote" in said

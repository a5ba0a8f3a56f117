"""The power formula without scipy: its noncentral t against scipy's, its two users against each other."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from scipy import stats

from qsched.planning import (
    Assumptions,
    StudyPlan,
    detectable_win_rate,
    planned_power,
    t_tail,
    weakest_comparison,
)
from qsched.planning.power import t_bound


@pytest.mark.parametrize(
    "plan",
    [
        StudyPlan(annotators=40, prompts=100, votes_per_pair=3),
        StudyPlan(annotators=12, prompts=30, votes_per_pair=5, arms=3, tie_rate=0.0, annotator_sd=0.8),
        StudyPlan(annotators=60, prompts=50, votes_per_pair=8, arms=4, comparisons="baseline", prompt_sd=0.2),
        StudyPlan(annotators=200, prompts=200, votes_per_pair=2, arms=5, annotator_sd=0.0, prompt_sd=0.0, tie_rate=0.4),
    ],
    ids=["two arms", "three arms", "baseline", "independent"],
)
def test_a_design_with_equal_votes_is_the_plan_with_these_numbers(plan):
    votes = {(f"a{i}", f"a{j}"): float(plan.votes_per_comparison) for i, j in plan.pairs_of_arms}
    assumed = Assumptions(plan.annotator_sd, plan.prompt_sd, plan.tie_rate, plan.confidence, 0.8)
    weakest = weakest_comparison(votes, annotators=plan.annotators, prompts=plan.prompts, assumed=assumed)
    assert weakest.win_rate == pytest.approx(detectable_win_rate(plan, power=0.8), abs=2e-5)
    assert weakest.design_effect == pytest.approx(planned_power(plan, 0.55).design_effect, rel=1e-6)


def test_the_weakest_comparison_is_the_one_with_the_fewest_votes():
    votes = {("a", "b"): 400.0, ("a", "c"): 60.0, ("b", "c"): 400.0, ("c", "d"): 20.0}
    weakest = weakest_comparison(votes, annotators=40, prompts=50, assumed=Assumptions())
    assert weakest.pair == ("c", "d")


def test_a_study_that_can_show_nothing_says_so():
    plan = StudyPlan(annotators=3, prompts=3, votes_per_pair=2, arms=4)
    votes = {(f"a{i}", f"a{j}"): 6.0 for i, j in plan.pairs_of_arms}
    assert detectable_win_rate(plan) is None
    assert weakest_comparison(votes, annotators=3, prompts=3, assumed=Assumptions()).win_rate is None


@pytest.mark.parametrize("df", [1, 2, 5, 39, 400, 20_000])
@pytest.mark.parametrize("shift", [0.0, 1.5, -2.0])
def test_the_noncentral_t_is_scipys(df, shift):
    for bound in (0.5, 2.1, 6.0, 40.0):
        assert t_tail(bound, df=df, shift=shift) == pytest.approx(float(stats.nct.sf(bound, df, shift)), abs=1e-6)


@pytest.mark.parametrize("df", [1, 3, 39, 20_000, math.inf])
@pytest.mark.parametrize("level", [0.05, 0.05 / 45, 0.05 / 44_850])
def test_the_critical_value_is_scipys_even_for_one_degree_of_freedom_and_many_comparisons(df, level):
    assert t_bound(df=df, level=level) == pytest.approx(float(stats.t.isf(level / 2, df)), rel=1e-6)


def test_it_needs_neither_scipy_nor_torch():
    code = "import sys, qsched.planning; print(sorted({'scipy', 'torch', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

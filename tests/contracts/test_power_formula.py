"""`qsched study check` and `analysis/power.py` use one formula, written twice because neither may import the other."""

from __future__ import annotations

import pytest
from scipy import stats

from analysis.planning import StudyPlan, detectable_win_rate, planned_power
from study_server.studies.detectable import Assumptions, find_detectable, t_beyond


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
def test_the_server_and_the_analysis_find_the_same_detectable_win_rate(plan):
    votes = {(f"a{i}", f"a{j}"): float(plan.votes_per_comparison) for i, j in plan.pairs_of_arms}
    found = find_detectable(
        votes, annotators=plan.annotators, prompts=plan.prompts,
        assumed=Assumptions(plan.annotator_sd, plan.prompt_sd, plan.tie_rate, plan.confidence, 0.8),
    )  # fmt: skip
    expected = detectable_win_rate(plan, power=0.8)
    assert found.win_rate == pytest.approx(expected, abs=2e-5)
    assert found.design_effect == pytest.approx(planned_power(plan, 0.55).design_effect, rel=1e-6)


def test_a_study_that_can_show_nothing_is_so_for_both():
    plan = StudyPlan(annotators=3, prompts=3, votes_per_pair=2, arms=4)
    votes = {(f"a{i}", f"a{j}"): 6.0 for i, j in plan.pairs_of_arms}
    assert detectable_win_rate(plan) is None
    assert find_detectable(votes, annotators=3, prompts=3, assumed=Assumptions()).win_rate is None


@pytest.mark.parametrize("df", [1, 2, 5, 39, 400])
@pytest.mark.parametrize("shift", [0.0, 1.5, -2.0])
def test_the_servers_noncentral_t_is_scipys(df, shift):
    for bound in (0.5, 2.1, 6.0):
        assert t_beyond(bound, df=df, shift=shift) == pytest.approx(float(stats.nct.sf(bound, df, shift)), abs=1e-6)

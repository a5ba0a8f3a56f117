"""Published data with published estimates, typed from the literature; more in tests/analysis/cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.stats import (
    NoEstimateError,
    VoteCounts,
    count_table,
    examine,
    fit_bradley_terry,
    fit_model,
)
from analysis.stats.results import PairwiseFit
from tests.analysis.conftest import load_case

# Stigler 1994, Statist. Sci. 9:94-108, citations between four journals; as in Agresti 2002, Categorical Data Analysis,
# 2nd ed., p. 448. Estimates: Turner and Firth 2012, J. Statist. Software 48(9), section 2.
CITATIONS = [
    ("Biometrika", "Comm Statist", 730, 33),
    ("Biometrika", "JASA", 498, 320),
    ("Biometrika", "JRSS-B", 221, 284),
    ("Comm Statist", "JASA", 68, 813),
    ("Comm Statist", "JRSS-B", 17, 276),
    ("JASA", "JRSS-B", 142, 325),
]
# Davidson 1970, JASA 65:317-328, example 2: preferences between six brands of chocolate pudding, with ties.
PUDDING = [
    (1, 2, 19, 22, 16),
    (1, 3, 16, 19, 12),
    (2, 3, 19, 19, 10),
    (1, 4, 18, 23, 13),
    (2, 4, 23, 19, 9),
    (3, 4, 19, 20, 15),
    (1, 5, 13, 19, 18),
    (2, 5, 16, 20, 12),
    (3, 5, 16, 15, 17),
    (4, 5, 17, 14, 16),
    (1, 6, 18, 21, 12),
    (2, 6, 22, 20, 12),
    (3, 6, 13, 18, 10),
    (4, 6, 14, 19, 18),
    (5, 6, 11, 21, 12),
]


def against(fit: PairwiseFit, reference: str) -> dict[str, float]:
    base = fit.arms.index(reference)
    return {arm: float(fit.log_strengths[i] - fit.log_strengths[base]) for i, arm in enumerate(fit.arms)}


def standard_errors(fit: PairwiseFit, reference: str) -> dict[str, float]:
    v, base = fit.covariance, fit.arms.index(reference)
    return {
        arm: float(np.sqrt(v[i, i] + v[base, base] - 2 * v[i, base])) for i, arm in enumerate(fit.arms) if i != base
    }


def test_journal_citations_give_the_published_bradley_terry_abilities_and_deviance():
    fit = fit_bradley_terry(count_table(CITATIONS))
    published = {"Biometrika": 0, "Comm Statist": -2.9491, "JASA": -0.4796, "JRSS-B": 0.2690}
    assert against(fit, "Biometrika") == pytest.approx(published, abs=1e-4)
    assert fit.deviance == pytest.approx(4.293, abs=1e-3)


def test_journal_citations_give_the_published_bias_reduced_abilities():
    fit = fit_bradley_terry(count_table(CITATIONS), penalty="firth")
    published = {"Biometrika": 0, "Comm Statist": -2.9444, "JASA": -0.4791, "JRSS-B": 0.2685}
    assert against(fit, "Biometrika") == pytest.approx(published, abs=1e-4)


def test_chocolate_puddings_give_davidsons_tie_parameter_and_standard_errors():
    fit = fit_model(count_table(PUDDING), model="davidson")
    published = {"1": 0.0, "2": 0.2202419, "3": 0.1529777, "4": 0.1751449, "5": 0.1338652, "6": 0.3771349}
    assert against(fit, "1") == pytest.approx(published, abs=2e-6)
    assert fit.tie_parameter == pytest.approx(0.7468230, abs=1e-6)
    assert np.sqrt(fit.covariance[-1, -1]) == pytest.approx(0.0825, abs=1e-4)


def case_counts(case: dict, *, home: bool = False) -> VoteCounts:
    return count_table([row if home else row[:5] for row in case["data"]])


def test_baseball_reproduces_abilities_errors_deviance_and_aic():
    case = load_case("baseball_bt")
    expected, counts = case["expected"], case_counts(case)
    fit = fit_bradley_terry(counts)
    assert against(fit, "Baltimore") == pytest.approx(expected["abilities"], abs=case["tolerance"]["abilities"])
    assert standard_errors(fit, "Baltimore") == pytest.approx(expected["se"], abs=case["tolerance"]["se"])
    assert fit.deviance == pytest.approx(expected["residual_deviance"], abs=case["tolerance"]["deviance"])
    assert counts.n_cells - 6 == expected["residual_df"]
    eta = fit.log_strengths[counts.left] - fit.log_strengths[counts.right]
    n = counts.outcomes.sum(axis=1)
    grouped = stats.binom.logpmf(counts.outcomes[:, 0], n, 1 / (1 + np.exp(-eta))).sum()
    assert -2 * grouped + 2 * 6 == pytest.approx(expected["AIC"], abs=0.006)


def test_baseball_at_home_gives_the_published_home_advantage():
    # Turner and Firth 2012, section 3.3: at.home 0.3023 (s.e. 0.1309).
    fit = fit_bradley_terry(case_counts(load_case("baseball_bt"), home=True), position_effect=True)
    assert fit.position_effect == pytest.approx(0.3023, abs=1e-4)
    assert np.sqrt(fit.covariance[-1, -1]) == pytest.approx(0.1309, abs=1e-4)


def test_citations_case_reproduces_the_covariance_matrix():
    case = load_case("citations_bt")
    fit = fit_bradley_terry(case_counts(case))
    mean_zero = dict(zip(fit.arms, fit.log_strengths.tolist(), strict=True))
    tolerance = case["tolerance"]
    assert mean_zero == pytest.approx(case["expected"]["abilities_mean_zero"], abs=tolerance["abilities_mean_zero"])
    order = [fit.arms.index(arm) for arm in case["expected"]["vcov_ref_JASA"]["order"]]
    base = fit.arms.index("JASA")
    contrast = np.zeros((3, 4))
    contrast[range(3), order] = 1
    contrast[:, base] = -1
    published = np.array(case["expected"]["vcov_ref_JASA"]["matrix"])
    assert np.abs(contrast @ fit.covariance @ contrast.T - published).max() < tolerance["vcov"]


def test_firth_case_reproduces_its_abilities():
    case = load_case("citations_firth")
    fit = fit_bradley_terry(case_counts(case), penalty="firth")
    expected, tolerance = case["expected"]["abilities"], case["tolerance"]["abilities"]
    assert against(fit, "Biometrika") == pytest.approx(expected, abs=tolerance)


def test_pudding_case_reproduces_worths_errors_and_likelihood():
    case = load_case("pudding_davidson_ties")
    expected, tolerance = case["expected"], case["tolerance"]
    fit = fit_model(case_counts(case), model="davidson")
    assert against(fit, "1") == pytest.approx(expected["abilities"], abs=tolerance["abilities"])
    assert standard_errors(fit, "1") == pytest.approx(expected["se"], abs=tolerance["se"])
    worth = np.exp(fit.log_strengths) / np.exp(fit.log_strengths).sum()
    assert dict(zip(fit.arms, worth, strict=True)) == pytest.approx(expected["worth"], abs=tolerance["worth"])
    assert fit.tie_parameter == pytest.approx(expected["tie_parameter_nu"], abs=tolerance["tie_parameter_nu"])
    assert -2 * fit.log_likelihood == pytest.approx(expected["residual_deviance_PL"], abs=0.05)
    assert -2 * fit.log_likelihood + 2 * 6 == pytest.approx(expected["AIC"], abs=0.05)


def test_toy_case_is_refused_with_its_three_components_named():
    case = load_case("toy_disconnected")
    counts = case_counts(case)
    with pytest.raises(NoEstimateError) as caught:
        fit_bradley_terry(counts)
    found = {frozenset(part) for part in caught.value.diagnosis.components}
    assert found == {frozenset(part) for part in case["expected"]["components"]}
    assert "Eve" in str(caught.value)
    assert caught.value.diagnosis.components[0] == ("Eve",), "the winning component comes first"
    assert not examine(counts).exists


def test_toy_case_fits_within_components_and_under_the_gamma_prior():
    case = load_case("toy_disconnected")
    counts, expected = case_counts(case), case["expected"]
    for part in expected["components"][1:]:
        fit = fit_bradley_terry(counts.restrict(part))
        for i, arm in enumerate(fit.arms):
            published = expected["abilities_mean_zero_within_component"][arm]
            assert fit.log_strengths[i] == pytest.approx(published, abs=case["tolerance"]["abilities"])
            assert np.sqrt(fit.covariance[i, i]) == pytest.approx(
                expected["se_mean_zero"][arm], abs=case["tolerance"]["se"]
            )
    fit = fit_model(counts, penalty="gamma:1.1")
    own = dict(zip(fit.arms, fit.log_strengths.tolist(), strict=True))
    assert own == pytest.approx(expected["map_a_1_1_own_converged"], abs=case["tolerance"]["map_vs_own_converged"])
    published = expected["map_a_1_1_log_strength_mean_zero"]
    assert own == pytest.approx(published, abs=case["tolerance"]["map_vs_published"])


def test_worked_example_and_cycle_cases_reproduce():
    case = load_case("wikipedia_worked_example")
    fit = fit_bradley_terry(case_counts(case))
    worth = dict(zip(fit.arms, np.exp(fit.log_strengths), strict=True))
    assert worth == pytest.approx(case["expected"]["strength_geomean_1"], abs=case["tolerance"]["strength"])
    case = load_case("choix_cycle")
    fit = fit_bradley_terry(case_counts(case))
    strengths = dict(zip(fit.arms, fit.log_strengths.tolist(), strict=True))
    assert strengths == pytest.approx(case["expected"]["abilities_mean_zero"], abs=case["tolerance"]["abilities"])

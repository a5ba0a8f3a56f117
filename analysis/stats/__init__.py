"""Estimates from pairwise votes: arrays or tables in, frozen results with diagnostics out."""

from __future__ import annotations

from analysis.stats.agreement import agreement
from analysis.stats.bootstrap import resample
from analysis.stats.conduct import annotator_rows
from analysis.stats.contrasts import holm, pair_contrasts
from analysis.stats.counts import VoteCounts, count_arrays, count_codes, count_table, count_votes
from analysis.stats.covariance import prepare
from analysis.stats.covariates import CovariateFit, fit_covariates
from analysis.stats.equivalence import EquivalenceRow, equivalence_tests
from analysis.stats.errors import AnalysisError, NoEstimateError, NotConvergedError
from analysis.stats.estimate import estimate, position_effect, rebase
from analysis.stats.existence import examine
from analysis.stats.fit import fit_bradley_terry, fit_model
from analysis.stats.goodness_of_fit import ModelFit, PairResidual, model_fit
from analysis.stats.influence import influence
from analysis.stats.krippendorff import krippendorff_alpha
from analysis.stats.omnibus import omnibus_test
from analysis.stats.penalty import parse_penalty
from analysis.stats.quadratic_test import QuadraticTest
from analysis.stats.raw_rates import raw_pairs
from analysis.stats.reliability import refit_reliability
from analysis.stats.results import (
    ContrastRow,
    Estimate,
    EstimateSettings,
    Existence,
    PairwiseFit,
    Penalty,
    RawPair,
    StrengthRow,
    Uncertainty,
)
from analysis.stats.rows import Rows
from analysis.stats.scales import elo, log_odds, win_probability
from analysis.stats.sequential import AnytimeRate, anytime_win_rates, look_at, verdict_of
from analysis.stats.spread import spread_of
from analysis.stats.strata import compare_strata
from analysis.stats.uncertainty import uncertainty_of, vote_level

__all__ = [
    "AnalysisError",
    "AnytimeRate",
    "ContrastRow",
    "CovariateFit",
    "EquivalenceRow",
    "Estimate",
    "EstimateSettings",
    "Existence",
    "ModelFit",
    "NoEstimateError",
    "NotConvergedError",
    "PairResidual",
    "PairwiseFit",
    "Penalty",
    "QuadraticTest",
    "RawPair",
    "Rows",
    "StrengthRow",
    "Uncertainty",
    "VoteCounts",
    "agreement",
    "annotator_rows",
    "anytime_win_rates",
    "compare_strata",
    "count_arrays",
    "count_codes",
    "count_table",
    "count_votes",
    "elo",
    "equivalence_tests",
    "estimate",
    "examine",
    "fit_bradley_terry",
    "fit_covariates",
    "fit_model",
    "holm",
    "influence",
    "krippendorff_alpha",
    "log_odds",
    "look_at",
    "model_fit",
    "omnibus_test",
    "pair_contrasts",
    "parse_penalty",
    "position_effect",
    "prepare",
    "raw_pairs",
    "rebase",
    "refit_reliability",
    "resample",
    "spread_of",
    "uncertainty_of",
    "verdict_of",
    "vote_level",
    "win_probability",
]

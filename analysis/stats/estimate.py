"""One call from counts to everything a report prints about one question.

fit -> covariance (two-way by default, and by vote beside it) -> strengths, contrasts, ranks -> warnings in words.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from analysis.stats.contrasts import (
    PairContrasts,
    pair_contrasts,
    percentile_bounds,
    percentile_draws,
    rank_intervals,
)
from analysis.stats.counts import VoteCounts
from analysis.stats.existence import examine
from analysis.stats.fit import fit_model
from analysis.stats.goodness_of_fit import model_fit
from analysis.stats.quasi_variance import quasi_variances
from analysis.stats.rank_chances import rank_chances
from analysis.stats.raw_rates import raw_pairs
from analysis.stats.results import (
    Array,
    ContrastRow,
    CovariateEffect,
    Estimate,
    EstimateSettings,
    PairwiseFit,
    PositionEffect,
    RawPair,
    StrengthRow,
    TieParameter,
    Uncertainty,
)
from analysis.stats.rows import Rows
from analysis.stats.scales import ELO_PER_LOG_ODDS, elo, win_probability
from analysis.stats.spread import quantile, spread_of, t_quantile
from analysis.stats.uncertainty import cluster_sizes, uncertainty_of, vote_level
from qsched.records import InputError

#: Above this the check of the position effect takes the sandwich.
_MANY_ARMS = 60


def estimate(counts: VoteCounts, settings: EstimateSettings | None = None) -> Estimate:
    """Fit, covariance, strengths (best first) and all pairwise contrasts, by the settings.

    Raises NoEstimateError (with a diagnosis) if the votes do not determine the strengths; `raw_pairs` still works.
    """
    settings = EstimateSettings() if settings is None else settings
    fit, unc = _fitted(counts, settings)
    by_vote = vote_level(fit, counts)
    theta, k = fit.log_strengths, len(fit.arms)
    contrasts = pair_contrasts(theta, unc, confidence=settings.confidence, seed=settings.seed, shape=settings.shape)
    raw = raw_pairs(counts, confidence=settings.confidence, intervals=settings.intervals, ties=settings.ties)
    sizes = cluster_sizes(counts)
    fitted = model_fit(fit, counts, intervals=settings.intervals)
    misfit = fitted.words(1 - settings.confidence)
    return Estimate(
        settings=settings,
        fit=fit,
        uncertainty=unc,
        vote_level=by_vote,
        strengths=_strengths(fit, unc, by_vote, contrasts, counts, settings),
        pairwise=_pair_rows(fit.arms, contrasts, raw, by_vote),
        position_effect=_position(fit, unc, settings.confidence),
        tie_parameter=_tie(fit, unc, settings.confidence),
        covariates=_covariates(fit, unc, settings.confidence),
        model_fit=fitted,
        design_effect=_mean_design_effect(unc, by_vote, k),
        n_votes=round(fit.n_votes),
        n_annotators=sizes.get("annotator"),
        n_prompts=sizes.get("prompt"),
        warnings=(*unc.warnings, *_model_warnings(fit, counts), *((misfit,) if misfit else ())),
        notes=unc.notes,
    )


def position_effect(counts: VoteCounts, settings: EstimateSettings) -> PositionEffect | None:
    """The position effect of the model that has one, whatever `settings` say about it; the rest is not computed.

    For many arms by the sandwich: a thousand refits of all strengths would only sharpen the error of one number.

    Raises NoEstimateError like `estimate`.
    """
    if len(counts.arms) > _MANY_ARMS:
        settings = replace(settings, method="sandwich", shape="t")
    fit, unc = _fitted(counts, replace(settings, position_effect=True))
    return _position(fit, unc, settings.confidence)


def _fitted(counts: VoteCounts, settings: EstimateSettings) -> tuple[PairwiseFit, Uncertainty]:
    fit = fit_model(
        counts,
        model=settings.model,
        ties=settings.ties,
        position_effect=settings.position_effect,
        penalty=settings.penalty,
    )
    unc = uncertainty_of(
        fit,
        counts,
        intervals=settings.intervals,
        method=settings.method,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    return fit, unc


def _ratio(upper: float, lower: float) -> float:
    return upper / lower if lower > 0 else math.nan


def _strengths(
    fit: PairwiseFit,
    unc: Uncertainty,
    by_vote: Uncertainty,
    contrasts: PairContrasts,
    counts: VoteCounts,
    settings: EstimateSettings,
) -> Rows[StrengthRow]:
    theta, k = fit.log_strengths, len(fit.arms)
    spread = spread_of(unc, list(range(k)))
    se, half = spread.shown, spread.half_width(settings.confidence)
    se_vote = spread_of(by_vote, list(range(k))).se
    normal = quantile(settings.confidence, math.inf)
    low, high = theta - half, theta + half
    if settings.shape == "percentile":
        draws = percentile_draws(unc)[:, :k]
        bounds = percentile_bounds(draws - draws.mean(axis=1, keepdims=True), settings.confidence)
        low, high = (np.where(spread.collapsed, b, own) for own, b in zip(bounds, (low, high), strict=True))
    best, worst = rank_intervals(contrasts, k)
    found = quasi_variances(_pair_variances(contrasts, k))
    quasi = np.sqrt(found.q)
    # An arm's own comparisons say how many clusters stand behind its quasi-variance.
    quasi_df = np.array([np.median(contrasts.df[(contrasts.first == i) | (contrasts.second == i)]) for i in range(k)])
    quasi_half = t_quantile(1 - settings.confidence, quasi_df) * quasi
    chances = rank_chances(theta, unc, seed=settings.seed)
    votes = counts.votes_of_arms()
    if fit.ties == "drop":
        votes = counts.without_ties().votes_of_arms()
    order = sorted(range(k), key=lambda i: (-theta[i], fit.arms[i]))
    return Rows(
        StrengthRow(
            arm=fit.arms[i],
            log_strength=float(theta[i]),
            se=float(se[i]),
            low=float(low[i]),
            high=float(high[i]),
            elo=elo(float(theta[i])),
            elo_low=elo(float(low[i])),
            elo_high=elo(float(high[i])),
            low_vote=float(theta[i] - normal * se_vote[i]),
            high_vote=float(theta[i] + normal * se_vote[i]),
            design_effect=_ratio(float(se[i]) ** 2, float(se_vote[i]) ** 2),
            n_votes=round(float(votes[i])),
            rank=place,
            rank_low=int(best[i]),
            rank_high=int(worst[i]),
            df=float(spread.df[i]),
            quasi_se=float(quasi[i]) if found.exist else None,
            quasi_low=float(theta[i] - quasi_half[i]) if found.exist else None,
            quasi_high=float(theta[i] + quasi_half[i]) if found.exist else None,
            rank_chances=tuple(chances[i].tolist()),
        )
        for place, i in enumerate(order, start=1)
    )


def _pair_variances(contrasts: PairContrasts, k: int) -> Array:
    """The squared standard errors of all differences as a symmetric matrix."""
    table = np.zeros((k, k))
    table[contrasts.first, contrasts.second] = table[contrasts.second, contrasts.first] = contrasts.se**2
    return table


def _pair_rows(
    arms: tuple[str, ...],
    pairs: PairContrasts,
    raw: tuple[RawPair, ...],
    by_vote: Uncertainty,
) -> Rows[ContrastRow]:
    se_vote = spread_of(by_vote, pairs.first, pairs.second).se
    # Column by column: three hundred arms have 44,850 pairs.
    numbers = (pairs.difference, pairs.se, pairs.p, pairs.low, pairs.high, pairs.low_all, pairs.high_all)
    more = (pairs.df, pairs.p_holm, pairs.detectable, se_vote)
    columns = [np.asarray(column, dtype=np.float64).tolist() for column in (*numbers, *more)]
    rows = []
    for i, j, own, *values in zip(pairs.first.tolist(), pairs.second.tolist(), raw, *columns, strict=True):
        difference, se, p, low, high, low_all, high_all, df, p_holm, detectable, by_vote_se = values
        rows.append(
            ContrastRow(
                arm_a=arms[i],
                arm_b=arms[j],
                raw=own,
                log_odds=difference,
                se=se,
                low=low,
                high=high,
                low_all=low_all,
                high_all=high_all,
                win_probability=win_probability(difference),
                win_probability_low=win_probability(low),
                win_probability_high=win_probability(high),
                elo_difference=ELO_PER_LOG_ODDS * difference,
                df=df,
                p=p,
                p_holm=p_holm,
                prob_superior=1 - p / 2 if difference > 0 else p / 2,
                design_effect=_ratio(se**2, by_vote_se**2),
                detectable=detectable,
            )
        )
    return Rows(rows)


def rebase(result: Estimate, baseline: str) -> Rows[StrengthRow]:
    """Strengths relative to one arm (its own is 0 without an interval), best first; Elo keeps 1000 for the baseline."""
    arms = result.fit.arms
    if baseline not in arms:
        raise InputError(f"Baseline {baseline!r} is not an arm of these votes; they are {', '.join(arms)}.")
    k, b = len(arms), arms.index(baseline)
    shift = float(result.fit.log_strengths[b])
    theta = result.fit.log_strengths - shift
    others = list(range(k))
    spread = spread_of(result.uncertainty, others, [b] * k)
    half = spread.half_width(result.settings.confidence)
    se_vote = spread_of(result.vote_level, others, [b] * k).se
    normal = quantile(result.settings.confidence, math.inf)
    rows = []
    for row in result.strengths:
        i = arms.index(row.arm)
        se = float(spread.shown[i])
        low, high = theta[i] - half[i], theta[i] + half[i]
        if result.settings.shape == "percentile" and not spread.collapsed[i]:
            draws = percentile_draws(result.uncertainty)
            low, high = percentile_bounds(draws[:, i] - draws[:, b], result.settings.confidence)
        rows.append(
            replace(
                row,
                log_strength=float(theta[i]),
                se=se,
                low=float(low),
                high=float(high),
                elo=elo(float(theta[i])),
                elo_low=elo(float(low)),
                elo_high=elo(float(high)),
                low_vote=float(theta[i] - normal * se_vote[i]),
                high_vote=float(theta[i] + normal * se_vote[i]),
                design_effect=_ratio(se**2, float(se_vote[i]) ** 2),
                df=float(spread.df[i]),
                quasi_low=None if row.quasi_low is None else row.quasi_low - shift,
                quasi_high=None if row.quasi_high is None else row.quasi_high - shift,
            )
        )
    return Rows(rows)


def _scalar(value: float, at: int, unc: Uncertainty, confidence: float) -> tuple[float, float, float, float]:
    """se, low, high and two-sided p of one parameter."""
    spread = spread_of(unc, [at])
    half = float(spread.half_width(confidence)[0])
    return float(spread.shown[0]), value - half, value + half, float(spread.p_value(np.array([value]))[0])


def _position(fit: PairwiseFit, unc: Uncertainty, confidence: float) -> PositionEffect | None:
    value = fit.position_effect
    if value is None:
        return None
    at = len(fit.arms)
    se, low, high, p = _scalar(value, at, unc, confidence)
    return PositionEffect(value, se, low, high, p, win_probability(value))


def _tie(fit: PairwiseFit, unc: Uncertainty, confidence: float) -> TieParameter | None:
    value = fit.tie_parameter
    if value is None:
        return None
    log_value = float(fit.parameters[-1])
    log_se, low, high, _ = _scalar(log_value, len(fit.parameters) - 1, unc, confidence)
    name = "nu" if fit.model == "davidson" else "kappa"
    floor = 0.0 if name == "nu" else 1.0  # kappa cannot be below one
    return TieParameter(
        name="nu" if name == "nu" else "kappa",
        value=value,
        se=value * log_se,
        low=max(floor, math.exp(low)),
        high=math.exp(high),
        log_value=log_value,
        log_se=log_se,
    )


def _covariates(fit: PairwiseFit, unc: Uncertainty, confidence: float) -> tuple[CovariateEffect, ...]:
    start = len(fit.arms) + int(fit.has_position)
    rows = []
    for offset, name in enumerate(fit.covariates):
        at = start + offset
        value = float(fit.parameters[at])
        se, low, high, p = _scalar(value, at, unc, confidence)
        rows.append(CovariateEffect(name, value, se, low, high, p))
    return tuple(rows)


def _mean_design_effect(unc: Uncertainty, by_vote: Uncertainty, k: int) -> float:
    """Ratio of the summed variances of the strengths: how many times fewer votes the data are worth."""
    ours, votes = (spread_of(u, list(range(k))).shown for u in (unc, by_vote))
    return _ratio(float((ours**2).sum()), float((votes**2).sum()))


def _model_warnings(fit: PairwiseFit, counts: VoteCounts) -> tuple[str, ...]:
    if fit.penalty.kind == "none":
        return ()
    words = [f"Estimates are shrunken by the penalty {fit.penalty}; intervals do not account for the bias."]
    bare = examine(counts, model=fit.model, ties=fit.ties, position_effect=fit.has_position)
    if not bare.exists:
        words.append("Without the penalty there is no estimate. " + " ".join(bare.problems))
    return tuple(words)

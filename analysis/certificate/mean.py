"""The clause "mean difference at most x JND": an upper bound over people and prompts."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from analysis.certificate.result import ClauseResult
from analysis.stats.errors import AnalysisError
from analysis.stats.jnd.existence import NoPlace, without_place
from analysis.stats.jnd.fit import NODES
from analysis.stats.jnd.mapping import MapCheck, check_map, mapped_bound
from analysis.stats.jnd.scale import Scale, score_pictures
from analysis.stats.jnd.variance import effective_number
from analysis.triplets import PLAIN, TripletCodes
from analysis.triplets.codes import TRAP
from qsched.records.registration import MeanPlan, Registration

#: Up to this limit the pooled model decides, with people's and prompts' spread assumed; above it the hierarchical one.
POOLED_UP_TO = 0.5
POWER = 0.8


def judge_mean(codes: TripletCodes, plan: Registration, clause: MeanPlan) -> ClauseResult:
    """The mean clause from plain votes, or from boosted votes where the map allows it."""
    claim = f"The mean visible difference of {plan.arm} from the reference is under {clause.limit:g} JND"
    if clause.evidence == "plain":
        return plain_mean(codes, plan, clause, claim=claim)
    try:
        seen = check_map(codes, plan.arm, confidence=plan.confidence)
        if seen.straight:
            return _mapped(codes, plan, clause, seen, claim=claim)
        reason, numbers = seen.reason, _map_numbers(seen)
    except AnalysisError as error:
        reason, numbers = str(error), {}
    fallen = plain_mean(codes, plan, clause, claim=claim)
    note = f"Boosted votes were registered as evidence, and plain votes decide instead: {reason}."
    return ClauseResult(
        fallen.name,
        claim,
        fallen.shown,
        fallen.finding,
        fallen.needs,
        fallen.needs_unit,
        {**fallen.numbers, **numbers, "evidence": "plain (fallen back)"},
        (note, *fallen.notes),
    )


def plain_mean(
    codes: TripletCodes, plan: Registration, clause: MeanPlan, *, claim: str, blind: float = 0.0
) -> ClauseResult:
    """The clause from plain votes alone, refused without traps, with one prompt or one person. `blind`: a share of the
    votes off the traps that is assumed to be random."""
    plain = codes.where(codes.presentation == PLAIN)
    k = codes.picture(plan.arm) if plan.arm in codes.pictures else -1
    shows = (plain.kind != TRAP) & (plain.left != plain.right) & ((plain.left == k) | (plain.right == k))
    votes, problem = int(shows.sum()), ""
    people, prompts = (len(np.unique(x[shows])) for x in (plain.person, plain.prompt))
    if not votes:
        problem = f"No plain vote shows {plan.arm}."
    elif not (plain.kind == TRAP).any():
        problem = "There are no plain traps: without them, careless answers look like a small difference."
    elif min(people, prompts) < 2:
        problem = f"{people} people voted on {prompts} prompts: a mean over people and prompts needs several of both."
    if problem:
        return ClauseResult("mean", claim, False, problem, numbers={"evidence": "plain", "votes": votes})
    effective = effective_number(plain.person[shows]), effective_number(plain.prompt[shows])
    missing = {item.picture: item for item in without_place(plain, confidence=plan.confidence)}
    if plan.arm in missing:
        return _no_number(missing[plan.arm], claim, votes)
    nodes = 1 if clause.limit <= POOLED_UP_TO else NODES
    spread = math.hypot(plan.people_sd, plan.prompt_sd) if nodes == 1 else plan.people_sd
    try:
        scale = score_pictures(plain, nodes=nodes, people_sd=spread, confidence=plan.confidence, blind=blind)
    except AnalysisError as error:
        return ClauseResult("mean", claim, False, str(error), numbers={"evidence": "plain", "votes": votes})
    return _from_scale(
        scale, plan, clause, claim=claim, votes=votes, people=people, prompts=prompts, effective=effective
    )


def _from_scale(
    scale: Scale,
    plan: Registration,
    clause: MeanPlan,
    *,
    claim: str,
    votes: int,
    people: int,
    prompts: int,
    effective: tuple[float, float],
) -> ClauseResult:
    score, fit = scale.score(plan.arm), scale.fit
    if fit is None or score.damage is None or score.se is None:
        return _no_number(NoPlace(plan.arm, score.reason, score.lower_bound), claim, votes)
    df = max(1.0, min(effective) - 1)
    t = float(stats.t.ppf(plan.confidence, df))
    upper = score.damage + t * score.se
    shown = upper < clause.limit
    finding = (
        f"{score.damage:.2f} JND, {100 * plan.confidence:.0f} % upper bound {upper:.2f} JND "
        f"({votes:,} plain votes, {people} people, {prompts} prompts)"
    )
    needs = None if shown else votes_needed(score.damage, score.se, clause.limit, votes, t)
    notes = (
        fit.notes
        if not shown and needs is not None
        else fit.notes
        + (
            ()
            if shown
            else ("The estimate is not below the limit: more votes of this kind would not show the clause.",)
        )
    )
    at = fit.layout.threshold(PLAIN)
    numbers = {
        "evidence": "plain",
        "model": "pooled" if fit.nodes == 1 else "hierarchical",
        "damage": score.damage,
        "se": score.se,
        "upper": upper,
        "limit": clause.limit,
        "votes": votes,
        "people": people,
        "prompts": prompts,
        "df": df,
        "threshold": float(fit.theta[at]),
        "lapse": float(fit.lapse[PLAIN]),
        "people_sd": plan.people_sd,
        "prompt_sd": plan.prompt_sd if fit.nodes == 1 else float(fit.theta[fit.layout.spread_at]),
    }
    return ClauseResult("mean", claim, shown, finding, needs, "votes", numbers, notes)


def votes_needed(damage: float, se: float, limit: float, votes: int, t: float) -> int | None:
    """Votes that show the clause with 80 % probability if the estimate is the truth; None where it is not below."""
    if damage >= limit:
        return None
    return math.ceil(votes * (se * (t + float(stats.norm.ppf(POWER))) / (limit - damage)) ** 2)


def _no_number(item: NoPlace, claim: str, votes: int) -> ClauseResult:
    bound = "" if item.lower_bound is None else f" Its damage is at least {item.lower_bound:.2f} JND."
    return ClauseResult(
        "mean",
        claim,
        False,
        f"No number: {item.reason.rstrip('.')}.{bound}",
        numbers={"evidence": "plain", "votes": votes, "lower_bound": item.lower_bound},
    )


def _mapped(codes: TripletCodes, plan: Registration, clause: MeanPlan, seen: MapCheck, *, claim: str) -> ClauseResult:
    bound = mapped_bound(codes, plan.arm, confidence=plan.confidence)
    shown = bound.upper < clause.limit
    finding = (
        f"{bound.damage:.2f} JND through the map, {100 * plan.confidence:.0f} % upper bound {bound.upper:.2f} JND "
        f"({bound.n_boosted:,} boosted votes of the arm, {bound.n_map:,} votes for the map). Depends on the map: "
        f"exponent {seen.exponent:.2f} ({seen.exponent_low:.2f} to {seen.exponent_high:.2f})"
    )
    t = float(stats.norm.ppf(plan.confidence))
    votes, needs = bound.n_boosted + bound.n_map, None
    if not shown and math.isfinite(bound.upper):
        needs = votes_needed(bound.damage, (bound.upper - bound.damage) / t, clause.limit, votes, t)
    numbers = {
        "evidence": "boosted through the map",
        "damage": bound.damage,
        "upper": bound.upper,
        "limit": clause.limit,
        "votes": votes,
        **_map_numbers(seen),
    }
    return ClauseResult("mean", claim, shown, finding, needs, "votes", numbers, ("This clause depends on the map.",))


def _map_numbers(seen: MapCheck) -> dict[str, float | int | str | bool | None]:
    return {
        "gain": seen.gain,
        "gain_low": seen.gain_low,
        "gain_high": seen.gain_high,
        "exponent": seen.exponent,
        "exponent_low": seen.exponent_low,
        "exponent_high": seen.exponent_high,
        "map_straight": seen.straight,
        "map_plain_votes": seen.n_plain,
        "map_boosted_votes": seen.n_boosted,
    }

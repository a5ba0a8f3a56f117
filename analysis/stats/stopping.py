"""Decide arms against a baseline at the planned looks of a growing study: better, worse, or equivalent.

At a look an arm has a difference d from the baseline (log-odds, Bradley-Terry) with the two-way standard error s of
the report. Its interval is d -+ c s, floor as in `spread`, with the bound c of that look at level / arms: Wang and
Tsiatis's (`qsched.planning.group_sequential`), or Robbins' that holds at any look (`analysis.stats.sequential`). c is
replaced by Student's t at the same tail probability, with the contrast's own degrees of freedom. Better: the interval
is above even; worse: below; equivalent: all of it within the margin, or, if the rule says so, each of two one-sided
bounds at level / arms (Schuirmann 1987, J. Pharmacokin. Biopharm. 15:657-680). An arm keeps its share of the level to
the end: each arm has two hypotheses (even, and different by the margin), so that what a decided one leaves must not be
passed on. The two cannot both be true, so that each has the whole share.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from analysis.stats.counts import VoteCounts, count_votes
from analysis.stats.errors import AnalysisError
from analysis.stats.fit import fit_bradley_terry
from analysis.stats.results import Array
from analysis.stats.scales import log_odds, win_probability
from analysis.stats.sequential import anytime_half_width
from analysis.stats.spread import Spread, spread_of
from analysis.stats.uncertainty import uncertainty_of
from analysis.votes.exclude import ExclusionRules, exclude
from analysis.votes.table import VotesTable
from qsched.planning import wang_tsiatis_bounds
from qsched.records import InputError
from qsched.records.stopping import ArmLook, Decision, StoppingRule


@dataclass(frozen=True)
class FoundAtLook:
    """What a look rests on (votes, people and prompts after the report's default exclusions) and says of each arm."""

    votes: int
    annotators: int
    prompts: int
    arms: tuple[ArmLook, ...]


def look_at_votes(
    votes: VotesTable, rule: StoppingRule, *, question: str, look: int, arms: int, undecided: Collection[str]
) -> FoundAtLook:
    """Look number `look` at all votes there were, of every kind: those on the deciding question that count are used."""
    kept = exclude(votes.select(question=question), ExclusionRules())[0]
    found = tuple(ArmLook(arm=arm, votes=0) for arm in undecided)
    if kept.n_votes:
        counts = count_votes(kept)
        if rule.baseline in counts.arms:
            found = look_at_arms(counts, rule, look=look, arms=arms, undecided=undecided)
    return FoundAtLook(
        votes=kept.n_votes,
        annotators=kept.frame["annotator"].n_unique(),
        prompts=kept.frame["prompt_id"].n_unique(),
        arms=found,
    )


def look_at_arms(
    counts: VoteCounts, rule: StoppingRule, *, look: int, arms: int, undecided: Collection[str]
) -> tuple[ArmLook, ...]:
    """What look number `look` says of the arms in `undecided`; `arms` is how many there were to decide at the start.

    Arms without an estimate stay open, without numbers. InputError if the votes lack the baseline.
    """
    if rule.baseline not in counts.arms:
        raise InputError(f"The votes have no arm {rule.baseline!r}, the baseline; they have {', '.join(counts.arms)}.")
    votes = dict(zip(counts.arms, counts.votes_of_arms(), strict=True))
    seen = [arm for arm in undecided if arm in votes]
    unknown = tuple(ArmLook(arm=arm, votes=round(float(votes.get(arm, 0.0)))) for arm in undecided)
    if not seen:
        return unknown
    number = {arm: place for place, arm in enumerate(counts.arms)}
    rows, base = [number[arm] for arm in seen], [number[rule.baseline]] * len(seen)
    try:
        fit = fit_bradley_terry(counts)
        spread = spread_of(uncertainty_of(fit, counts, method="sandwich"), rows, base)
    except AnalysisError:
        return unknown
    difference = fit.log_strengths[rows] - fit.log_strengths[base]
    found = {}
    decided = decide_arms(difference, spread, rule, look=look, arms=arms)
    for arm, d, (decision, low, high) in zip(seen, difference.tolist(), decided, strict=True):
        found[arm] = ArmLook(
            arm=arm,
            votes=round(float(votes[arm])),
            win_rate=win_probability(d),
            low=win_probability(low),
            high=win_probability(high),
            decision=decision,
        )
    return tuple(found.get(one.arm, one) for one in unknown)


def decide_arms(
    difference: Array, spread: Spread, rule: StoppingRule, *, look: int, arms: int
) -> list[tuple[Decision, float, float]]:
    """Decision and bounds, in log-odds, of arms with these differences from the baseline.

    The bounds are two-sided, but for an arm that only two one-sided tests call equivalent.
    """
    half = half_width_at_look(spread, rule, look=look, alpha=rule.level / arms)
    one_sided = rule.equivalence == "one-sided"
    narrow = half_width_at_look(spread, rule, look=look, alpha=2 * rule.level / arms) if one_sided else half
    found: list[tuple[Decision, float, float]] = []
    for d, wide, less in zip(difference.tolist(), half.tolist(), narrow.tolist(), strict=True):
        decision, h = decide(d - wide, d + wide, margin=rule.margin), wide
        if decision == "open" and _is_within(d - less, d + less, margin=rule.margin):
            decision, h = "equivalent", less
        found.append((decision, d - h, d + h))
    return found


def half_width_at_look(spread: Spread, rule: StoppingRule, *, look: int, alpha: float) -> Array:
    """Half of each arm's two-sided interval at a look, in log-odds, at level `alpha` over all looks."""
    if rule.bounds == "anytime":
        return anytime_half_width(spread, alpha)
    bound = wang_tsiatis_bounds(rule.looks, alpha, shape=rule.shape)[look - 1]
    return spread.half_width_at(math.erfc(bound / math.sqrt(2)), bound)


def decide(low: float, high: float, *, margin: float) -> Decision:
    """The rule for one arm, from its interval in log-odds and the margin in win rate."""
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "equivalent" if _is_within(low, high, margin=margin) else "open"


def _is_within(low: float, high: float, *, margin: float) -> bool:
    edge = log_odds(0.5 + margin)
    return -edge < low and high < edge

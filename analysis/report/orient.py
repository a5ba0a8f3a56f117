"""Turn pairs of arms so that the stronger estimate comes first, and order them as the strengths are ordered."""

from __future__ import annotations

from dataclasses import replace

from analysis.stats import Estimate, PairRow, RawPair


def best_first(estimate: Estimate) -> Estimate:
    """The same estimate; its pairs run from (best, second) to (last but one, last), never the weaker arm first."""
    place = {row.arm: index for index, row in enumerate(estimate.strengths)}
    turned = [p if place[p.arm_a] < place[p.arm_b] else turn_pair(p) for p in estimate.pairwise]
    return replace(estimate, pairwise=tuple(sorted(turned, key=lambda pair: (place[pair.arm_a], place[pair.arm_b]))))


def turn_pair(pair: PairRow) -> PairRow:
    """The same contrast seen from the other arm."""
    return replace(
        pair,
        arm_a=pair.arm_b,
        arm_b=pair.arm_a,
        raw=turn_raw(pair.raw),
        log_odds=-pair.log_odds,
        low=-pair.high,
        high=-pair.low,
        low_all=-pair.high_all,
        high_all=-pair.low_all,
        win_probability=1 - pair.win_probability,
        win_probability_low=1 - pair.win_probability_high,
        win_probability_high=1 - pair.win_probability_low,
        elo_difference=-pair.elo_difference,
        prob_superior=1 - pair.prob_superior,
    )


def turn_raw(pair: RawPair) -> RawPair:
    """The same counts seen from the other arm."""
    return replace(
        pair,
        arm_a=pair.arm_b,
        arm_b=pair.arm_a,
        wins_a=pair.wins_b,
        wins_b=pair.wins_a,
        win_rate=_rest(pair.win_rate),
        low=_rest(pair.high),
        high=_rest(pair.low),
        win_rate_without_ties=_rest(pair.win_rate_without_ties),
    )


def _rest(share: float | None) -> float | None:
    return None if share is None else 1 - share

"""The clause "not preferred less than 50 - m %": non-inferiority of preference votes, two-way."""

from __future__ import annotations

import math

from scipy import stats

from analysis.certificate.result import ClauseResult
from analysis.stats import count_votes, raw_pairs
from analysis.votes import VotesTable, exclude
from qsched.records import InputError
from qsched.records.registration import PreferencePlan, Registration


def judge_preference(votes: VotesTable, plan: Registration, clause: PreferencePlan, *, reference: str) -> ClauseResult:
    """The raw win rate of the arm against the reference (a tie is half a win) with its two-way lower bound."""
    claim = f"{plan.arm} is preferred to the reference by no less than {100 * (0.5 - clause.margin):.0f} %"
    kept, _ = exclude(votes)
    counts = count_votes(kept)
    rows = raw_pairs(counts, confidence=2 * plan.confidence - 1)
    row = next((r for r in rows if {r.arm_a, r.arm_b} == {plan.arm, reference}), None)
    if row is None or row.win_rate is None or row.low is None or row.high is None:
        known = ", ".join(repr(arm) for arm in counts.arms)
        raise InputError(f"No preference vote compares {plan.arm!r} with {reference!r}; the arms are {known}.")
    rate, lower = (row.win_rate, row.low) if row.arm_a == plan.arm else (1 - row.win_rate, 1 - row.high)
    target = 0.5 - clause.margin
    shown = lower > target
    finding = (
        f"preferred by {100 * rate:.1f} % (a tie is half), {100 * plan.confidence:.0f} % lower bound "
        f"{100 * lower:.1f} % ({row.n_votes:,} votes, two-way over people and prompts)"
    )
    needs = None
    if not shown and rate > target:
        z = float(stats.norm.ppf(plan.confidence))
        needs = math.ceil(row.n_votes * ((rate - lower) / z * (z + float(stats.norm.ppf(0.8))) / (rate - target)) ** 2)
    numbers = {"rate": rate, "lower": lower, "target": target, "votes": row.n_votes}
    return ClauseResult("preference", claim, shown, finding, needs, "votes", numbers)

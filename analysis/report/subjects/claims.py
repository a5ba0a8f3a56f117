"""The sentences of a report. None of them claims more than its interval allows.

A difference is "detected" when its Holm-adjusted p-value is below alpha. Otherwise the report says how
large a difference would have been detected, and never that two arms are equal: "equivalent within the
margin" needs a margin that was given beforehand and an interval inside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from analysis.report.kit.table import p_value, percent
from analysis.stats import ContrastRow, Estimate, win_probability

Verdict = Literal["a", "b", "undetected"]
BRIEF_LINES = 8
# Differences beyond this win rate do not occur: a study that needs them detects nothing.
LARGEST_REACH = 0.995


@dataclass(frozen=True)
class Claim:
    """What may be said of one pair: who was preferred, if that was detected, and whether a margin was met."""

    arm_a: str
    arm_b: str
    verdict: Verdict
    within_margin: bool
    sentence: str

    @property
    def detected(self) -> bool:
        return self.verdict != "undetected"


def judge_pair(pair: ContrastRow, *, alpha: float, confidence: float, n_pairs: int, margin: float | None) -> Claim:
    """Put one contrast into words."""
    detected = pair.p_holm < alpha
    verdict: Verdict = "undetected" if not detected else "a" if pair.log_odds > 0 else "b"
    within = margin is not None and _inside_margin(pair, margin)
    return Claim(
        arm_a=pair.arm_a,
        arm_b=pair.arm_b,
        verdict=verdict,
        within_margin=within,
        sentence=_detected(pair, confidence, n_pairs, margin if within else None)
        if detected
        else _undetected(pair, alpha, confidence, n_pairs, margin, within),
    )


def _inside_margin(pair: ContrastRow, margin: float) -> bool:
    # The simultaneous interval, which is wider than the one two one-sided tests would use: cautious on purpose,
    # because all pairs are judged at once.
    low, high = win_probability(pair.low_all), win_probability(pair.high_all)
    return 0.5 - margin < low and high < 0.5 + margin


def _detected(pair: ContrastRow, confidence: float, n_pairs: int, margin: float | None) -> str:
    a_first = pair.log_odds > 0
    winner, loser = (pair.arm_a, pair.arm_b) if a_first else (pair.arm_b, pair.arm_a)
    rate = pair.win_probability if a_first else 1 - pair.win_probability
    low = pair.win_probability_low if a_first else 1 - pair.win_probability_high
    high = pair.win_probability_high if a_first else 1 - pair.win_probability_low
    text = (
        f"{winner} was preferred to {loser}: estimated win rate {percent(rate)} "
        f"({interval_words(low, high, confidence)}; {_p_words(pair, n_pairs)})."
    )
    if margin is not None:
        text += f" The difference is smaller than the margin of {margin_words(margin)} that was given."
    return text


def _undetected(
    pair: ContrastRow,
    alpha: float,
    confidence: float,
    n_pairs: int,
    margin: float | None,
    within: bool,
) -> str:
    text = (
        f"No difference was detected between {pair.arm_a} and {pair.arm_b}: estimated win rate of {pair.arm_a} "
        f"{percent(pair.win_probability)} "
        f"({interval_words(pair.win_probability_low, pair.win_probability_high, confidence)}; "
        f"{_p_words(pair, n_pairs)})."
    )
    if pair.p < alpha:
        text += (
            " Looked at alone, its interval leaves out an even split; "
            f"after allowing for all {n_pairs} comparisons it is not a detected difference."
        )
    reach = win_probability(abs(pair.detectable))
    text += (
        f" Differences larger than {percent(reach)} against {percent(1 - reach)} would have been detected "
        "in four of five such studies; smaller ones may exist."
        if reach < LARGEST_REACH
        else " Hardly any difference, however large, would have been detected in such a study."
    )
    if within and margin is not None:
        text += f" The two are equivalent within the margin of {margin_words(margin)} that was given."
    elif margin is not None:
        text += f" Equivalence within the margin of {margin_words(margin)} was not shown either."
    return text


def interval_words(low: float, high: float, confidence: float) -> str:
    """'95 % interval 48.0 % to 55.1 %'."""
    return f"{100 * confidence:g}\u00a0% interval {percent(low)} to {percent(high)}"


def margin_words(margin: float) -> str:
    """0.03 -> '±3 percentage points around an even split'."""
    return f"±{100 * margin:g} percentage points around an even split"


def _p_words(pair: ContrastRow, n_pairs: int) -> str:
    name = "p" if n_pairs == 1 else "Holm-adjusted p"
    shown = p_value(pair.p_holm)
    return f"{name} {shown}" if shown[0] in "<>" else f"{name} = {shown}"


def percent_words(confidence: float) -> str:
    """A confidence level in percent."""
    return f"{100 * confidence:g} %"


def share_words(estimate: Estimate) -> str:
    """How the model's win rate takes ties."""
    if estimate.settings.model == "bradley-terry" and estimate.settings.ties == "half":
        return "a tie counts as half a win"
    return "ties are left out"


def judge_all(estimate: Estimate, *, margin: float | None) -> tuple[Claim, ...]:
    """Every pair of `estimate` in words, in its order."""
    confidence = estimate.settings.confidence
    return tuple(
        judge_pair(
            pair,
            alpha=1.0 - confidence,
            confidence=confidence,
            n_pairs=len(estimate.pairwise),
            margin=margin,
        )
        for pair in estimate.pairwise
    )


def headline(claims: tuple[Claim, ...], *, baseline: str | None = None) -> str:
    """One sentence about all pairs, or about those with the baseline."""
    n = len(claims)
    found = sum(claim.detected for claim in claims)
    of_what = "pairs of arms" if baseline is None else f"comparisons with {baseline}"
    if n == 1:
        return "A difference was detected." if found else "No difference was detected."
    if found == 0:
        return f"No difference was detected in any of the {n} {of_what}."
    if found == n:
        return f"A difference was detected in all {n} {of_what}."
    return f"A difference was detected in {found} of {n} {of_what}; for the others it remains open."


def wins_in_brief(claims: tuple[Claim, ...], order: tuple[str, ...]) -> tuple[str, ...]:
    """For many arms: one line per arm, naming the arms it was preferred to (detected differences only)."""
    beaten: dict[str, list[str]] = {arm: [] for arm in order}
    for claim in claims:
        if claim.verdict == "a":
            beaten[claim.arm_a].append(claim.arm_b)
        elif claim.verdict == "b":
            beaten[claim.arm_b].append(claim.arm_a)
    lines = [f"{arm} was preferred to {list_words(losers)}." for arm, losers in beaten.items() if losers]
    left_out = len(lines) - BRIEF_LINES
    if left_out > 1:
        lines[BRIEF_LINES:] = [f"{left_out} more arms were preferred to others; the table of differences names them."]
    return tuple(lines)


def list_words(names: list[str]) -> str:
    """['a', 'b', 'c'] -> 'a, b and c'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

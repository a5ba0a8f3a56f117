"""What the clause "at least s of prompts under 1 JND" costs: the two-stage plan with the fewest votes.

For a guessed damage (log-normal over prompts) the plan's cuts, pi, the expected votes and the probability that the
clause is shown follow exactly from the binomial distribution of flagged prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import ndtr

from analysis.planning.fidelity_price import PriceAssumptions
from analysis.stats.jnd.model import Array, Q, nodes_of
from analysis.stats.jnd.share import Perception, VoteStage, flag_probability, score_distribution, share_bound
from analysis.triplets import BOOSTED, PLAIN

_NODES = 9
#: Votes a prompt that are tried in the first and the second stage; a plain vote says less.
TRIED = {PLAIN: ((12, 20), (80, 120)), BOOSTED: ((8, 10, 12), (30, 40))}


@dataclass(frozen=True)
class SharePrice:
    """A plan: its stages, pi, expected votes, probability that the clause is shown; `reason` where none reaches the
    power."""

    stages: tuple[VoteStage, ...]
    pi: float
    votes: float
    probability: float
    reason: str = ""


def share_price(share: float, a: PriceAssumptions, *, presentation: int = BOOSTED, gain_sd: float = 0.15) -> SharePrice:
    """The cheapest two-stage plan that reaches the power with `a.prompts` prompts, else the one most often shown."""
    gain = a.gain if presentation == BOOSTED else 1.0
    sd = gain_sd if presentation == BOOSTED else 0.0
    z, weight = nodes_of(_NODES)
    damages = a.damage * np.exp(a.prompt_sd * z - a.prompt_sd**2 / 2)
    gains = gain * np.exp(sd * z - sd**2 / 2)
    first, second = TRIED[presentation]
    tails = {n: _tails(n, np.append(damages, 1.0), gains, a) for n in (*first, *second)}
    best: SharePrice | None = None
    for n1 in first:
        for n2 in second:
            both = np.einsum("dgc,dge,g->dce", tails[n1], tails[n2], weight)
            rate, pi = np.einsum("dce,d->ce", both[:-1], weight), both[-1]
            again = np.einsum("dgc,d,g->c", tails[n1][:-1], weight, weight)
            for c1 in range(n1, 2 * n1 + 1):
                for c2 in range(n2, 2 * n2 + 1):
                    allowed = _most_flagged(share, a.prompts, float(pi[c1, c2]), a.confidence)
                    if allowed < 0:
                        continue
                    chance = float(stats.binom.cdf(allowed, a.prompts, rate[c1, c2]))
                    votes = a.prompts * (n1 + float(again[c1]) * n2)
                    stages = (VoteStage(presentation, n1, c1 / 2), VoteStage(presentation, n2, c2 / 2))
                    found = SharePrice(stages, float(pi[c1, c2]), votes, chance)
                    best = found if best is None else _better(best, found, a.power)
    if best is None:
        return SharePrice(
            (), 0.0, 0.0, 0.0, f"{a.prompts} prompts cannot show {100 * share:.0f} %, whatever the votes say"
        )
    perception = Perception(
        thresholds=(a.threshold, a.threshold), lapses=(a.lapse, a.lapse), people_sd=a.people_sd, gain=a.gain, gain_sd=sd
    )
    pi_exact = flag_probability(best.stages, 1.0, perception)
    reason = (
        "" if best.probability >= a.power else f"no plan with {a.prompts} prompts reaches {100 * a.power:.0f} % power"
    )
    return SharePrice(best.stages, min(pi_exact, best.pi), best.votes, best.probability, reason)


def _better(a: SharePrice, b: SharePrice, power: float) -> SharePrice:
    enough_a, enough_b = a.probability >= power, b.probability >= power
    if enough_a and enough_b:
        return b if b.votes < a.votes else a
    if enough_a or enough_b:
        return a if enough_a else b
    return b if b.probability > a.probability else a


def _most_flagged(share: float, prompts: int, pi: float, confidence: float) -> int:
    """The largest number of flagged prompts that still shows the share; -1 where not even none does."""
    flagged = -1
    while pi > 0 and flagged + 1 < prompts and share_bound(flagged + 1, prompts, pi=pi, confidence=confidence) >= share:
        flagged += 1
    return flagged


def _tails(votes: int, damages: Array, gains: Array, a: PriceAssumptions) -> Array:
    """P(twice the score >= c) of each damage and gain, (D, G, 2n + 1)."""
    y, weight = nodes_of(_NODES)
    seen = np.exp(a.people_sd * y - a.people_sd**2 / 2)
    out = np.empty((len(damages), len(gains), 2 * votes + 1))
    for i, damage in enumerate(damages):
        for j, gain in enumerate(gains):
            eta = Q * damage * gain * seen
            named = float(((1 - a.lapse) * ndtr(eta - a.threshold) + a.lapse / 3) @ weight)
            other = float(((1 - a.lapse) * ndtr(-eta - a.threshold) + a.lapse / 3) @ weight)
            out[i, j] = score_distribution(votes, (other, 1 - named - other, named))[::-1].cumsum()[::-1]
    return out

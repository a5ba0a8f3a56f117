"""At least a share s of prompts under 1 JND, whatever the distribution of damage over prompts.

Each prompt gets a score S = (votes that name the arm) + half of the "not sure" of n votes against the reference, in one
stage or two (a second stage only where the first was not below its cut). A prompt is flagged when it reaches the cut c
in every stage. The cuts and pi = P(flagged | damage exactly 1 JND) are fixed before the study. A prompt of 1 JND or
more is flagged with probability pi or more, so that with F of P prompts flagged

    share under 1 JND >= 1 - CP_upper(F, P) / pi,      CP: Clopper-Pearson, one-sided.

pi rests on the threshold, the lapse rate, people's spread and, for boosted votes, on the gain and its spread over
prompts: the smaller pi, the more careful.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats
from scipy.special import ndtr

from analysis.stats.jnd.model import Array, Codes, Q, nodes_of
from analysis.triplets import BOOSTED, TripletCodes
from analysis.triplets.codes import LEFT as LEFT_ANSWER
from analysis.triplets.codes import NOT_SURE, RIGHT, TASK

_NODES = 21


@dataclass(frozen=True)
class VoteStage:
    """So many votes on each prompt that is still open, and the score from which a prompt stays flagged."""

    presentation: int
    votes: int
    cut: float


@dataclass(frozen=True, kw_only=True)
class Perception:
    """What pi rests on: thresholds and lapse rates (plain, boosted), people's spread, the gain and its spread."""

    thresholds: tuple[float, float] = (0.3, 0.3)
    lapses: tuple[float, float] = (0.05, 0.05)
    people_sd: float = 0.3
    gain: float = 2.0
    gain_sd: float = 0.3


@dataclass(frozen=True)
class ShareResult:
    """How many prompts were flagged, and the lower bound of the share under 1 JND. `incomplete`: prompts without the
    votes of a stage, counted as flagged. `open_prompts` are the flagged ones that more votes could clear."""

    prompts: int
    flagged: int
    incomplete: int
    votes: int
    pi: float
    lower: float
    open_prompts: tuple[str, ...] = ()


def score_distribution(votes: int, p: Sequence[float]) -> Array:
    """Probability of each score 0, 1/2, ..., n (2n + 1 values); `p` = P(other named), P(not sure), P(arm named)."""
    one = np.array(p, dtype=np.float64)
    whole = np.ones(1)
    for _ in range(votes):
        whole = np.convolve(whole, one)
    return whole


@lru_cache(maxsize=4096)
def flag_probability(stages: tuple[VoteStage, ...], damage: float, perception: Perception) -> float:
    """P(flagged) of a prompt of this damage (plain JND): people's spread vote by vote, the gain's spread by prompt."""
    z, weight = nodes_of(_NODES)
    y, share = nodes_of(_NODES)
    gains = perception.gain * np.exp(perception.gain_sd * z - perception.gain_sd**2 / 2)
    seen = np.exp(perception.people_sd * y - perception.people_sd**2 / 2)
    flagged = np.ones(_NODES)
    for stage in stages:
        m = stage.presentation
        t, lapse = perception.thresholds[m], perception.lapses[m]
        shown = damage * (gains if m == BOOSTED else np.ones(_NODES))
        eta = Q * shown[:, None] * seen
        named = ((1 - lapse) * ndtr(eta - t) + lapse / 3) @ share
        other = ((1 - lapse) * ndtr(-eta - t) + lapse / 3) @ share
        least = int(np.ceil(2 * stage.cut - 1e-9))
        tails: dict[float, float] = {}
        for n, o in zip(named, other, strict=True):
            key = round(float(n), 12)
            if key not in tails:
                tails[key] = float(score_distribution(stage.votes, (o, 1 - n - o, n))[least:].sum())
        flagged *= np.array([tails[round(float(n), 12)] for n in named])
    return float(flagged @ weight)


def prompt_scores(codes: TripletCodes, arm: str, stages: Sequence[VoteStage]) -> tuple[Array, Codes]:
    """Scores (P, stages), NaN where a prompt lacks the votes, and the number of votes used of each prompt.

    A stage takes the first votes of its presentation, in the order of the codes, that no stage before it has taken.
    """
    k = codes.picture(arm)
    task = codes.kind == TASK
    against = task & (((codes.left == k) & (codes.right == 0)) | ((codes.right == k) & (codes.left == 0)))
    named = np.where(codes.right == k, codes.answer == RIGHT, codes.answer == LEFT_ANSWER)
    points = np.where(codes.answer == NOT_SURE, 0.5, named.astype(np.float64))
    prompts = len(codes.prompts)
    scores, used = np.full((prompts, len(stages)), np.nan), np.zeros(prompts, dtype=np.int64)
    taken = {0: np.zeros(prompts, dtype=np.int64), 1: np.zeros(prompts, dtype=np.int64)}
    for s, stage in enumerate(stages):
        at = np.flatnonzero(against & (codes.presentation == stage.presentation))
        order = at[np.argsort(codes.prompt[at], kind="stable")]
        p = codes.prompt[order]
        first = np.searchsorted(p, np.arange(prompts))
        place = np.arange(len(p)) - first[p] - taken[stage.presentation][p]
        inside = (place >= 0) & (place < stage.votes)
        count = np.bincount(p[inside], minlength=prompts)
        total = np.bincount(p[inside], weights=points[order][inside], minlength=prompts)
        full = count == stage.votes
        scores[full, s] = total[full]
        used += count
        taken[stage.presentation] += count
    return scores, used


def share_under(
    codes: TripletCodes,
    arm: str,
    stages: Sequence[VoteStage],
    *,
    pi: float,
    confidence: float = 0.95,
    changed: Collection[str] = (),
) -> ShareResult:
    """The clause's bound from these votes; a prompt that was not cleared and lacks votes counts as flagged.

    So do prompts whose content `changed`, whether or not anybody voted on them: they were not boosted, and a bound that
    left them out would be about the other prompts only.
    """
    scores, used = prompt_scores(codes, arm, stages)
    cuts = np.array([stage.cut for stage in stages])
    cleared = (scores < cuts - 1e-9).any(axis=1)
    cleared &= ~np.isin(codes.prompts, list(changed))
    lacking = np.isnan(scores).any(axis=1) & ~cleared
    unseen = sorted(set(changed) - set(codes.prompts))
    names = [name for name, clear in zip(codes.prompts, cleared, strict=True) if not clear]
    flagged = len(names) + len(unseen)
    prompts = len(scores) + len(unseen)
    lower = share_bound(flagged, prompts, pi=pi, confidence=confidence)
    open_prompts = tuple(name for name in names if name not in changed)
    return ShareResult(prompts, flagged, int(lacking.sum()), int(used.sum()), pi, lower, open_prompts)


def share_bound(flagged: int, prompts: int, *, pi: float, confidence: float = 0.95) -> float:
    """1 - CP_upper(F, P) / pi, at least 0."""
    return max(0.0, 1 - upper_share(flagged, prompts, confidence=confidence) / pi)


def upper_share(count: int, of: int, *, confidence: float = 0.95) -> float:
    """One-sided Clopper-Pearson upper bound of a share."""
    return 1.0 if count >= of else float(stats.beta.ppf(confidence, count + 1, of - count))

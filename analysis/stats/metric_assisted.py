"""Contrasts with the baseline, helped by an automatic metric that is also known for prompts nobody voted on.

People vote on a sample of P prompts, and which prompts were drawn is part of the error. If a metric x_pk (variant k
against the baseline on prompt p) is known for the voted prompts and for M others drawn alike, the voted prompts' mean
can be moved to that of the others, as far as the metric goes with the votes:

    b*_k = b_k - sum_p lam_k,f(p) w_pk (x_pk - xbar_k)
    lam_k,f = sum_p B_pk X_pk / (sum_p X_pk^2 + (share of p used) s_k^2 / M),    over prompts outside fold f

b_k: the fitted contrast; w_pk: share of variant k's tasks that are on p; xbar_k and s_k^2: mean and variance over the
M others; B_pk: sum over the tasks on p of IF_ik, the influence of task i on b_k; X_pk = w_pk (x_pk - the mean of x_k
weighted by w). The slope lam is fitted on other prompts than those it is used on (folds of prompts), so that b* is
valid whatever the metric is worth: a useless one costs nothing but noise of order 1/P. With

    IF*_ik = IF_ik - lam_k,f(p) (x_pk - xbar_k) / n_k + (their mean)             for tasks that show k (n_k of them)
    V* = V_annotator(IF*) + V_prompt(IF*) - V_both(IF*) + L_k^2 s_k^2 / M,       L_k = sum_p lam_k,f(p) w_pk

not below V_both(IF*) plus the last term; t with min(annotators, prompts) - 1 degrees of freedom. It gains on the part
of the variance that comes from prompts and on nothing else (prediction-powered inference, Angelopoulos et al. 2023,
Science 382:669-674, with clusters).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.stats.counts import count_codes
from analysis.stats.covariance import prepare
from analysis.stats.fit import fit_model
from analysis.stats.results import Array, Ties
from analysis.stats.scales import win_probability
from analysis.stats.spread import quantile
from analysis.votes.coded import IntArray
from qsched.records import InputError

FOLDS = 5
#: Fewer prompts without votes leave their mean too rough to be worth anything.
LEAST_OTHERS = 20


@dataclass(frozen=True)
class CodedVotes:
    """Votes as codes, (n,) each: `outcome` 0 the left arm won, 1 the right arm, 2 a tie."""

    left: IntArray
    right: IntArray
    outcome: IntArray
    annotator: IntArray
    prompt: IntArray


@dataclass(frozen=True)
class AssistedContrast:
    """Variant `arm` against the baseline, on the scale of log-odds and as a win rate, without and with the metric.

    `slope`: mean lam, log-odds per unit of the metric. `times`: variance without over variance with it.
    """

    arm: str
    log_odds: float
    se: float
    log_odds_assisted: float
    se_assisted: float
    slope: float
    win_rate: float
    low: float
    high: float
    win_rate_assisted: float
    low_assisted: float
    high_assisted: float

    @property
    def times(self) -> float:
        return (self.se / self.se_assisted) ** 2


def assisted_contrasts(
    votes: CodedVotes,
    arms: tuple[str, ...],
    baseline: int,
    voted: Array,
    others: Array,
    *,
    ties: Ties = "half",
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[AssistedContrast, ...]:
    """One contrast for each arm but the baseline, by Bradley-Terry.

    voted (P, K), others (M, K): the metric of each arm on prompts with and without votes, rows of `voted` in the order
    of the codes of `votes.prompt`; turned so that more is better. Raises InputError with fewer than LEAST_OTHERS other
    prompts, fewer than two annotators or prompts, or a value that is not finite; NoEstimateError without an estimate.
    """
    if ties == "drop":
        kept = votes.outcome != 2
        votes = CodedVotes(*(getattr(votes, name)[kept] for name in CodedVotes.__dataclass_fields__))
    people, prompts = len(np.unique(votes.annotator)), len(np.unique(votes.prompt))
    if min(people, prompts) < 2:
        raise InputError(
            f"The votes are of {people} annotators on {prompts} prompts; a metric can help only with two or more each."
        )
    if len(others) < LEAST_OTHERS:
        raise InputError(
            f"The metric is known for {len(others)} prompts without votes; it can help only if at least {LEAST_OTHERS} "
            "prompts, drawn like those of the study, were generated and scored but not voted on."
        )
    if not (np.isfinite(voted).all() and np.isfinite(others).all()):
        raise InputError("The metric has values that are not finite. Run `qsched score` again, or choose another.")
    rows = {"annotator": votes.annotator, "prompt": votes.prompt}
    counts = count_codes(votes.left, votes.right, votes.outcome, arms=arms, **rows)
    fit = fit_model(counts, ties=ties)
    bread = prepare(fit, counts).bread
    theta = fit.log_strengths
    eta = theta[votes.left] - theta[votes.right]
    score = np.choose(votes.outcome, [1.0, 0.0, 0.5]) - 1 / (1 + np.exp(-eta))
    fold = np.random.default_rng(seed).permutation(len(voted)) % min(FOLDS, prompts)
    t = quantile(confidence, min(people, prompts) - 1)
    both = np.unique(votes.annotator * np.int64(len(voted)) + votes.prompt, return_inverse=True)[1].ravel()
    found = []
    for k in range(len(arms)):
        if k == baseline:
            continue
        direction = bread[k] - bread[baseline]
        influence = (direction[votes.left] - direction[votes.right]) * score
        x, rest = voted[:, k] - voted[:, baseline], others[:, k] - others[:, baseline]
        shows = (votes.left == k) | (votes.right == k)
        lam, move = _moved(influence, shows, votes.prompt, x - rest.mean(), fold, float(rest.var(ddof=1)) / len(rest))
        at = votes.prompt
        shift = np.where(shows, lam[at] * (x - rest.mean())[at] / max(int(shows.sum()), 1), 0.0)
        assisted = influence - shift + np.where(shows, shift.sum() / max(int(shows.sum()), 1), 0.0)
        slope = float((lam * np.bincount(at[shows], minlength=len(voted))).sum() / max(int(shows.sum()), 1))
        more = slope**2 * float(rest.var(ddof=1)) / len(rest)
        plain_se = np.sqrt(_variance(influence, votes.annotator, votes.prompt, both))
        own_se = np.sqrt(_variance(assisted, votes.annotator, votes.prompt, both) + more)
        b = float(theta[k] - theta[baseline])
        found.append(_row(arms[k], b, float(plain_se), b - move, float(own_se), slope, t))
    return tuple(found)


def _moved(
    influence: Array, shows: Array, prompt: IntArray, x: Array, fold: IntArray, noise: float
) -> tuple[Array, float]:
    """The slope used on each prompt, (P,), and by how much the contrast moves. `x`: less the mean of the others."""
    tasks = np.bincount(prompt[shows], minlength=len(x))
    w = tasks / max(int(tasks.sum()), 1)
    used = tasks > 0
    by_prompt = np.bincount(prompt, influence, len(x))
    centred = w * (x - float((w * x).sum()))
    lam = np.zeros(len(x))
    for f in range(int(fold.max()) + 1):
        train = used & (fold != f)
        below = float((centred[train] ** 2).sum()) + train.sum() / max(int(used.sum()), 1) * noise
        lam[fold == f] = float((by_prompt[train] * centred[train]).sum()) / below if below > 0 else 0.0
    return lam, float((lam * w * x).sum())


def _variance(influence: Array, annotator: IntArray, prompt: IntArray, both: IntArray) -> float:
    """V_annotator + V_prompt - V_both, not below V_both."""
    by_annotator, by_prompt, by_both = (_squares(influence, codes) for codes in (annotator, prompt, both))
    return max(by_annotator + by_prompt - by_both, by_both)


def _squares(influence: Array, codes: IntArray) -> float:
    sums = np.bincount(codes, influence)
    present = int((np.bincount(codes) > 0).sum())
    return float((sums**2).sum()) * present / (present - 1)


def _row(
    arm: str, plain: float, plain_se: float, own: float, own_se: float, slope: float, t: float
) -> AssistedContrast:
    def rate(log_odds: float) -> float:
        return float(win_probability(log_odds))

    return AssistedContrast(
        arm=arm,
        log_odds=plain,
        se=plain_se,
        log_odds_assisted=own,
        se_assisted=own_se,
        slope=slope,
        win_rate=rate(plain),
        low=rate(plain - t * plain_se),
        high=rate(plain + t * plain_se),
        win_rate_assisted=rate(own),
        low_assisted=rate(own - t * own_se),
        high_assisted=rate(own + t * own_se),
    )

"""Contrasts helped by a metric: the equations written out with loops, invariances, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.stats import count_codes, fit_bradley_terry
from analysis.stats.covariance import prepare
from analysis.stats.metric_assisted import FOLDS, AssistedContrast, CodedVotes, assisted_contrasts
from analysis.stats.results import Array
from qsched.records import InputError

ARMS, PEOPLE, PROMPTS, OTHERS = ("a", "b", "c"), 12, 15, 60


@pytest.fixture(scope="module")
def study() -> tuple[CodedVotes, Array, Array]:
    rng = np.random.default_rng(3)
    taste = rng.normal(0, 0.8, (PROMPTS + OTHERS, 3))
    metric = taste + rng.normal(0, 0.3, taste.shape) + [0.0, 3.0, -1.0]
    n = PEOPLE * 20
    annotator, prompt = np.repeat(np.arange(PEOPLE), 20), rng.integers(0, PROMPTS, n)
    left = rng.integers(0, 3, n)
    right = (left + rng.integers(1, 3, n)) % 3
    eta = taste[prompt, left] - taste[prompt, right] + 0.3 * (left - right)
    outcome = np.where(rng.random(n) < 0.1, 2, np.where(rng.random(n) < 1 / (1 + np.exp(-eta)), 0, 1))
    return CodedVotes(left, right, outcome, annotator, prompt), metric[:PROMPTS], metric[PROMPTS:]


def by_the_equations(votes: CodedVotes, voted: Array, others: Array, k: int) -> tuple[float, float]:
    """b*_k and its standard error against arm 0, with loops over tasks."""
    counts = count_codes(
        votes.left, votes.right, votes.outcome, arms=ARMS, annotator=votes.annotator, prompt=votes.prompt
    )
    fit = fit_bradley_terry(counts)
    theta, bread = fit.log_strengths, prepare(fit, counts).bread
    n = len(votes.left)
    influence, shows = np.zeros(n), np.zeros(n, dtype=bool)
    for i in range(n):
        x = np.zeros(3)
        x[votes.left[i]], x[votes.right[i]] = 1, -1
        score = {0: 1.0, 1: 0.0, 2: 0.5}[int(votes.outcome[i])] - 1 / (1 + np.exp(-(theta @ x)))
        influence[i] = ((bread[k] - bread[0]) @ x) * score
        shows[i] = k in (votes.left[i], votes.right[i])
    x_p, rest = voted[:, k] - voted[:, 0], others[:, k] - others[:, 0]
    n_k, xbar, s2 = shows.sum(), rest.mean(), rest.var(ddof=1)
    w = np.array([(shows & (votes.prompt == p)).sum() / n_k for p in range(PROMPTS)])
    big_b = np.array([influence[votes.prompt == p].sum() for p in range(PROMPTS)])
    big_x = w * (x_p - (w * x_p).sum())
    fold = np.random.default_rng(0).permutation(PROMPTS) % FOLDS
    lam = np.zeros(PROMPTS)
    for f in range(FOLDS):
        out = [p for p in range(PROMPTS) if fold[p] != f]
        share = len(out) / PROMPTS
        lam[fold == f] = sum(big_b[p] * big_x[p] for p in out) / (sum(big_x[p] ** 2 for p in out) + share * s2 / OTHERS)
    b = theta[k] - theta[0] - sum(lam[p] * w[p] * (x_p[p] - xbar) for p in range(PROMPTS))
    move = np.array([lam[p] * (x_p[p] - xbar) / n_k if shows[i] else 0.0 for i, p in enumerate(votes.prompt)])
    own = influence - move + np.where(shows, move.sum() / n_k, 0.0)

    def squares(keys: list[tuple[int, ...]]) -> float:
        sums: dict[tuple[int, ...], float] = {}
        for key, value in zip(keys, own, strict=True):
            sums[key] = sums.get(key, 0.0) + value
        return sum(value**2 for value in sums.values()) * len(sums) / (len(sums) - 1)

    people, prompts = [(int(a),) for a in votes.annotator], [(int(p),) for p in votes.prompt]
    both = [(*a, *p) for a, p in zip(people, prompts, strict=True)]
    variance = max(squares(people) + squares(prompts) - squares(both), squares(both))
    return b, float(np.sqrt(variance + (lam * w).sum() ** 2 * s2 / OTHERS))


@pytest.mark.parametrize("k", [1, 2])
def test_the_arrays_give_what_the_equations_say(study: tuple[CodedVotes, Array, Array], k: int) -> None:
    row = assisted_contrasts(study[0], ARMS, 0, study[1], study[2])[k - 1]
    b, se = by_the_equations(*study, k)
    assert row.arm == ARMS[k]
    assert row.log_odds_assisted == pytest.approx(b, abs=1e-10)
    assert row.se_assisted == pytest.approx(se, rel=1e-10)
    assert row.times > 1.2  # a metric that knows the prompts' tastes is worth something with 15 prompts


def test_the_scale_sign_and_offset_of_the_metric_do_not_matter(study: tuple[CodedVotes, Array, Array]) -> None:
    votes, voted, others = study
    offset = np.array([5.0, -7.0, 100.0])

    def numbers(rows: tuple[AssistedContrast, ...]) -> list[float]:
        return [value for row in rows for value in (row.log_odds_assisted, row.se_assisted)]

    plain = assisted_contrasts(votes, ARMS, 0, voted, others)
    turned = assisted_contrasts(votes, ARMS, 0, -40 * voted + offset, -40 * others + offset)
    assert numbers(turned) == pytest.approx(numbers(plain), rel=1e-9)
    assert turned[0].slope == pytest.approx(-plain[0].slope / 40)


def test_a_metric_without_other_prompts_or_with_holes_is_refused(study: tuple[CodedVotes, Array, Array]) -> None:
    votes, voted, others = study
    with pytest.raises(InputError, match="known for 5 prompts without votes"):
        assisted_contrasts(votes, ARMS, 0, voted, others[:5])
    with pytest.raises(InputError, match="not finite"):
        assisted_contrasts(votes, ARMS, 0, np.where(voted == voted[0, 0], np.nan, voted), others)
    alone = CodedVotes(votes.left, votes.right, votes.outcome, np.zeros_like(votes.annotator), votes.prompt)
    with pytest.raises(InputError, match="1 annotators"):
        assisted_contrasts(alone, ARMS, 0, voted, others)

"""Do people differ more than their sensitivity explains? Who looks only where the difference is obvious passes traps.

Such people answer weak triplets at random or always "not sure", and the damage comes out too small. Traps do not show
them, the votes themselves do: within one kind of triplet some people name the arm and others do not. For each person a,
two sums over the votes on pictures that have a place on the scale,

    S_a = sum (1/3) / P(answer),       the direction in which answers become random,
    W_a = sum 1[not sure] / P(answer),    the direction in which they become "not sure",

less the mean of their kind of triplet, and T = sum_a (S_a^2 - sum of squares of its terms): zero where votes of one
person resemble each other no more than votes of different people (a score test of a mixture: Zelterman and Chen 1988,
JASA 83:179-183). T is compared with up to 999 studies drawn from the fit, with the same votes of the same people on
the same prompts, in which sensitivity, thresholds, lapses and prompts differ as assumed. A person's lapse rate is drawn
from what that person's own traps say.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from analysis.stats.jnd.fit import JndFit
from analysis.stats.jnd.model import Array, Codes, Patterns, terms
from analysis.triplets import TripletCodes
from analysis.triplets.codes import NOT_SURE, TRAP

#: Below this chance in either direction the votes are not those of people who all looked: 1 % of false alarms in all.
ALARM = 0.005
#: From this estimated difference on (JND of the presentation) a vote shows who looks, and so many from each person are
#: wanted: with 5 on an arm of 2.5 JND the test finds half of the people answering at random.
STRONG, STRONG_VOTES = 1.5, 5
#: How much people's thresholds are taken to differ (sd of the log).
THRESHOLD_SD = 0.5
_DRAWS = 999
_STEPS = 7
#: Votes that a person's lapse rate is worth before the person's traps are counted.
_LAPSE_VOTES = 20.0
#: Drawing ends where so many studies have larger sums: the chance is then far above ALARM (Besag and Clifford 1991).
_ENOUGH = 10
_AT_ONCE, _VOTES_AT_ONCE = 50, 2_000_000


@dataclass(frozen=True)
class Attention:
    """The chances, among people who all looked, of differences between people as large as seen: towards random answers
    and towards "not sure". `strong`: votes of each person, on average, where the difference is STRONG or more."""

    random: float
    unsure: float
    people: int
    votes: int
    strong: float

    @property
    def alarm(self) -> bool:
        """Some people do not answer as the others do."""
        return min(self.random, self.unsure) < ALARM

    @property
    def words(self) -> str:
        """What the alarm says."""
        how = '"not sure"' if self.unsure < ALARM else "at random"
        return (
            f"people differ more than sensitivity explains (chance {max(min(self.random, self.unsure), 0.001):.3f}): "
            f"some seem to look only where the difference is obvious and else to answer {how}, which makes damage "
            "too small"
        )


def examine_attention(
    codes: TripletCodes, fit: JndFit, *, people_sd: float, prompt_sd: float, rng: np.random.Generator
) -> Attention | None:
    """`codes` are the votes behind a fit of one presentation; None where nobody gave two votes on one scale."""
    place = np.zeros(len(codes.pictures), dtype=np.int64)
    for name in fit.pictures:
        place[codes.picture(name)] = fit.at(name) + 1
    task = codes.where((codes.kind != TRAP) & (codes.left != codes.right))
    task = task.where(((task.left == 0) | (place[task.left] > 0)) & ((task.right == 0) | (place[task.right] > 0)))
    # The picture with the larger damage on the right, so that answers of both sides are one kind of triplet.
    damage = np.concatenate([[0.0], fit.theta[: len(fit.pictures)]])
    turned = damage[place[task.left]] > damage[place[task.right]]
    left, right = np.where(turned, task.right, task.left), np.where(turned, task.left, task.right)
    answer = np.where(turned, 2 - task.answer, task.answer)
    key, pattern = np.unique(left * len(codes.pictures) + right, return_inverse=True)
    left, right = place[key // len(codes.pictures)], place[key % len(codes.pictures)]
    person, kind = np.unique(task.person, return_inverse=True)
    if len(person) < 2 or np.bincount(kind).max() < 2:
        return None
    shown = fit.layout.presentations[0]
    patterns = Patterns(np.full(len(key), shown), left, right)
    at_mean = _answers_of(fit, patterns, 1.0, 1.0, 1.0, np.hypot(people_sd, prompt_sd), fit.lapse[shown])
    scores = np.stack([1 / 3 / at_mean, np.eye(3)[NOT_SURE] / at_mean])  # (2, C, 3)
    seen = _statistic(answer[None], pattern, kind, scores)[:, 0]
    steps = _steps(people_sd), _steps(THRESHOLD_SD), _steps(prompt_sd)
    table = np.stack([_answers_of(fit, patterns, *some, 0.0, 0.0) for some in itertools.product(*steps)])
    table = table.reshape(_STEPS, _STEPS, _STEPS, len(key), 3)
    low, high = _trap_errors(codes, person, shown, float(fit.lapse[shown]))
    prompt = np.unique(task.prompt, return_inverse=True)[1]
    above, drawn = np.zeros(2), 0
    while drawn < _DRAWS and above.min() < _ENOUGH:
        n = min(_DRAWS - drawn, _AT_ONCE, max(1, _VOTES_AT_ONCE // len(answer)))
        s, t = (rng.integers(0, _STEPS, (n, len(person)))[:, kind] for _ in range(2))
        p = rng.integers(0, _STEPS, (n, int(prompt.max()) + 1))[:, prompt]
        of_person = rng.beta(low, high, (n, len(person)))[:, kind]
        looked = rng.random((n, len(answer))) >= of_person
        limits = table[s, t, p, pattern[None]].cumsum(axis=2)
        number = np.where(looked, (rng.random((n, len(answer)))[..., None] > limits[..., :2]).sum(axis=2), 0)
        number = np.where(looked, number, rng.integers(0, 3, number.shape))
        above += (_statistic(number, pattern, kind, scores) >= seen[:, None]).sum(axis=1)
        drawn += n
    chance = (above + 1) / (drawn + 1)
    strong = float(((damage[right] - damage[left])[pattern] >= STRONG).sum() / len(person))
    return Attention(float(chance[0]), float(chance[1]), len(person), len(answer), strong)


def _steps(sd: float) -> Array:
    """Factors with mean 1 and this sd of the log, each as likely."""
    middle = (np.arange(_STEPS) + 0.5) / _STEPS
    factor = np.exp(sd * stats.norm.ppf(middle))
    return np.asarray(factor / factor.mean())


def _answers_of(fit: JndFit, patterns: Patterns, s: float, t: float, p: float, spread: float, lapse: float) -> Array:
    """P (C, 3) of each kind of triplet for a person with s times the sensitivity and t times the threshold, on a prompt
    with p times the damage."""
    layout = replace(fit.layout, people_sd=spread)
    theta = fit.theta.copy()
    theta[: layout.pictures] *= s * p
    theta[layout.pictures : layout.side_at] *= t
    h = terms(theta, layout, patterns, lapse=np.zeros(2), z=np.zeros(1)).attentive[:, 0]
    return np.asarray(np.maximum((1 - lapse) * h + lapse / 3, 1e-9))


def _trap_errors(codes: TripletCodes, person: Codes, shown: int, lapse: float) -> tuple[Array, Array]:
    """Parameters of a beta distribution of each person's lapse rate, given how many traps were missed."""
    trap = codes.where((codes.kind == TRAP) & (codes.presentation == shown))
    at = np.searchsorted(person, trap.person).clip(0, len(person) - 1)
    known = person[at] == trap.person
    missed = trap.answer != np.where(trap.right > 0, 2, 0)
    traps = np.bincount(at[known], minlength=len(person))
    wrong = np.bincount(at[known & missed], minlength=len(person))
    # A lapse is seen as a miss two times in three.
    lapses = np.minimum(1.5 * wrong, traps)
    return lapse * _LAPSE_VOTES + lapses + 1e-3, (1 - lapse) * _LAPSE_VOTES + traps - lapses + 1e-3


def _statistic(answers: Codes, pattern: Codes, person: Codes, scores: Array) -> Array:
    """T of each direction and study, (2, n); `answers` (n, V)."""
    n, kinds, people = len(answers), int(pattern.max()) + 1, int(person.max()) + 1
    row = np.arange(n)[:, None]
    size = np.bincount(pattern)
    out = np.empty((2, n))
    for direction, score in enumerate(scores):
        value = score[pattern[None], answers]
        flat = (row * kinds + pattern).ravel()
        mean = np.bincount(flat, weights=value.ravel(), minlength=n * kinds).reshape(n, kinds) / size
        value = value - mean[row, pattern]
        by_person = np.bincount((row * people + person).ravel(), weights=value.ravel(), minlength=n * people)
        out[direction] = (by_person.reshape(n, people) ** 2).sum(axis=1) - (value**2).sum(axis=1)
    return out

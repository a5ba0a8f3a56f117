"""What boosted votes cost as evidence for the mean, the map estimated beside them, and what checking the map costs.

No test of level alpha shows "D < L" at the truth theta with probability 1 - beta by fewer than about

    n = (t + z)^2 / (2 KL),    KL = min over theta' with D' = L of sum_c w_c KL_c(theta, theta')

votes spread over the comparisons c in shares w: theta' is the state of affairs with damage L that looks most like
theta, its gain, rungs and thresholds chosen to that end (Chernoff and Stein; Cover and Thomas 2006, section 11.8). The
likelihood-ratio bound of `analysis.stats.jnd.profile` comes near it. The shares are those with the largest KL, found by
w <- w (KL_c / KL)^0.3. For "boosted damage - g L < 0" (a ratio bound) the gain's error would count with L; here it
counts with less, because a state of affairs with more damage also has another gain.

The check of the map has a standard error of the exponent as its aim, by c-optimality: w <- w sqrt(c' M^-1 I_c M^-1 c).
"""

from __future__ import annotations

import math

import numpy as np

from analysis.planning.fidelity_price import Price, PriceAssumptions, Votes, not_below, too_few
from analysis.stats.jnd.likelihood import TripletCounts, evaluate
from analysis.stats.jnd.model import Array, MapForm, ParameterLayout, Patterns, terms
from analysis.stats.jnd.newton import maximise
from analysis.triplets import BOOSTED, PLAIN

RUNGS = (0.35, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
#: With this standard error of the exponent its interval is seldom wider than 0.8 to 1.25 (6 % of simulated studies).
EXPONENT_SE = 0.095
_ROUNDS, _CHECK_ROUNDS = 200, 800
_SCALE = 1e4
#: Shares below this are rounded to nothing where an allocation is printed.
LEAST_SHARE = 0.02
Candidate = tuple[int, int, int]


def mixed_price(limit: float, a: PriceAssumptions, *, arms: int = 1) -> Price:
    """Boosted votes with the map estimated in the same study and shared by `arms` arms alike; votes in all."""
    name = f"mixed, {arms} arm{'s' if arms > 1 else ''}, all votes"
    if a.damage >= limit:
        return not_below(name, a, limit)
    wanted = ((limit - a.damage) / a.quantiles) ** 2 - a.floor
    if wanted <= 0:
        return too_few(name, a)
    layout, theta, candidates = _ladder(a, arms, "linear")
    shares, information = _best_against_nearest(layout, theta, candidates, limit, a, arms=arms)
    votes = (limit - a.damage) ** 2 / (2 * information) / wanted
    return _priced(name, votes, shares, candidates, theta, arms)


def map_check_price(a: PriceAssumptions) -> Price:
    """Votes that show whether the map is straight, once for all arms: the exponent to EXPONENT_SE."""
    layout, theta, candidates = _ladder(a, 0, "power")
    direction = np.zeros(layout.n)
    direction[layout.exponent] = 1.0
    shares, variance = best_shares(_information(layout, candidates, theta, a), direction)
    name = "check that the map is straight"
    return _priced(name, variance / EXPONENT_SE**2, shares, candidates, theta, 0)


def _ladder(a: PriceAssumptions, arms: int, form: MapForm) -> tuple[ParameterLayout, Array, list[Candidate]]:
    """Comparisons to choose from: boosted ones but arms against arms, plain ones of rungs against the reference."""
    damages = [a.damage] * arms + list(RUNGS)
    layout = ParameterLayout(len(damages), (PLAIN, BOOSTED), False, form, False, a.spread)
    theta = layout.start()
    theta[: len(damages)] = damages
    theta[len(damages) : len(damages) + 2] = a.threshold
    theta[layout.log_gain] = math.log(a.gain)
    number = len(damages) + 1

    def is_arm(k: int) -> bool:
        return 1 <= k <= arms

    candidates = [
        (shown, i, j)
        for shown in (PLAIN, BOOSTED)
        for i in range(number)
        for j in range(i + 1, number)
        if not (is_arm(i) and is_arm(j)) and (shown == BOOSTED or (i == 0 and not is_arm(j)))
    ]
    return layout, theta, candidates


def _best_against_nearest(
    layout: ParameterLayout, theta: Array, candidates: list[Candidate], limit: float, a: PriceAssumptions, *, arms: int
) -> tuple[Array, float]:
    """Shares of votes (alike for all arms) with the largest KL of one vote, and that KL."""
    patterns = _patterns(candidates)
    # Arms are exchangeable: a comparison of one arm has the share of the same comparison of every other arm.
    alike = [(m, *(-1 if 1 <= k <= arms else k for k in (i, j))) for m, i, j in candidates]
    kinds = {kind: number for number, kind in enumerate(dict.fromkeys(alike))}
    of = np.array([kinds[kind] for kind in alike])
    size = np.bincount(of)
    shares, nearest = np.full(len(kinds), 1 / len(kinds)), theta
    best, information = shares, 0.0
    for _ in range(_ROUNDS):
        weight = shares[of] / size[of]
        nearest, each = nearest_state(layout, theta, patterns, weight, limit, a, start=nearest)
        if weight @ each > information:
            best, information = shares, float(weight @ each)
        gain = np.bincount(of, each / size[of])
        shares = shares * (np.maximum(gain, 1e-12) / (shares @ gain)) ** 0.3
        shares /= shares.sum()
    return best[of] / size[of], information


def nearest_state(
    layout: ParameterLayout,
    theta: Array,
    patterns: Patterns,
    weight: Array,
    limit: float,
    a: PriceAssumptions,
    *,
    start: Array,
) -> tuple[Array, Array]:
    """The state of affairs with the first arm's damage at the limit that votes in these shares distinguish least from
    theta, and the information (KL) of one vote of each comparison (C,)."""
    lapse, z, none = np.full(2, a.lapse), np.zeros(1), np.zeros(0, dtype=np.int64)
    truth = terms(theta, layout, patterns, lapse=lapse, z=z).probability[:, 0]
    counted = TripletCounts(patterns, (_SCALE * weight[:, None] * truth)[None], none, none)
    low, high = layout.bounds()
    low[0] = high[0] = limit
    found = maximise(
        lambda at: evaluate(at, layout, counted, lapse=lapse, nodes=1), start, bounds=(low, high), votes=int(_SCALE)
    ).theta
    other = terms(found, layout, patterns, lapse=lapse, z=z).probability[:, 0]
    return found, (truth * np.log(truth / other)).sum(axis=1)


def _patterns(candidates: list[Candidate]) -> Patterns:
    shown, i, j = (np.array(column, dtype=np.int64) for column in zip(*candidates, strict=True))
    return Patterns(shown, i, j)


def _information(layout: ParameterLayout, candidates: list[Candidate], theta: Array, a: PriceAssumptions) -> Array:
    """Expected information of one vote of each comparison, (C, m, m)."""
    at = terms(theta, layout, _patterns(candidates), lapse=np.full(2, a.lapse), z=np.zeros(1))
    p, slope = at.probability[:, 0], at.derivative[:, 0]
    return np.asarray(np.einsum("ca,cai,caj->cij", p, slope, slope), dtype=np.float64)


def best_shares(information: Array, direction: Array) -> tuple[Array, float]:
    """Shares of votes that make the variance along `direction` smallest, and that variance for one vote in all."""
    shares = np.full(len(information), 1 / len(information))
    ridge = 1e-10 * np.eye(information.shape[1])
    for _ in range(_CHECK_ROUNDS):
        solved = np.linalg.solve(np.tensordot(shares, information, axes=1) + ridge, direction)
        gains = np.einsum("i,cij,j->c", solved, information, solved, optimize=True)
        shares = shares * np.sqrt(gains)
        shares /= shares.sum()
    solved = np.linalg.solve(np.tensordot(shares, information, axes=1) + ridge, direction)
    return shares, float(direction @ solved)


def _priced(name: str, votes: float, shares: Array, candidates: list[Candidate], theta: Array, arms: int) -> Price:
    plain = sum(share for share, (shown, _, _) in zip(shares, candidates, strict=True) if shown == PLAIN)

    def called(k: int) -> str:
        if k == 0:
            return "reference"
        return ("each arm" if arms > 1 else "arm") if k <= arms else f"{theta[k - 1]:g} JND"

    where: dict[tuple[str, str, str], float] = {}
    for share, (shown, i, j) in zip(shares, candidates, strict=True):
        each = 1 if not 1 <= i <= arms and not 1 <= j <= arms else arms
        key = ("plain" if shown == PLAIN else "boosted", called(i), called(j))
        where[key] = where.get(key, 0.0) + share * votes / each
    listed = sorted((Votes(*key, number) for key, number in where.items()), key=lambda one: -one.votes)
    least = LEAST_SHARE * votes / max(arms, 1)
    return Price(name, votes * plain, votes * (1 - plain), where=tuple(one for one in listed if one.votes >= least))

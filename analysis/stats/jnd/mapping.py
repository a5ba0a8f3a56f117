"""From boosted to plain JND: the gain and the exponent of the map, and a bound that carries their uncertainty.

The map is estimated from other pictures than the one it is applied to: with the arm's own plain votes the answer would
be as good as those votes alone. f(d) = g d is used only where f(d) = g d^q, fitted to the same votes, gives an interval
of q that contains 1 and is at most as wide as 0.8 to 1.25. The upper bound of an arm's mean damage and the interval of
q are likelihood-ratio bounds, adjusted for people and prompts (`analysis.stats.jnd.profile`). Where no gain, however
small, is ruled out, the upper bound is infinite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.stats.errors import AnalysisError
from analysis.stats.jnd.fit import JndFit
from analysis.stats.jnd.profile import profile
from analysis.stats.jnd.scale import POOLED_SD, require_fit, score_pictures
from analysis.triplets import BOOSTED, PLAIN, TripletCodes
from analysis.triplets.codes import TRAP

STRAIGHT_LOW, STRAIGHT_HIGH = 0.8, 1.25


@dataclass(frozen=True)
class MapCheck:
    """Gain and exponent of the power map with two-sided intervals. `straight`: a straight map may be used."""

    gain: float
    gain_low: float
    gain_high: float
    exponent: float
    exponent_low: float
    exponent_high: float
    pictures: tuple[str, ...]
    n_plain: int
    n_boosted: int
    straight: bool
    reason: str


@dataclass(frozen=True)
class MappedBound:
    """Mean damage of an arm in plain JND through a straight map, and its upper bound (infinite where there is none)."""

    damage: float
    upper: float
    gain: float
    gain_low: float
    gain_high: float
    n_boosted: int
    n_map: int


def map_votes(codes: TripletCodes, arm: str) -> TripletCodes:
    """The votes that calibrate the map for `arm`: those that do not show it, traps included."""
    k = codes.picture(arm)
    return codes.where(((codes.left != k) & (codes.right != k)) | (codes.kind == TRAP))


def check_map(codes: TripletCodes, arm: str, *, confidence: float = 0.95, spread: float = POOLED_SD) -> MapCheck:
    """Gain and exponent from the votes that do not show `arm`; AnalysisError where they have no estimate."""
    others = map_votes(codes, arm)
    _require_both(others)
    fit, votes = require_fit(score_pictures(others, form="power", people_sd=spread))
    t = float(stats.t.ppf(0.5 + confidence / 2, fit.df))
    place = fit.layout.exponent
    q = float(fit.theta[place])
    gain, low, high = _gain(fit, t)
    q_low, q_high = -np.inf, np.inf
    if fit.free[place]:
        curve, (least, most) = profile(votes, fit, place), fit.layout.bounds()
        q_low = curve.bound(-t, low=float(least[place]))
        q_high = curve.bound(t, high=float(most[place]))
    task = others.where(others.kind != TRAP)
    reason = ""
    if not q_low <= 1 <= q_high:
        reason = f"the map is bent: its exponent {q:.2f} has the interval {q_low:.2f} to {q_high:.2f}, which excludes 1"
    elif q_low <= 0 or q_high / q_low > STRAIGHT_HIGH / STRAIGHT_LOW:
        reason = (
            f"the exponent {q:.2f} has the interval {q_low:.2f} to {q_high:.2f}, wider than "
            f"{STRAIGHT_LOW} to {STRAIGHT_HIGH}: these votes cannot tell whether the map is straight"
        )
    return MapCheck(
        gain,
        low,
        high,
        q,
        q_low,
        q_high,
        fit.pictures,
        int((task.presentation == PLAIN).sum()),
        int((task.presentation == BOOSTED).sum()),
        not reason,
        reason,
    )


def mapped_bound(codes: TripletCodes, arm: str, *, confidence: float = 0.95, spread: float = POOLED_SD) -> MappedBound:
    """One-sided upper bound of the arm's mean damage from its boosted votes and the other pictures' straight map."""
    k = codes.picture(arm)
    shows = (codes.left == k) | (codes.right == k)
    used = codes.where(~shows | (codes.presentation == BOOSTED) | (codes.kind == TRAP))
    _require_both(used)
    fit, votes = require_fit(score_pictures(used, form="linear", people_sd=spread))
    if arm not in fit.pictures:
        raise AnalysisError(f"{arm} has no boosted vote, or too few, for a place on the scale.")
    t = float(stats.t.ppf(confidence, fit.df))
    upper = profile(votes, fit, fit.at(arm)).bound(t)
    gain, low, high = _gain(fit, float(stats.t.ppf(0.5 + confidence / 2, fit.df)))
    task = used.kind != TRAP
    boosted = task & ((used.left == k) | (used.right == k))
    return MappedBound(fit.damage(arm), upper, gain, low, high, int(boosted.sum()), int((task & ~boosted).sum()))


def _gain(fit: JndFit, t: float) -> tuple[float, float, float]:
    log_gain, se = float(fit.theta[fit.layout.log_gain]), fit.se(fit.layout.log_gain)
    low, high = np.clip([log_gain - t * se, log_gain + t * se], -20, 20)
    return float(np.exp(log_gain)), float(np.exp(low)), float(np.exp(high))


def _require_both(codes: TripletCodes) -> None:
    shown = set(codes.presentation[codes.kind != TRAP].tolist())
    if shown != {PLAIN, BOOSTED}:
        raise AnalysisError("A map needs plain and boosted votes on pictures other than the arm it is applied to.")

"""Scores of all pictures: a number with its interval, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.stats.errors import AnalysisError
from analysis.stats.jnd.existence import TOO_FAR, NoPlace, drop_pictures, nothing_decided, without_place
from analysis.stats.jnd.fit import JndFit, fit_jnd
from analysis.stats.jnd.model import MapForm
from analysis.triplets import BOOSTED, TripletCodes
from analysis.triplets.codes import TRAP

#: Spreads (sd of the log) that the scale assumes, of people's sensitivity and of damage over prompts.
PEOPLE_SD, PROMPT_SD = 0.3, 0.5
#: Both together: what the pooled model assumes, which has no other place for the prompts' spread.
POOLED_SD = math.hypot(PEOPLE_SD, PROMPT_SD)


@dataclass(frozen=True)
class Score:
    """One picture: mean damage with a two-sided interval; where `reason` is not empty there is no number."""

    picture: str
    damage: float | None
    se: float | None
    low: float | None
    high: float | None
    n_votes: int
    reason: str = ""
    lower_bound: float | None = None


@dataclass(frozen=True)
class Scale:
    """The scores in the order of the codes' pictures, the fit behind them (None where nothing could be fitted), and the
    votes that it is of."""

    scores: tuple[Score, ...]
    fit: JndFit | None
    unit: str
    confidence: float
    problem: str = ""
    codes: TripletCodes | None = None

    def score(self, picture: str) -> Score:
        """The score of one picture."""
        return next(row for row in self.scores if row.picture == picture)


def score_pictures(
    codes: TripletCodes,
    *,
    form: MapForm = "none",
    side: bool = False,
    nodes: int = 1,
    people_sd: float = PEOPLE_SD,
    confidence: float = 0.95,
    blind: float = 0.0,
) -> Scale:
    """The scale of these votes with pictures that have no place left out and named; `blind` as in `fit_jnd`."""
    boosted_only = form == "none" and (codes.presentation[codes.kind != TRAP] == 1).all()
    unit = "boosted JND" if boosted_only else "JND"
    missing = {item.picture: item for item in without_place(codes, confidence=confidence)}
    seen = {name: _votes(codes, k) for k, name in enumerate(codes.pictures) if k}
    kept = drop_pictures(codes, tuple(missing))
    fit, problem = None, ""
    while True:
        placed = [name for name in seen if seen[name] and name not in missing]
        if not placed:
            problem = problem or "No picture has a place on the scale."
            break
        if nothing_decided(kept):
            problem = "Everybody was not sure all the time: the votes carry no scale."
            break
        fit = fit_jnd(kept, form=form, side=side, nodes=nodes, people_sd=people_sd, blind=blind)
        far = _too_far(kept, fit)
        if not far:
            break
        for name in far:
            missing[name] = NoPlace(name, "nearly every vote names it, so it is too far above the threshold", None)
        kept, fit = drop_pictures(codes, tuple(missing)), None
    quantile = float(stats.t.ppf(0.5 + confidence / 2, fit.df)) if fit else 0.0
    rows = []
    for name, votes in seen.items():
        if not votes:
            continue
        if name in missing:
            item = missing[name]
            rows.append(Score(name, None, None, None, None, votes, item.reason, item.lower_bound))
        elif fit is None or name not in fit.pictures:
            rows.append(Score(name, None, None, None, None, votes, problem or "no vote is left that shows it"))
        else:
            d, se = fit.damage(name), fit.se(fit.at(name))
            rows.append(Score(name, d, se, d - quantile * se, d + quantile * se, votes))
    return Scale(tuple(rows), fit, unit, confidence, problem, kept)


def _too_far(codes: TripletCodes, fit: JndFit) -> list[str]:
    """Pictures that are more than TOO_FAR from everything they were compared with, or whose error is as large."""
    task = codes.where((codes.kind != TRAP) & (codes.left != codes.right))
    d = np.zeros(len(codes.pictures))
    for name in fit.pictures:
        d[codes.picture(name)] = fit.damage(name)
    gain = np.exp(fit.theta[fit.layout.log_gain]) if fit.layout.form != "none" else 1.0
    apart = np.abs(d[task.right] - d[task.left]) * np.where(task.presentation == BOOSTED, gain, 1.0)
    found = []
    for name in fit.pictures:
        k = codes.picture(name)
        nearest = apart[(task.left == k) | (task.right == k)].min()
        if nearest > TOO_FAR or not fit.se(fit.at(name)) < TOO_FAR:
            found.append(name)
    return found


def _votes(codes: TripletCodes, k: int) -> int:
    """Task votes that show picture k beside another one."""
    task = (codes.kind != TRAP) & (codes.left != codes.right)
    return int((task & ((codes.left == k) | (codes.right == k))).sum())


def require_fit(scale: Scale) -> tuple[JndFit, TripletCodes]:
    """The fit and its votes; AnalysisError with the reason where there is none."""
    if scale.fit is None or scale.codes is None:
        raise AnalysisError(scale.problem)
    return scale.fit, scale.codes

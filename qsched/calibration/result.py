"""What a calibration found: the outcome of each method, its verdict, and what it took."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from qsched.calibration.closed_form import ClosedForm
from qsched.calibration.compare import PromptScores, StockComparison
from qsched.calibration.early import EarlyRound
from qsched.calibration.families import CoefficientFamily, Point
from qsched.calibration.least_squares import Fit
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.surface import Surface
from qsched.generation import Prompt
from qsched.scheduling import Coefficients, Method
from qsched.scoring import ScorerInfo
from qsched.scoring.jaq_score import RAW, Units
from qsched.scoring.paired import PairedDifference, paired_difference

# "not found": no candidate was better than (1, 1) on the calibration prompts; another search might find one.
# "no gain": one was, and held-out prompts do not show it. "harm": they show that it is worse, by JAQ or by the judge.
# "not searched": the budget ended before any candidate but (1, 1) had been measured on all prompts.
Verdict = Literal["gain", "no gain", "harm", "forced", "not found", "not searched"]
Shown = Literal["gain", "no gain", "harm"]
STOCK = Coefficients.constant()


@dataclass(frozen=True)
class MethodOutcome:
    """The best candidate of a method, and what it is worth.

    calibration_gain   on the prompts that chose it: flattered by the choice
    heldout, control   None if the best candidate is the stock scheduler itself (or no control was made)
    by_judge           what the judge's held-out interval says; None without a judge
    """

    method: Method
    found: Coefficients
    label: str
    verdict: Verdict
    calibration_gain: PairedDifference | None
    heldout: StockComparison | None = None
    control: StockComparison | None = None
    by_judge: Shown | None = None

    @property
    def coefficients(self) -> Coefficients:
        """The coefficients to use: the found ones, or (1, 1) after a fall-back."""
        return self.found if self.verdict in ("gain", "forced") else STOCK

    @property
    def by_objective(self) -> Shown | None:
        """What the held-out interval of JAQ says; None without one."""
        return None if self.heldout is None else shown_by(self.heldout.gain())

    @property
    def has_candidate(self) -> bool:
        """False if there is nothing to compare with the stock scheduler."""
        return self.heldout is not None


@dataclass(frozen=True)
class HeldOutExample:
    """A held-out prompt with its pictures by arm: full precision (if there was a control), quantized, tuned."""

    prompt: Prompt
    gain: float
    pictures: dict[str, Image.Image]


@dataclass(frozen=True)
class CalibrationResult:
    """What was found, what it is worth, and what it took."""

    settings: CalibrationSettings
    family: CoefficientFamily  # with the ranges at the end of the search
    steps: int
    qsched: MethodOutcome
    bias: MethodOutcome | None  # None for a strategy without a bias
    closed_form: ClosedForm | None
    surface: Surface | None
    gains: dict[Coefficients, np.ndarray]  # paired gains over (1, 1) of every candidate, on the prompts it has seen
    equals: tuple[Coefficients, ...]  # of the candidates measured on all prompts, those that no other beats
    prompts: tuple[Prompt, ...]
    heldout_prompts: tuple[Prompt, ...]
    heldout_stock: PromptScores | None
    search_nfe: int
    search_seconds: float
    check_nfe: int  # held-out and control
    pictures: int
    reused: int  # of these, pictures that another search of the journal had measured: not in this one's cost
    most_nfe: int  # what the whole search can take
    budget_spent: bool
    units: Units = RAW  # of TC and IQ in JAQ
    judge: ScorerInfo | None = None
    lower_is_better: frozenset[str] = frozenset()  # of the judge and the additional scorers
    early: EarlyRound | None = None  # named the candidates by cheaper pictures; what it took is in the search's cost
    examples: tuple[HeldOutExample, ...] = ()

    @property
    def outcomes(self) -> tuple[MethodOutcome, ...]:
        """Q-Sched's, and that of qsched-bias if there is one."""
        return (self.qsched,) if self.bias is None else (self.qsched, self.bias)

    @property
    def best(self) -> MethodOutcome:
        """The outcome to show: one with a gain before one without, the largest held-out mean first."""

        def rank(one: MethodOutcome) -> tuple[bool, float]:
            return one.verdict == "gain", -math.inf if one.heldout is None else one.heldout.gain().mean

        return max(self.outcomes, key=rank)

    def bias_over_qsched(self) -> PairedDifference | None:
        """Held-out gain of qsched-bias over Q-Sched, over stock if Q-Sched has no candidate; None without a bias."""
        if self.bias is None or self.bias.heldout is None:
            return None
        other = self.bias.heldout.stock if self.qsched.heldout is None else self.qsched.heldout.tuned
        return paired_difference(self.bias.heldout.tuned.values["jaq"], other.values["jaq"])

    def prompts_at(self, point: Point) -> int:
        """The number of calibration prompts that a point of the family was measured on."""
        return len(self.gains.get(self.family.coefficients(point).at_steps(self.steps), ()))

    @property
    def found_point(self) -> Point | None:
        """The place of Q-Sched's best candidate on the axes of the family; None for a closed-form search."""
        return None if self.closed_form is not None else self.family.point_of(self.qsched.found)

    @property
    def fits(self) -> tuple[Fit, ...]:
        """The fits of a closed-form search; none of another."""
        return () if self.closed_form is None else tuple(self.closed_form.fits.values())

    @property
    def at_the_edge(self) -> tuple[str, ...]:
        """Axes on which the best candidate is at the end of the range: a wider one may have a better."""
        return () if self.found_point is None else self.family.edges(self.found_point)


def shown_by(gain: PairedDifference, *, higher_is_better: bool = True) -> Shown:
    """What a held-out interval shows of a candidate."""
    low, high = (gain.low, gain.high) if higher_is_better else (-gain.high, -gain.low)
    return "gain" if low > 0 else "harm" if high < 0 else "no gain"


def verdict_of(by_objective: Shown, by_judge: Shown | None = None, *, force: bool = False) -> Verdict:
    """JAQ decides; a judge that shows harm overrules a gain, because no gain of JAQ is worth worse pictures."""
    if by_objective == "gain" and by_judge != "harm":
        return "gain"
    if force:
        return "forced"
    return "harm" if "harm" in (by_objective, by_judge) else "no gain"

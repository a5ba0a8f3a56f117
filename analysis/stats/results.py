"""What the estimators return: frozen records that carry their settings, numbers of votes and diagnostics.

Log-odds are natural logarithms. Strengths sum to zero over the arms. Elo is 1000 + 400/ln(10) * strength.
`low` and `high` bound an interval of the stated confidence; a bound that does not exist is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from analysis.stats.rows import Rows

if TYPE_CHECKING:
    from analysis.stats.goodness_of_fit import ModelFit

Array = NDArray[np.float64]
Model = Literal["bradley-terry", "davidson", "rao-kupper"]
Ties = Literal["half", "drop"]
IntervalKind = Literal["two-way", "annotator", "prompt", "vote", "model"]
Method = Literal["bootstrap", "sandwich"]
Shape = Literal["t", "percentile"]


@dataclass(frozen=True)
class Penalty:
    """What is added to the log likelihood.

    none; firth: half the log determinant of the information (Firth 1993);
    ridge: -strength/2 * sum(theta^2); gamma: Gamma(strength) prior on exp(theta) (Caron and Doucet 2012).
    """

    kind: Literal["none", "firth", "ridge", "gamma"] = "none"
    strength: float = 0.0

    def __str__(self) -> str:
        return self.kind if self.kind in ("none", "firth") else f"{self.kind}:{self.strength:g}"


@dataclass(frozen=True)
class Existence:
    """Whether a finite, unique estimate exists, and if not, why, for which arms, and what to do.

    `components` are the strongly connected components of the directed graph of wins (a tie counts in both directions),
    the winning ones first; `islands` are the connected components of the comparison graph. `estimable`: if no estimate
    exists, the largest set of arms that have one among themselves (two or more), or none.
    """

    exists: bool
    components: tuple[tuple[str, ...], ...]
    islands: tuple[tuple[str, ...], ...]
    without_votes: tuple[str, ...] = ()
    never_won: tuple[str, ...] = ()
    never_lost: tuple[str, ...] = ()
    position_separated: bool = False
    tie_problem: str | None = None
    estimable: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


@dataclass(frozen=True)
class PairwiseFit:
    """A fitted model: strengths (sum zero), optional position effect, tie parameter and covariates.

    `parameters` holds [strengths (K), position effect?, covariates..., tie parameter?] with their names;
    `covariance` is the inverse information in that order, with strengths in the sum-zero space.
    The tie parameter is kept on its natural log scale: log nu (Davidson) or log kappa (Rao and Kupper).
    """

    model: Model
    ties: Ties
    arms: tuple[str, ...]
    parameters: Array
    names: tuple[str, ...]
    covariance: Array
    log_likelihood: float
    deviance: float
    penalty: Penalty
    iterations: int
    converged: bool
    gradient: float
    n_votes: float
    has_position: bool
    covariates: tuple[str, ...] = ()

    @property
    def log_strengths(self) -> Array:
        """Strengths, shape (K,), in the order of `arms`."""
        return self.parameters[: len(self.arms)]

    @property
    def position_effect(self) -> float | None:
        """Log-odds gained by being on the left, or None if it was not fitted."""
        return float(self.parameters[len(self.arms)]) if self.has_position else None

    @property
    def tie_parameter(self) -> float | None:
        """nu (Davidson) or kappa (Rao and Kupper); None for Bradley-Terry."""
        return None if self.model == "bradley-terry" else float(np.exp(self.parameters[-1]))


@dataclass(frozen=True)
class Precision:
    """Variances and degrees of freedom of the parameters (diagonal) and of their differences (off it), (P, P) each.

    `df` allows for the votes' own, known variance; `clusters_df` counts clusters only.
    """

    variance: Array
    df: Array
    clusters_df: Array


@dataclass(frozen=True)
class Uncertainty:
    """Covariance of a fit's parameters under one idea of what is random.

    `df` is the t distribution's degrees of freedom (inf: normal) of a contrast that all clusters carry; `precision`
    has the variance and the degrees of freedom of each contrast (see `analysis.stats.small_samples`). `floor`: the
    vote-level covariance that no clustered interval goes below (see `analysis.stats.spread`). `draws` are bootstrap
    strengths, shape (B, K), for one-way bootstraps. `truncated`: negative eigenvalues of a difference of covariances
    were set to zero (Cameron, Gelbach and Miller 2011, section 2.3). `ignores` says in words what is not counted.
    """

    kind: IntervalKind
    method: Method
    covariance: Array
    df: float
    n_clusters: dict[str, int]
    resamples: int | None = None
    precision: Precision | None = field(default=None, repr=False)
    floor: Array | None = field(default=None, repr=False)
    draws: Array | None = field(default=None, repr=False)
    truncated: bool = False
    ignores: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TieParameter:
    """nu of Davidson (1970) or kappa of Rao and Kupper (1967), with its standard error by the delta method."""

    name: Literal["nu", "kappa"]
    value: float
    se: float
    low: float
    high: float
    log_value: float
    log_se: float


@dataclass(frozen=True)
class PositionEffect:
    """Log-odds gained by being on the left; `left_win_rate` is what two equal arms would give."""

    log_odds: float
    se: float
    low: float
    high: float
    p: float
    left_win_rate: float


@dataclass(frozen=True)
class CovariateEffect:
    """Coefficient of one covariate on the log-odds scale."""

    name: str
    coefficient: float
    se: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class StrengthRow:
    """One arm's strength, best first.

    `low`, `high` are of the strength against the mean of all arms, so an arm with few votes widens them all;
    `quasi_low`, `quasi_high` (quasi-variances, `analysis.stats.quasi_variance`) depend on differences alone and may
    be compared arm against arm; None if some quasi-variance would be negative. `low_vote`, `high_vote`: the
    interval that takes votes as independent. `design_effect`: variance over the vote-level one. `df`: degrees of
    freedom. `rank_chances`: how likely each rank is, best first (`analysis.stats.rank_chances`). `rank_low`,
    `rank_high`: ranks that no simultaneous comparison excludes (Mogstad, Romano, Shaikh and Wilhelm 2024, Rev.
    Econ. Stud. 91:476-518).
    """

    SHOWN: ClassVar[tuple[str, ...]] = (
        "arm",
        "log_strength",
        "low",
        "high",
        "quasi_low",
        "quasi_high",
        "elo",
        "rank",
        "n_votes",
    )

    arm: str
    log_strength: float
    se: float
    low: float
    high: float
    elo: float
    elo_low: float
    elo_high: float
    low_vote: float
    high_vote: float
    design_effect: float
    n_votes: int
    rank: int
    rank_low: int
    rank_high: int
    df: float
    quasi_se: float | None
    quasi_low: float | None
    quasi_high: float | None
    rank_chances: tuple[float, ...]

    @property
    def chance_best(self) -> float:
        """How likely this arm is to be the best of all, given these votes."""
        return self.rank_chances[0]


@dataclass(frozen=True)
class RawPair:
    """What was voted in one pair of arms, ties as half a win, with a clustered interval (logit scale, t).

    `win_rate` is of `arm_a`; None if the pair has no votes. `interval` names how the bounds were made:
    "clustered", "exact" (Clopper and Pearson on the number of independent units; all votes alike) or "none".
    """

    arm_a: str
    arm_b: str
    n_votes: int
    wins_a: int
    wins_b: int
    ties: int
    win_rate: float | None
    low: float | None
    high: float | None
    se: float | None
    win_rate_without_ties: float | None
    tie_rate: float | None
    n_annotators: int | None
    n_prompts: int | None
    interval: str


@dataclass(frozen=True)
class ContrastRow:
    """One contrast of two arms from the model, beside the raw counts of that pair.

    `log_odds` = strength of a minus strength of b. `low`, `high` are pointwise, `low_all`, `high_all` hold for
    all pairs at once (max-t). `win_probability` is the model's chance that a wins a vote without a tie and
    without a position effect; `prob_superior` the one-sided confidence that a is stronger than b.
    `detectable`: true difference in log-odds that such data would have found with 80 % power at Holm's first step.
    """

    SHOWN: ClassVar[tuple[str, ...]] = (
        "arm_a",
        "arm_b",
        "log_odds",
        "low",
        "high",
        "win_probability",
        "p_holm",
        "raw_n_votes",
    )

    arm_a: str
    arm_b: str
    raw: RawPair
    log_odds: float
    se: float
    low: float
    high: float
    low_all: float
    high_all: float
    win_probability: float
    win_probability_low: float
    win_probability_high: float
    elo_difference: float
    df: float
    p: float
    p_holm: float
    prob_superior: float
    design_effect: float
    detectable: float


@dataclass(frozen=True)
class EstimateSettings:
    """Every choice that changes a number; kept beside the numbers."""

    model: Model = "bradley-terry"
    ties: Ties = "half"
    position_effect: bool = False
    penalty: Penalty = Penalty()
    intervals: IntervalKind = "two-way"
    method: Method = "bootstrap"
    shape: Shape = "t"
    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True, repr=False)
class Estimate:
    """Everything about one question: the fit, its uncertainty, strengths (best first), contrasts, warnings.

    `strengths` and `pairwise` print as tables, the estimate as a heading and its strengths; `to_frame()` gives either
    table as a polars frame with every column.
    """

    settings: EstimateSettings
    fit: PairwiseFit
    uncertainty: Uncertainty
    vote_level: Uncertainty
    strengths: Rows[StrengthRow]
    pairwise: Rows[ContrastRow]
    position_effect: PositionEffect | None
    tie_parameter: TieParameter | None
    covariates: tuple[CovariateEffect, ...]
    model_fit: ModelFit
    design_effect: float
    n_votes: int
    n_annotators: int | None
    n_prompts: int | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"{self._heading()}\n{self.strengths!r}"

    def _repr_html_(self) -> str:
        return f"<p>{self._heading()}</p>{self.strengths._repr_html_()}"

    def _heading(self) -> str:
        settings = self.settings
        percent = f"{100 * settings.confidence:g} %"
        return f"{self.n_votes:,} votes, {settings.model}, {percent} intervals ({self.uncertainty.kind})"


@dataclass(frozen=True)
class StratumContrast:
    """Difference of one contrast of arms between two strata (say, two categories), shared clusters accounted for."""

    stratum_a: str
    stratum_b: str
    arm_a: str
    arm_b: str
    difference: float
    se: float
    low: float
    high: float
    p: float
    p_holm: float

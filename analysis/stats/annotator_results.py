"""What the statistics of annotators return: agreement, conduct, reliability, and who drives the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.stats.results import Array


@dataclass(frozen=True)
class AlphaResult:
    """Krippendorff's alpha with a bootstrap interval over units; `n_units` have at least two values."""

    level: Literal["nominal", "ordinal"]
    value: float | None
    low: float | None
    high: float | None
    n_units: int
    n_values: int
    note: str = ""


@dataclass(frozen=True)
class KappaRow:
    """Cohen's kappa of two annotators on the items that both judged."""

    annotator_a: str
    annotator_b: str
    n_items: int
    observed: float
    kappa: float | None


@dataclass(frozen=True)
class Agreement:
    """How far annotators agree on the same item (same prompt, arms and sample), whichever side an arm was on."""

    raw: float | None
    raw_low: float | None
    raw_high: float | None
    n_items: int
    n_comparisons: int
    alpha_nominal: AlphaResult
    alpha_ordinal: AlphaResult
    mean_kappa: float | None
    kappas: Sequence[KappaRow]


@dataclass(frozen=True)
class AnnotatorRow:
    """One annotator's conduct. Shares are in 0..1, times in milliseconds, entropy in bits; None = unknown.

    `side_p`: two-sided exact binomial test of left against right among decided votes, `side_p_holm` over annotators.
    `agreement_with_rest`: mean share of the others' votes on the same item that equal the annotator's own.
    """

    annotator: str
    n_votes: int
    n_left: int
    n_right: int
    n_ties: int
    n_skips: int
    left_share: float | None
    side_p: float | None
    side_p_holm: float | None
    entropy_bits: float | None
    gold_n: int
    gold_correct: int
    gold_accuracy: float | None
    gold_low: float | None
    gold_high: float | None
    instructed_n: int
    instructed_correct: int
    repeat_n: int
    repeat_same: int
    repeat_consistency: float | None
    median_ms: float | None
    fast_share: float | None
    agreement_with_rest: float | None
    agreement_n: int


@dataclass(frozen=True)
class ReliabilityRow:
    """One annotator in the reliability model: the estimated chance of judging rather than guessing."""

    annotator: str
    n_votes: int
    reliability: float


@dataclass(frozen=True)
class ReliabilityFit:
    """A re-fit in which each annotator judges with probability `reliability` and otherwise guesses."""

    arms: tuple[str, ...]
    log_strengths: Array
    annotators: tuple[ReliabilityRow, ...]
    guess: tuple[float, float, float]
    log_likelihood: float
    iterations: int
    converged: bool


@dataclass(frozen=True)
class InfluenceRow:
    """What leaving one annotator or prompt out does: the contrast of arms that moves most, in its standard errors."""

    kind: Literal["annotator", "prompt"]
    cluster: str
    n_votes: int
    arm_a: str
    arm_b: str
    change_log_odds: float
    change_in_se: float
    changes_order: bool
    method: Literal["exact", "one-step"]

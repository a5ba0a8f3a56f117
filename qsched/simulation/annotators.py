"""How a simulated annotator decides between pictures whose ground-truth scores are known.

The latent preference of annotator a for the left picture is

    d = sensitivity_a * (score_left - score_right) + side_a + noise,   noise ~ logistic(0, 1)

With probability lapse_a the answer is drawn without looking; otherwise |d| < tie_a means a tie, and
the sign of d decides. The logistic noise makes untied choices a Bradley-Terry model in the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from qsched.errors import InputError
from qsched.records.rankings import Groups
from qsched.records.votes import Choice


@dataclass(frozen=True, kw_only=True)
class Population:
    """Distribution from which annotators are drawn; written into the report of a simulated study.

    Sensitivities are log-normal (log-odds per unit of score, scores are in 0..1), side preferences
    normal (log-odds, positive = left), lapse rates beta, answering times log-normal (seconds).
    """

    sensitivity_median: float = 8.0
    sensitivity_log_sd: float = 0.4
    side_sd: float = 0.25
    lapse_mean: float = 0.05
    lapse_concentration: float = 20.0
    tie_threshold: float = 0.5
    seconds_median: float = 4.0
    seconds_log_sd: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.lapse_mean < 1:
            raise InputError(f"lapse_mean is {self.lapse_mean}; it must be a probability above 0 and below 1")
        for name in ("sensitivity_median", "lapse_concentration", "seconds_median"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be positive")
        for name in ("sensitivity_log_sd", "side_sd", "tie_threshold", "seconds_log_sd"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must not be negative")

    def as_dict(self) -> dict[str, float]:
        """Plain floats for simulation.json."""
        return {name: float(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """One simulated person."""

    name: str
    sensitivity: float
    side: float
    lapse: float
    tie_threshold: float
    seconds_median: float
    seconds_log_sd: float


def draw_annotators(n: int, *, population: Population, seed: int) -> tuple[Annotator, ...]:
    """Draw n annotators; the k-th is the same whatever n is."""
    people = []
    for k in range(n):
        rng = np.random.default_rng([seed, k])
        a = population.lapse_mean * population.lapse_concentration
        b = (1 - population.lapse_mean) * population.lapse_concentration
        people.append(
            Annotator(
                name=f"simulated-{seed}-{k:03d}",
                sensitivity=float(
                    population.sensitivity_median * np.exp(population.sensitivity_log_sd * rng.standard_normal())
                ),
                side=float(population.side_sd * rng.standard_normal()),
                lapse=float(rng.beta(a, b)),
                tie_threshold=population.tie_threshold,
                seconds_median=population.seconds_median,
                seconds_log_sd=population.seconds_log_sd,
            )
        )
    return tuple(people)


def choose(annotator: Annotator, *, left: float, right: float, rng: np.random.Generator) -> Choice:
    """Decide between pictures of ground-truth scores `left` and `right` (0..1)."""
    lapses = rng.random() < annotator.lapse
    noise = rng.logistic()
    blind = rng.integers(3)
    if lapses:
        return (Choice.LEFT, Choice.RIGHT, Choice.TIE)[blind]
    d = annotator.sensitivity * (left - right) + annotator.side + noise
    if abs(d) < annotator.tie_threshold:
        return Choice.TIE
    return Choice.LEFT if d > 0 else Choice.RIGHT


def rank_pictures(annotator: Annotator, scores: Sequence[float], *, rng: np.random.Generator) -> Groups:
    """Put pictures of these ground-truth scores in order, the best first.

    Each is worth sensitivity * score plus Gumbel noise, so that any two are compared as in `choose` (Luce 1959);
    neighbours that differ by less than the threshold share a place. Places have no preference.
    """
    lapses = rng.random() < annotator.lapse
    noise = rng.gumbel(size=len(scores))
    worth = noise if lapses else annotator.sensitivity * np.asarray(scores) + noise
    groups: list[list[int]] = []
    for number in np.argsort(-worth).tolist():
        if groups and worth[groups[-1][-1]] - worth[number] < annotator.tie_threshold:
            groups[-1].append(number)
        else:
            groups.append([number])
    return tuple(tuple(sorted(group)) for group in groups)


def answering_seconds(annotator: Annotator, *, rng: np.random.Generator) -> float:
    """Time from paint to answer that the simulated person reports, in seconds."""
    return float(annotator.seconds_median * np.exp(annotator.seconds_log_sd * rng.standard_normal()))

"""A planned study in numbers: people, prompts, votes, arms, and how much tastes are assumed to differ."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

from qsched.errors import InputError

Comparisons = Literal["all", "baseline"]
Adjust = Literal["holm", "bonferroni", "none"]


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """Every prompt has one pair for each comparison, every pair `votes_per_pair` votes, every annotator equally many.

    `effective_annotators` A*: annotators have unequal numbers of votes n_a, A* = (sum n_a)^2 / sum n_a^2 (Kish 1965);
    None: all have as many.
    `annotator_sd`, `prompt_sd`: standard deviations (log-odds) of each annotator's and each prompt's own taste for each
    arm, so that a difference of two arms varies with sqrt(2) times as much. `tie_rate`: share of ties, each half a win.
    `confidence` is two-sided. Raises InputError for numbers that make no study.
    """

    annotators: int
    prompts: int
    votes_per_pair: int
    arms: int = 2
    comparisons: Comparisons = "all"
    tie_rate: float = 0.2
    annotator_sd: float = 0.5
    prompt_sd: float = 0.5
    confidence: float = 0.95
    adjust: Adjust = "holm"
    effective_annotators: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("annotators", 2), ("prompts", 2), ("votes_per_pair", 1), ("arms", 2)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; a study needs at least {least}.")
        if self.votes_per_pair > self.annotators:
            raise InputError(
                f"votes_per_pair is {self.votes_per_pair} with {self.annotators} annotators; nobody judges a pair "
                "twice, so there must be at least as many annotators."
            )
        if not 2 <= self.people <= self.annotators:
            raise InputError(
                f"effective_annotators is {self.people:g} of {self.annotators} annotators; it must be from 2 to "
                "their number."
            )
        if self.comparisons not in ("all", "baseline"):
            raise InputError(f"comparisons is {self.comparisons!r}; choose all or baseline.")
        if self.adjust not in ("holm", "bonferroni", "none"):
            raise InputError(f"adjust is {self.adjust!r}; choose holm, bonferroni or none.")
        if not 0 <= self.tie_rate < 1:
            raise InputError(f"tie_rate is {self.tie_rate}; it must be at least 0 and below 1.")
        self._check_tastes()
        if not 0.5 <= self.confidence < 1:
            raise InputError(f"confidence is {self.confidence}; it must be at least 0.5 and below 1, such as 0.95.")

    def _check_tastes(self) -> None:
        for name in ("annotator_sd", "prompt_sd"):
            if not 0 <= getattr(self, name) <= 5:
                raise InputError(f"{name} is {getattr(self, name)}; it must be from 0 to 5 (log-odds).")

    @property
    def pairs_of_arms(self) -> tuple[tuple[int, int], ...]:
        """The comparisons by arm number; the baseline is arm 0, and the first one is the one that is tested."""
        if self.comparisons == "baseline":
            return tuple((0, arm) for arm in range(1, self.arms))
        return tuple(itertools.combinations(range(self.arms), 2))

    @property
    def ahead(self) -> int:
        """The arm that differs from all the others: arm 1 against the baseline 0, else arm 0."""
        return 1 if self.comparisons == "baseline" else 0

    @property
    def people(self) -> float:
        """The effective number of annotators: all of them if each has as many votes."""
        return float(self.annotators) if self.effective_annotators is None else self.effective_annotators

    @property
    def votes_per_comparison(self) -> int:
        """n of one comparison."""
        return self.prompts * self.votes_per_pair

    @property
    def votes(self) -> int:
        """Votes of the whole study."""
        return self.votes_per_comparison * len(self.pairs_of_arms)

    @property
    def tests(self) -> int:
        """By how many the level is divided at the first (strictest) step: 1 without adjustment."""
        return 1 if self.adjust == "none" else len(self.pairs_of_arms)

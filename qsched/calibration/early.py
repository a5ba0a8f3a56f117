"""A round of cheaper pictures that sorts candidates out before the best of them are judged by whole pictures.

Cheaper pictures have scores of their own, so the two rounds share no value: the first has a journal of its own and
names at most `FINALISTS` candidates; the second renders those and the stock scheduler, and chooses. The renderer
remembers what the model made, as far as its memory goes, so the second round costs decodes and few model evaluations.
It pays where decoding costs more than the model does, above all with one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsched.calibration.evaluate import Budget, BudgetSpent, Evaluator
from qsched.calibration.families import CoefficientFamily
from qsched.calibration.search import run_search
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.trajectory import TrajectoryRenderer
from qsched.scheduling import Coefficients

FINALISTS = 10


@dataclass(frozen=True)
class EarlyRound:
    """What the round of cheaper pictures named, and what it took; `family` has the ranges at its end."""

    finalists: tuple[Coefficients, ...]
    family: CoefficientFamily
    nfe: int
    seconds: float
    pictures: int
    budget_spent: bool

    def left_of(self, budget: Budget) -> Budget:
        """What the second round may spend."""
        nfe = None if budget.nfe is None else max(1, budget.nfe - self.nfe)
        minutes = None if budget.minutes is None else max(1e-3, budget.minutes - self.seconds / 60)
        return Budget(nfe, minutes)


def early_journal(journal: Path) -> Path:
    """`c.early.journal.jsonl` of `c.journal.jsonl`."""
    return journal.with_name(f"{journal.name.removesuffix('.jsonl').removesuffix('.journal')}.early.journal.jsonl")


def run_early(
    evaluator: Evaluator,
    renderer: TrajectoryRenderer,
    family: CoefficientFamily,
    settings: CalibrationSettings,
    size: int | None,
) -> EarlyRound:
    """The whole strategy on cheaper pictures; it keeps back what the second round needs of the budget."""
    spent = False
    evaluator.reserve((1 + FINALISTS) * evaluator.n_prompts)
    with renderer.early_decoding(settings.early_decode):
        try:
            evaluator.values([Coefficients.constant()])
            if settings.k_units == "sd":
                evaluator.standardise()
            family = run_search(
                settings.strategy, evaluator, family, seed=settings.seed, size=size, grow=settings.grows
            )
        except BudgetSpent:
            spent = True
    gains = {c: values for c, values in evaluator.paired_gains().items() if not c.is_identity}
    most = max((len(values) for values in gains.values()), default=0)
    ranked = sorted((c for c in gains if len(gains[c]) == most), key=lambda c: -float(gains[c].mean()))
    return EarlyRound(
        finalists=tuple(ranked[:FINALISTS]),
        family=family,
        nfe=evaluator.nfe,
        seconds=evaluator.seconds,
        pictures=sum(len(values) for values in gains.values()),
        budget_spent=spent,
    )

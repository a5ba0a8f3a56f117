"""The default search: the stock scheduler against three closed-form candidates, for 17 NFE per prompt of 4 steps.

    scalars             a pair of coefficients for each step       Q-Sched's form
    bias                a bias for each latent channel and step    qsched-bias
    bias and scalars    both                                       qsched-bias

With N prompts and S steps: N S NFE of full precision, N S for the stock scheduler, and N (S - 1) for each of the three
fits, whose pictures then cost nothing; N = 25, S = 4: 425. A fit is made on all calibration prompts and judged by JAQ
like any candidate. From the best candidate of each method a search of the last step's pair begins, which costs pictures
and no NFE (last_step.py); with one step it gained nothing in ten measured arms, and is left out. One pair for all
steps, by least squares over all steps at once, lost in three of four measured arms and gained nothing in the fourth; it
is not a candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qsched.calibration.evaluate import BudgetSpent, Evaluator
from qsched.calibration.last_step import search_last_step
from qsched.calibration.least_squares import FORMS, Fit, Form, FullRun, fit_steps
from qsched.calibration.trajectory import TrajectoryRenderer
from qsched.generation import Prompt
from qsched.scheduling import METHODS, Coefficients

LABELS: dict[Form, str] = {
    "scalars": "least squares, a pair per step",
    "bias": "least squares, a bias per channel and step",
    "bias and scalars": "least squares, bias and a pair per step",
}
LAST_STEP = "last step by JAQ"


@dataclass(frozen=True)
class ClosedForm:
    """The fits, their candidates with labels, and what could not be a candidate."""

    fits: dict[Form, Fit]
    candidates: dict[str, Coefficients]
    notes: tuple[str, ...]
    budget_spent: bool = False


def planned_closed_form(n_prompts: int, steps: int) -> int:
    """The NFE of the whole search, those of full precision included."""
    return 2 * n_prompts * steps + len(FORMS) * n_prompts * (steps - 1)


def search_closed_form(
    evaluator: Evaluator, renderer: TrajectoryRenderer, full: FullRun, prompts: Sequence[Prompt], seeds: Sequence[int]
) -> ClosedForm:
    """Fit, and measure the candidates. A budget that ends leaves out what it does not pay for, with a note."""
    evaluator.values([Coefficients.constant()])
    fits: dict[Form, Fit] = {}
    candidates: dict[str, Coefficients] = {}
    notes: list[str] = []

    def measure(label: str, coefficients: Coefficients | None) -> None:
        if coefficients is None:
            notes.append(f"{label}: not a candidate, because a fitted coefficient is not above 0")
        else:
            evaluator.values([coefficients])
            candidates[label] = coefficients

    try:
        for form in FORMS:
            evaluator.pay(len(prompts) * (renderer.steps - 1))
            evaluator.know_first_step()
            fits[form] = fit_steps(renderer, full, prompts, seeds, form)
            measure(LABELS[form], fits[form].coefficients)
    except BudgetSpent:
        missing = [label for label in LABELS.values() if label not in candidates]
        notes.append(f"the budget ended before these were measured: {'; '.join(missing)}")
        return ClosedForm(fits, candidates, tuple(notes), budget_spent=True)
    spent = renderer.steps > 1 and _search_last_steps(evaluator, renderer, prompts, seeds, candidates, notes)
    return ClosedForm(fits, candidates, tuple(notes), budget_spent=spent)


def _search_last_steps(
    evaluator: Evaluator,
    renderer: TrajectoryRenderer,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    candidates: dict[str, Coefficients],
    notes: list[str],
) -> bool:
    """Add each method's best candidate that has another last step, if there is one; True if the budget ended first."""
    stock = Coefficients.constant().at_steps(renderer.steps)
    labels = {stock: "stock"} | {one.at_steps(renderer.steps): label for label, one in candidates.items()}
    spent = False
    for method in METHODS:
        # A search of the stock scheduler's last step is Q-Sched's.
        starts = [one for one in labels if one.method == method or (one == stock and method == "qsched")]
        if not starts or spent:
            continue
        means = _means(evaluator)
        start = max(starts, key=lambda one: means[one])
        try:
            if not search_last_step(evaluator, renderer, prompts, seeds, start):
                notes.append(f"{labels[start]}: the last step was not searched, because its steps do not fit in memory")
        except BudgetSpent:
            spent = True
            notes.append("the budget ended in the search of the last step")
        # The best that it measured, also if it did not come to its end.
        means = {one: mean for one, mean in _means(evaluator).items() if one.method == start.method or one == start}
        found = max(means, key=lambda one: means[one])
        if found not in labels:
            candidates[f"{labels[start]}; {LAST_STEP}"] = found
    return spent


def _means(evaluator: Evaluator) -> dict[Coefficients, float]:
    return {one: float(values.mean()) for one, values in evaluator.measured_on_all().items()}

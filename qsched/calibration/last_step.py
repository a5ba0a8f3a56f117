"""The pair of the last step, searched by JAQ: it acts after the last model evaluation, so candidates cost none.

Least squares looks for the full-precision picture, and misses coefficients that help in another way. To ask JAQ about
pairs costs N (S - 1) evaluations per candidate, unless they differ in the last step alone: then everything before the
decoder is known. Nothing is rounded to few bits after it either, so JAQ changes smoothly, and few prompts show it.

The search is a compass: from a candidate, what its last step makes is scaled, or its sample alone, by steps of a tenth;
it goes to the best neighbour until none is better or MOST candidates have been measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from qsched.calibration.evaluate import Evaluator
from qsched.calibration.trajectory import BatchRow, LeavePipeline, StepCall, TrajectoryRenderer
from qsched.generation import Prompt
from qsched.scheduling import Coefficients

MOST = 12  # candidates for each start
WIDTH = 0.1
NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def search_last_step(
    evaluator: Evaluator,
    renderer: TrajectoryRenderer,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    start: Coefficients,
) -> bool:
    """Measure candidates with another last step than `start`, which must have been measured. Raises BudgetSpent.

    False, and nothing is measured, if the renderer cannot remember what the candidates share: they would cost much.
    """
    start = start.at_steps(renderer.steps)
    rows = [BatchRow(p, seed, start) for p, seed in zip(prompts, seeds, strict=True)]
    # In this search they are known; a resumed one evaluates them again, in the batches of the first time.
    evaluator.pay(renderer.later_nfe(rows))
    _know_steps(renderer, rows)
    if renderer.later_nfe(rows):
        return False

    def mean(place: tuple[int, int]) -> float:
        return float(evaluator.values([at_place(start, *place)]).mean())

    means = {(0, 0): mean((0, 0))}
    centre = (0, 0)
    while True:
        ring = [(centre[0] + i, centre[1] + j) for i, j in NEIGHBOURS]
        new = [place for place in ring if place not in means][: MOST + 1 - len(means)]
        evaluator.values([at_place(start, *place) for place in new])
        means |= {place: mean(place) for place in new}
        best = max(means, key=lambda place: means[place])
        if best == centre or not new:
            return True
        centre = best


def at_place(start: Coefficients, scale: int, sample: int) -> Coefficients:
    """`start` with the last step's result scaled by so many tenths, and the sample in it by so many more."""
    if scale == sample == 0:
        return start
    model_by = 1 + WIDTH * scale
    sample_by = model_by * (1 + WIDTH * sample)
    return Coefficients.per_step(
        model=[*start.model[:-1], round(start.model[-1] * model_by, 6)],
        sample=[*start.sample[:-1], round(start.sample[-1] * sample_by, 6)],
        bias=start.bias,
    )


def _know_steps(renderer: TrajectoryRenderer, rows: Sequence[BatchRow]) -> None:
    """Evaluate what the renderer lacks of the rows' steps."""

    def leave_at_the_end(call: StepCall) -> object:
        if call.number == renderer.steps - 1:
            raise LeavePipeline
        return call.make()

    renderer.follow(rows, leave_at_the_end)

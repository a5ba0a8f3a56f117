"""Find the coefficients of one quantized model, and say honestly whether they help.

search on the calibration prompts -> best candidate measured on all of them
-> stock and best on held-out prompts -> the same coefficients on the full-precision model (control)
-> keep them if the held-out interval is above 0, else (1, 1)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from qsched.backbones import Backbone
from qsched.calibration.compare import Comparison, compare_on
from qsched.calibration.errors import CalibrationError
from qsched.calibration.evaluate import BudgetSpent, Evaluator, SearchProgress
from qsched.calibration.families import Family, Point
from qsched.calibration.journal import Journal
from qsched.calibration.search import checked_size, planned_pictures, run_search
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.surface import Surface, fit_surface
from qsched.calibration.trajectory import TrajectoryRenderer
from qsched.generation import Prompt, image_seed
from qsched.records import text_key
from qsched.scheduling import Coefficients
from qsched.scoring import Jaq, Scorer
from qsched.scoring.paired import PairedDifference, paired_difference

# "not searched": the budget ended before any candidate but (1, 1) had been measured on all prompts.
# "harm": the interval is below 0, which is not the same as no gain; (1, 1) is written in both cases.
Verdict = Literal["gain", "no gain", "harm", "forced", "not searched"]


@dataclass(frozen=True)
class CalibrationResult:
    """What was found, what it is worth, and what it took."""

    settings: CalibrationSettings
    family: Family
    coefficients: Coefficients  # to use: the found ones, or (1, 1) after a fall-back
    found: Coefficients
    found_point: Point
    verdict: Verdict
    calibration_gain: PairedDifference  # on the prompts that chose it: flattered by the choice
    heldout: Comparison
    control: Comparison | None  # the same coefficients on the full-precision model, held-out prompts
    surface: Surface | None
    gains: dict[Point, np.ndarray]  # paired gains over (1, 1) of every candidate seen
    prompts: tuple[Prompt, ...]
    heldout_prompts: tuple[Prompt, ...]
    search_nfe: int
    search_seconds: float
    check_nfe: int  # held-out and control
    pictures: int
    reused: int  # of these, pictures that another search of the journal had measured: not in this one's cost
    most_nfe: int  # what the whole search can take
    budget_spent: bool

    @property
    def has_candidate(self) -> bool:
        """False if the best candidate is the stock scheduler itself: there is nothing to compare with it."""
        return not self.found.is_identity

    @property
    def at_the_edge(self) -> tuple[str, ...]:
        """Axes on which the best candidate is at the end of the range: a wider one may have a better."""
        places = zip(self.family.axes, self.family.bounds, self.found_point, strict=True)
        return tuple(axis for axis, bounds, value in places if value in bounds and value != 1.0)


def calibrate(
    backbone: Backbone,
    objective: Jaq,
    prompts: Sequence[Prompt],
    heldout: Sequence[Prompt],
    settings: CalibrationSettings,
    *,
    journal: Path,
    identity: dict[str, object],
    steps: int | None = None,
    full_precision: Backbone | None = None,
    also: Sequence[Scorer] = (),
    on_progress: Callable[[SearchProgress], None] | None = None,
) -> CalibrationResult:
    """Search, check on held-out prompts, decide. `backbone` is already in the precision to be calibrated.

    journal     file that the search resumes from; `identity` says what its values belong to
    also        additional scorers for the held-out pictures: reported, not used by the search
    """
    _check_prompts(prompts, heldout)
    n_steps = backbone.steps if steps is None else steps
    family = settings.family_for(n_steps)
    renderer = TrajectoryRenderer(backbone, steps=n_steps, batch_rows=settings.batch_rows)
    evaluator = Evaluator(
        renderer,
        objective,
        family,
        prompts,
        _seeds(prompts, settings),
        Journal(
            journal,
            {**identity, **_own_identity(settings, family, prompts, objective)},
            search=search_name(settings, family),
        ),
        budget=settings.budget,
        planned=planned_pictures(settings.strategy, family, len(prompts), size=settings.size),
        batch_rows=settings.batch_rows,
        on_progress=on_progress,
    )
    budget_spent = _search(evaluator, family, settings)
    search_nfe, search_seconds = evaluator.nfe, evaluator.seconds
    measured = evaluator.measured_on_all()
    best = max(measured, key=lambda point: float(measured[point].mean()))
    found = family.coefficients(best)

    before = renderer.nfe
    checked = compare_on(renderer, objective, heldout, _seeds(heldout, settings), found, also=also)
    check_nfe = renderer.nfe - before
    control = None
    if full_precision is not None:
        plain = TrajectoryRenderer(full_precision, steps=n_steps, batch_rows=settings.batch_rows)
        control = compare_on(plain, objective, heldout, _seeds(heldout, settings), found, also=also)
        check_nfe += plain.nfe
    verdict = _verdict(checked.gain(), settings)
    if budget_spent and set(measured) == {family.identity}:
        verdict = "not searched"
    gains = evaluator.paired_gains()
    return CalibrationResult(
        settings=settings,
        family=family,
        coefficients=found if verdict in ("gain", "forced") else Coefficients.constant(),
        found=found,
        found_point=best,
        verdict=verdict,
        calibration_gain=paired_difference(measured[best].tolist(), measured[family.identity].tolist()),
        heldout=checked,
        control=control,
        surface=fit_surface(gains, family),
        gains=gains,
        prompts=tuple(prompts),
        heldout_prompts=tuple(heldout),
        search_nfe=search_nfe,
        search_seconds=search_seconds,
        check_nfe=check_nfe,
        pictures=sum(len(values) for values in gains.values()),
        reused=evaluator.reused,
        most_nfe=evaluator.most_nfe,
        budget_spent=budget_spent,
    )


def _search(evaluator: Evaluator, family: Family, settings: CalibrationSettings) -> bool:
    """Run the strategy; True if the budget ended it. (1, 1) must have been affordable."""
    try:
        run_search(settings.strategy, evaluator, family, seed=settings.seed, size=settings.size)
    except BudgetSpent:
        if family.identity not in evaluator.measured_on_all():
            raise CalibrationError(
                f"a budget of {settings.budget.words} does not pay for the stock scheduler on {evaluator.n_prompts} "
                f"prompts ({evaluator.n_prompts * family.steps:,} NFE); raise it or use fewer prompts. The whole "
                f"search takes at most {evaluator.most_nfe:,} NFE"
            ) from None
        return True
    return False


def _verdict(gain: PairedDifference, settings: CalibrationSettings) -> Verdict:
    if gain.is_gain:
        return "gain"
    if settings.force:
        return "forced"
    return "harm" if gain.high < 0 else "no gain"


def _seeds(prompts: Sequence[Prompt], settings: CalibrationSettings) -> list[int]:
    return [image_seed(settings.seed, prompt.prompt_id, 0) for prompt in prompts]


def _check_prompts(prompts: Sequence[Prompt], heldout: Sequence[Prompt]) -> None:
    for name, some in (("calibration", prompts), ("held-out", heldout)):
        if len(some) < 2:
            raise CalibrationError(f"{len(some)} {name} prompt(s); a paired interval needs 2 or more, better 25")
        first: dict[str, str] = {}
        for prompt in some:
            earlier = first.setdefault(text_key(prompt.prompt), prompt.prompt_id)
            if earlier != prompt.prompt_id:
                raise CalibrationError(
                    f"{name} prompts {earlier!r} and {prompt.prompt_id!r} are the same text up to case and spaces; an "
                    "interval over prompts needs each of them once: remove one"
                )
    shared = {text_key(p.prompt) for p in prompts} & {text_key(p.prompt) for p in heldout}
    if shared:
        raise CalibrationError(
            f"{len(shared)} held-out prompt(s) are also calibration prompts (up to case and spaces), such as "
            f"{min(shared)!r}; keep them apart"
        )


def _own_identity(
    settings: CalibrationSettings, family: Family, prompts: Sequence[Prompt], objective: Jaq
) -> dict[str, object]:
    """What the stored values depend on; not the strategy, the range or the batch: values are shared by those."""
    record = objective.record
    return {
        "family": family.name,
        "vary": family.vary,
        "steps": family.steps,
        "seed": settings.seed,
        "prompts": prompts_digest(prompts),
        "objective": [record.k, record.tc.name, record.tc.version, record.iq.name, record.iq.version],
    }


def search_name(settings: CalibrationSettings, family: Family) -> str:
    """Which search of a journal's values this is: its cost is counted under this name. A budget may be raised later."""
    ranges = dict(zip(family.kinds, family.bounds, strict=True))
    parts = [f"{kind} {low!r}..{high!r}" for kind, (low, high) in ranges.items()]
    return ", ".join([f"{settings.strategy} {checked_size(settings.strategy, settings.size)}", *parts])


def prompts_digest(prompts: Sequence[Prompt]) -> str:
    """SHA-256 of ids and texts, in order."""
    return hashlib.sha256(json.dumps([(p.prompt_id, p.prompt) for p in prompts]).encode()).hexdigest()

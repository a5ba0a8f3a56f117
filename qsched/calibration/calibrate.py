"""Find the coefficients of one quantized model, and say honestly whether they help.

search on the calibration prompts -> the best candidate of each method (qsched, qsched-bias)
-> stock and these on held-out prompts -> keep one if its held-out interval is above 0, else (1, 1)
-> `with_control`: the same coefficients on the full-precision model
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from qsched.backbones import Backbone
from qsched.calibration.closed_form import ClosedForm, planned_closed_form, search_closed_form
from qsched.calibration.compare import PromptScores, StockComparison, pictures, score_arms
from qsched.calibration.decoding import identity_of as decoding_identity
from qsched.calibration.early import FINALISTS, EarlyRound, early_journal, run_early
from qsched.calibration.equals import set_of_equals
from qsched.calibration.errors import CalibrationError
from qsched.calibration.evaluate import BatchMeasurer, Budget, BudgetSpent, Evaluator, SearchProgress
from qsched.calibration.families import CoefficientFamily
from qsched.calibration.journal import Journal, shard_journals
from qsched.calibration.last_step import MOST as MOST_LAST_STEPS
from qsched.calibration.least_squares import FORMS, FullRun
from qsched.calibration.result import (
    STOCK,
    CalibrationResult,
    HeldOutExample,
    MethodOutcome,
    Verdict,
    shown_by,
    verdict_of,
)
from qsched.calibration.search import planned_pictures, run_search
from qsched.calibration.search_identity import own_identity, search_name
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.surface import fit_surface
from qsched.calibration.trajectory import TrajectoryRenderer
from qsched.calibration.words import NAMES
from qsched.generation import Prompt, image_seed
from qsched.records import text_key
from qsched.scheduling import METHODS, Coefficients, Method
from qsched.scoring import Jaq, Scorer, ScorerInfo
from qsched.scoring.paired import paired_difference


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
    full: FullRun | None = None,
    also: Sequence[Scorer] = (),
    judge: Scorer | None = None,
    measurer: BatchMeasurer | None = None,
    on_progress: Callable[[SearchProgress], None] | None = None,
) -> CalibrationResult:
    """Search, check on held-out prompts, decide. `backbone` is already in the precision to be calibrated.

    journal     file that the search resumes from; `identity` says what its values belong to
    full        the full-precision run of the calibration prompts, for the closed-form strategy
    also        additional scorers for the held-out pictures: reported, not used by the search
    measurer    measures the batches of the search elsewhere; None: this process does
    judge       a scorer that the search did not maximise: harm by it on held-out prompts overrules a gain in JAQ
    """
    check_prompts(prompts, heldout)
    n_steps = backbone.steps if steps is None else steps
    family = settings.family_for(n_steps)
    size = None if settings.is_closed_form else settings.size_for(family, len(prompts))
    renderer = TrajectoryRenderer(backbone, steps=n_steps, batch_rows=settings.batch_rows)
    shards = shard_journals(journal)

    def new_evaluator(path: Path, budget: Budget, planned: int, **more: object) -> Evaluator:
        return Evaluator(
            renderer,
            objective,
            prompts,
            seeds_of(prompts, settings),
            Journal(
                path,
                {**identity, **own_identity(settings, n_steps, prompts, objective), **more},
                search=search_name(settings, family, len(prompts)),
                shards=shards if path == journal else (),
            ),
            budget=budget,
            planned=planned,
            batch_rows=settings.batch_rows,
            spent_before=0 if full is None else full.nfe,
            measurer=measurer,
            on_progress=on_progress,
        )

    early: EarlyRound | None = None
    budget, planned = settings.budget, planned_pictures_of(settings, family, len(prompts))
    if settings.decodes_early:
        planned -= (1 + FINALISTS) * len(prompts)
        rough = new_evaluator(
            early_journal(journal), budget, planned, early_decode=decoding_identity(settings.early_decode)
        )
        early = run_early(rough, renderer, family, settings, size)
        budget, planned = early.left_of(budget), (1 + FINALISTS) * len(prompts)
    evaluator = new_evaluator(journal, budget, planned)
    closed_form, family, budget_spent = _search(evaluator, renderer, family, settings, size, prompts, full, early)
    search_nfe, search_seconds = evaluator.nfe, evaluator.seconds
    if early is not None:
        search_nfe, search_seconds = search_nfe + early.nfe, search_seconds + early.seconds
    measured, gains = evaluator.measured_on_all(), evaluator.paired_gains()
    candidates, values = evaluator.table()
    points = [] if settings.is_closed_form else [family.point_of(candidate) for candidate in candidates]
    best = {method: _largest_mean(method, measured) for method in (METHODS if closed_form else METHODS[:1])}
    outcomes = [
        _outcome(method, candidate, measured, family, closed_form, budget_spent) for method, candidate in best.items()
    ]

    before = renderer.nfe
    arms: dict[str, Coefficients] = {one.method: one.found for one in outcomes if not one.found.is_identity}
    scores: dict[str, PromptScores] = {}
    if arms:
        seeds = seeds_of(heldout, settings)
        scores = score_arms(
            renderer, evaluator.objective, heldout, seeds, {"stock": STOCK, **arms}, also=_with(judge, also)
        )
    judge_info = None if judge is None else judge.info
    outcomes = [_judged(one, scores, settings, judge_info) for one in outcomes]
    rows = list(measured)
    result = CalibrationResult(
        settings=settings,
        family=family,
        steps=n_steps,
        qsched=outcomes[0],
        bias=outcomes[1] if len(outcomes) > 1 else None,
        closed_form=closed_form,
        surface=None if settings.is_closed_form else fit_surface(points, values, family),
        gains=gains,
        equals=tuple(rows[i] for i in set_of_equals(np.array([measured[row] for row in rows]))),
        prompts=tuple(prompts),
        heldout_prompts=tuple(heldout),
        heldout_stock=scores.get("stock"),
        search_nfe=search_nfe,
        search_seconds=search_seconds,
        check_nfe=renderer.nfe - before,
        pictures=sum(len(values) for values in gains.values()),
        reused=evaluator.reused,
        most_nfe=planned_nfe(settings, family, len(prompts)),
        budget_spent=budget_spent,
        units=evaluator.objective.units,
        judge=judge_info,
        lower_is_better=frozenset(one.info.name for one in _with(judge, also) if not one.info.higher_is_better),
        early=early,
    )
    return replace(result, examples=_examples(renderer, result))


def with_control(
    result: CalibrationResult,
    full_precision: Backbone,
    objective: Jaq,
    *,
    also: Sequence[Scorer] = (),
    judge: Scorer | None = None,
) -> CalibrationResult:
    """The result with the same coefficients on the full-precision model, and its pictures of the examples."""
    arms: dict[str, Coefficients] = {one.method: one.found for one in result.outcomes if one.has_candidate}
    if not arms:
        return result
    settings, heldout = result.settings, result.heldout_prompts
    full_precision.complete()
    renderer = TrajectoryRenderer(full_precision, steps=result.steps, batch_rows=settings.batch_rows)
    scores = score_arms(
        renderer,
        objective.in_units(result.units),
        heldout,
        seeds_of(heldout, settings),
        {"stock": STOCK, **arms},
        also=_with(judge, also),
    )

    def controlled(one: MethodOutcome) -> MethodOutcome:
        return replace(one, control=StockComparison(scores["stock"], scores[one.method])) if one.has_candidate else one

    shown = [example.prompt for example in result.examples]
    images = pictures(renderer, shown, seeds_of(shown, settings), STOCK) if shown else []
    return replace(
        result,
        qsched=controlled(result.qsched),
        bias=None if result.bias is None else controlled(result.bias),
        check_nfe=result.check_nfe + renderer.nfe,
        examples=tuple(
            replace(example, pictures={"full precision": image, **example.pictures})
            for example, image in zip(result.examples, images, strict=True)
        ),
    )


def _with(judge: Scorer | None, also: Sequence[Scorer]) -> list[Scorer]:
    """The additional scorers and the judge, each once."""
    others = [] if judge is None else [judge]
    return [*others, *(one for one in also if judge is None or one.info.name != judge.info.name)]


def planned_nfe(settings: CalibrationSettings, family: CoefficientFamily, n_prompts: int) -> int:
    """The most model evaluations that the search takes."""
    if settings.is_closed_form:
        return planned_closed_form(n_prompts, family.steps)
    return n_prompts + planned_pictures_of(settings, family, n_prompts) * (family.steps - 1)


def planned_pictures_of(settings: CalibrationSettings, family: CoefficientFamily, n_prompts: int) -> int:
    """The most pictures that the search measures."""
    if settings.is_closed_form:
        last_steps = len(METHODS) * MOST_LAST_STEPS if family.steps > 1 else 0
        return (1 + len(FORMS) + last_steps) * n_prompts
    size = settings.size_for(family, n_prompts)
    whole = planned_pictures(settings.strategy, family, n_prompts, size=size, grow=settings.grows)
    return whole + (1 + FINALISTS) * n_prompts if settings.decodes_early else whole


def _search(
    evaluator: Evaluator,
    renderer: TrajectoryRenderer,
    family: CoefficientFamily,
    settings: CalibrationSettings,
    size: int | None,
    prompts: Sequence[Prompt],
    full: FullRun | None,
    early: EarlyRound | None,
) -> tuple[ClosedForm | None, CoefficientFamily, bool]:
    """Run the strategy, or judge what an early round named; the last is True if the budget ended it.

    (1, 1) must have been affordable.
    """
    try:
        evaluator.values([STOCK])
        if settings.k_units == "sd":
            evaluator.standardise()
        if early is not None:
            evaluator.values(early.finalists)
            return None, early.family, early.budget_spent
        if settings.is_closed_form:
            if full is None:
                raise CalibrationError("the strategy closed-form needs a full-precision run of the calibration prompts")
            found = search_closed_form(evaluator, renderer, full, prompts, seeds_of(prompts, settings))
            return found, family, found.budget_spent
        # The last of the budget completes the leader, so that the search ends with a candidate it can judge.
        evaluator.reserve(len(prompts))
        strategy, seed, grow = settings.strategy, settings.seed, settings.grows
        return None, run_search(strategy, evaluator, family, seed=seed, size=size, grow=grow), False
    except BudgetSpent:
        if STOCK.at_steps(family.steps) not in evaluator.measured_on_all():
            least = evaluator.n_prompts * family.steps * (1 if full is None else 2)
            runs = "the stock scheduler" if full is None else "full precision and the stock scheduler"
            whole = planned_nfe(settings, family, len(prompts))
            raise CalibrationError(
                f"a budget of {settings.budget.words} does not pay for {runs} on {evaluator.n_prompts} prompts "
                f"({least:,} NFE); raise it or use fewer prompts. The whole search takes at most {whole:,} NFE"
            ) from None
        _complete_leader(evaluator)
        return None, family, True


def _complete_leader(evaluator: Evaluator) -> None:
    """Measure the best candidate so far on the prompts that it lacks, as far as the reserve goes."""
    evaluator.reserve(0)
    others = {c: gains for c, gains in evaluator.paired_gains().items() if not c.is_identity}
    if not others:
        return
    most = max(len(gains) for gains in others.values())
    leading = [c for c, gains in others.items() if len(gains) == most]
    try:
        evaluator.values([max(leading, key=lambda c: float(others[c].mean()))])
    except BudgetSpent:
        return


def _largest_mean(method: Method, measured: dict[Coefficients, np.ndarray]) -> Coefficients:
    """The method's candidate with the largest mean on the calibration prompts; the stock scheduler is one of each."""
    allowed = [c for c in measured if c.method == method or c.is_identity]
    return max(allowed, key=lambda c: float(measured[c].mean()))


def _outcome(
    method: Method,
    best: Coefficients,
    measured: dict[Coefficients, np.ndarray],
    family: CoefficientFamily,
    closed_form: ClosedForm | None,
    budget_spent: bool,
) -> MethodOutcome:
    """The best candidate of a method, before its held-out test."""
    if best.is_identity:
        verdict: Verdict = "not searched" if budget_spent and len(measured) == 1 else "not found"
        return MethodOutcome(method, STOCK, "stock", verdict, None)
    labels = {
        c.at_steps(family.steps): (label, c) for label, c in (closed_form.candidates if closed_form else {}).items()
    }
    label, found = labels[best] if best in labels else ("searched", _in_family(best, family))
    gain = paired_difference(measured[best], measured[STOCK.at_steps(family.steps)])
    return MethodOutcome(method, found, label, "no gain", gain)


def _in_family(candidate: Coefficients, family: CoefficientFamily) -> Coefficients:
    """The candidate as the family writes it, and as a constant if it is one."""
    found = family.coefficients(family.point_of(candidate))
    if len({*candidate.model}) == len({*candidate.sample}) == 1:
        return Coefficients.constant(model=candidate.model[0], sample=candidate.sample[0])
    return found


def _judged(
    outcome: MethodOutcome, scores: dict[str, PromptScores], settings: CalibrationSettings, judge: ScorerInfo | None
) -> MethodOutcome:
    """The outcome with its held-out comparison and the verdict of it."""
    if outcome.found.is_identity:
        return outcome
    heldout = StockComparison(scores["stock"], scores[outcome.method])
    by_judge = None
    if judge is not None:
        by_judge = shown_by(heldout.gain(judge.name), higher_is_better=judge.higher_is_better)
    verdict = verdict_of(shown_by(heldout.gain()), by_judge, force=settings.force)
    return replace(outcome, heldout=heldout, verdict=verdict, by_judge=by_judge)


def _examples(renderer: TrajectoryRenderer, result: CalibrationResult) -> tuple[HeldOutExample, ...]:
    """The best, a middling and the worst held-out prompt of the best outcome, rendered once more."""
    outcome = result.best
    if outcome.heldout is None:
        return ()
    gains = outcome.heldout.differences()
    order = np.argsort(gains)
    places = list(dict.fromkeys(int(order[i]) for i in (-1, len(order) // 2, 0)))
    shown = [result.heldout_prompts[i] for i in places]
    seeds = seeds_of(shown, result.settings)
    arms = {"quantized": STOCK} | {
        f"with {NAMES[one.method]}": one.found for one in result.outcomes if one.has_candidate
    }
    images = {name: pictures(renderer, shown, seeds, coefficients) for name, coefficients in arms.items()}
    return tuple(
        HeldOutExample(prompt, float(gains[place]), {name: images[name][i] for name in arms})
        for i, (prompt, place) in enumerate(zip(shown, places, strict=True))
    )


def seeds_of(prompts: Sequence[Prompt], settings: CalibrationSettings) -> list[int]:
    """The seed of each prompt's picture."""
    return [image_seed(settings.seed, prompt.prompt_id, 0) for prompt in prompts]


def check_prompts(prompts: Sequence[Prompt], heldout: Sequence[Prompt]) -> None:
    """CalibrationError unless both are two prompts or more, all of them different."""
    for name, some in (("calibration", prompts), ("held-out", heldout)):
        if len(some) < 2:
            raise CalibrationError(f"{len(some)} {name} prompt(s); a paired interval needs 2 or more, better 100")
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

"""Whether what a benchmark names is known, before anything is priced or made.

`bench plan` and `bench run` check the same names, so that a plan is of something that can be run. What may be brought
later (weights, prompts, files of coefficients) is not an error.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from qsched.backbones.spec import DEFAULT_STEPS
from qsched.bench.places import Places
from qsched.bench.spec import CALIBRATE, SHIPPED, Benchmark, CalibrationSpec, ModelSpec
from qsched.bench.study_file import needs_preference, preference_studies
from qsched.errors import InputError
from qsched.generation import Prompt, parse_arms
from qsched.generation.prompts import check_layout
from qsched.tiny.paths import BACKBONES

AUTO, NONE = "auto", "none"
#: Scorers that a calibration may load beside its judge.
CALIBRATION_SCORERS = ("clipscore", "clip-iqa", "aq-map", "hpsv2.1", "pickscore")


def check_names(benchmark: Benchmark) -> None:
    """InputError for the first scorer, objective, prompt layout or simulated study that cannot be."""
    _check_scorers(benchmark)
    sources = [*benchmark.prompts, *([benchmark.calibration.prompts] if benchmark.calibration else [])]
    for source in sources:
        if source.format is not None:
            check_layout(source.format)
    for model in benchmark.models:
        _check_simulated(benchmark, model)
        _check_preference(benchmark, model)


def scorers_of(calibration: CalibrationSpec) -> tuple[str, ...]:
    """Scorers that a calibration may load, for their weights."""
    judge = () if calibration.judge in (AUTO, NONE) else (calibration.judge,)
    return tuple(dict.fromkeys((*CALIBRATION_SCORERS, *judge)))


def _check_simulated(benchmark: Benchmark, model: ModelSpec) -> None:
    """InputError if software is to vote on pictures that it cannot judge."""
    for study in benchmark.studies_of(model):
        if study.votes == "simulated" and model.source not in BACKBONES:
            raise InputError(
                f"study {study.name}: simulated people judge the pictures of {' and '.join(BACKBONES)} only, not "
                f"those of {model.name}; write votes: people, or name its models"
            )


def _check_preference(benchmark: Benchmark, model: ModelSpec) -> None:
    """InputError if a certificate is to count votes of a preference study that there is none of."""
    places = Places(Path(), benchmark)
    for study in benchmark.studies_of(model):
        if study.is_fidelity and needs_preference(places, study, model) and not preference_studies(places, model):
            raise InputError(
                f"study {study.name} has a preference clause, and {model.name} has no preference study; add one, or "
                "leave the clause out"
            )


def check_categories(benchmark: Benchmark, prompts: list[Prompt]) -> None:
    """InputError if results are wanted by category and a prompt has none."""
    if benchmark.report.by == "category" and (bare := [one.prompt_id for one in prompts if one.category is None]):
        raise InputError(f"report: by is category, and prompt {bare[0]} has none; add categories, or leave by out")


def _check_scorers(benchmark: Benchmark) -> None:
    if not benchmark.metrics and benchmark.calibration is None and not benchmark.weights:
        return  # the registry of scorers imports torch, which takes seconds
    if importlib.util.find_spec("torch") is None:
        return  # a machine for studies: it goes on with what is made, and no command there can score or calibrate
    from qsched.scoring.objectives import find_objective
    from qsched.scoring.outside import is_outside
    from qsched.scoring.registry import WITH_WEIGHTS, check_metric, parse_metrics

    for name in parse_metrics(",".join(benchmark.metrics)) if benchmark.metrics else ():
        check_metric(name)
    calibration = benchmark.calibration
    if calibration is not None:
        if calibration.objective is not None:
            find_objective(calibration.objective)
        if calibration.judge not in (AUTO, NONE):
            check_metric(calibration.judge, twins=False)
    if unknown := [name for name in benchmark.weights if name not in WITH_WEIGHTS and not is_outside(name)]:
        raise InputError(f"weights: {unknown[0]!r} takes no weights; choose one of {', '.join(WITH_WEIGHTS)}")
    used = (*benchmark.metrics, *(() if calibration is None else scorers_of(calibration)))
    if idle := [name for name in benchmark.weights if name not in used]:
        raise InputError(f"weights: {idle[0]} is not among the metrics; add it to them, or leave its weights out")


def check_coefficients(benchmark: Benchmark, model: ModelSpec) -> list[str]:
    """InputError if shipped coefficients are not there, or those of a file do not fit; a note on each missing file."""
    from qsched.backbones.find import find_spec

    arms = benchmark.arms_of(model)
    files = [arm.coefficients for arm in arms if arm.coefficients not in (SHIPPED, CALIBRATE)]
    missing = [name for name in files if not Path(name).is_file()]
    spec = find_spec(model.source, revision=model.revision, variant=model.variant)
    known = [
        arm.arm if arm.coefficients == SHIPPED else f"{arm.arm}:{arm.coefficients}"
        for arm in arms
        if arm.coefficients not in (CALIBRATE, *missing)
    ]
    parse_arms(
        ",".join(known),
        spec,
        steps=model.steps or spec.steps or DEFAULT_STEPS,
        dtype=model.dtype,
        default_dtype="fp32",
    )
    return [f"{model.name}: the coefficients {name} are not here" for name in missing]

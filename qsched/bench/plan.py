"""What a benchmark takes, before anything is loaded or made: each command's own forecast, added up."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qsched.backbones.spec import DEFAULT_STEPS, parse_lora
from qsched.bench.checks import check_categories, check_coefficients, check_names
from qsched.bench.places import Places
from qsched.bench.prompts import choose_prompts, prompts_text, source_path, stand_in_prompts
from qsched.bench.spec import CALIBRATE, ArmSpec, Benchmark, CalibrationSpec, ModelSpec, StudySpec
from qsched.bench.study_file import study_values
from qsched.command_line import counted
from qsched.errors import InputError, QschedError
from qsched.generation import Prompt, Request, read_prompts
from qsched.generation.forecast import ArmForecast, forecast


@dataclass(frozen=True)
class ArmPlan:
    """An arm of a model; the fields are those of `ArmForecast`. A repaired arm makes as much as its stock arm."""

    arm: str
    pictures: int
    nfe: int
    disk_bytes: int
    memory_bytes: int | None
    seconds: float | None
    simulated: bool


@dataclass(frozen=True)
class CalibrationPlan:
    """Coefficients of one precision: model evaluations and decoded pictures, at most."""

    precision: str
    nfe: int
    pictures: int


@dataclass(frozen=True)
class StudyCost:
    """A study of one model. `cost` is None if study.yaml names no pay; `can_show` is a sentence."""

    study: str
    votes_by: str
    pairs: int
    votes: int
    people: int
    minutes_each: float
    hours: float
    cost: float | None
    currency: str | None
    can_show: str
    warnings: tuple[str, ...]


#: Prices the study of a model: (study, its study.yaml as values, arms, pictures by prompt and sample).
PriceStudy = Callable[[StudySpec, dict[str, Any], Sequence[str], Sequence[tuple[str, int]]], StudyCost]


@dataclass(frozen=True)
class ModelPlan:
    """A model, worked out."""

    model: str
    arms: tuple[ArmPlan, ...]
    calibrations: tuple[CalibrationPlan, ...]
    studies: tuple[StudyCost, ...]
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class Totals:
    """Sums over models. `seconds` and `cost` are None if a part of them is unknown."""

    pictures: int
    nfe: int
    calibration_nfe: int
    disk_bytes: int
    seconds: float | None
    votes: int
    people: int
    hours: float
    cost: dict[str, float] | None
    simulated_votes: int


@dataclass(frozen=True)
class BenchPlan:
    """A benchmark, worked out; `notes` are sentences. Votes, people, hours and cost are of people only."""

    name: str
    version: str
    prompts: int
    models: tuple[ModelPlan, ...]
    totals: Totals
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything, for `--json`."""
        return {"schema_version": 1, **asdict(self)}


def plan_benchmark(benchmark: Benchmark, *, folder: Path, price: PriceStudy) -> BenchPlan:
    """Work a benchmark out; files of prompts that are not in `folder` count with their limits."""
    check_names(benchmark)
    prompts, notes = stand_in_prompts(benchmark.prompts, folder=folder)
    if not notes:
        check_categories(benchmark, prompts)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "prompts.json"
        file.write_text(prompts_text(prompts), encoding="utf-8")
        calibration = None
        if benchmark.calibration is not None:
            found, more = _calibration_prompts(benchmark.calibration, folder, prompts)
            calibration = file.with_name("calibration.json")
            calibration.write_text(prompts_text(found), encoding="utf-8")
            notes += more
        models = tuple(_model(benchmark, model, file, calibration, prompts, price) for model in benchmark.models)
        notes += [note for model in benchmark.models for note in check_coefficients(benchmark, model)]
    return BenchPlan(
        name=benchmark.name,
        version=benchmark.version,
        prompts=len(prompts),
        models=models,
        totals=_totals(models),
        notes=tuple(notes),
    )


def _calibration_prompts(
    calibration: CalibrationSpec, folder: Path, shown: Sequence[Prompt]
) -> tuple[list[Prompt], list[str]]:
    """The calibration's prompts without those that are shown, or as many stand-ins as it needs, each with its text."""
    source = calibration.prompts
    if (path := source_path(source, folder=folder)).exists():
        texts = {one.prompt for one in shown}
        left_out = sum(one.prompt in texts for one in read_prompts(path, layout=source.format))
        note = f"calibration: {counted(left_out, 'prompt')} of {source.file} left out, which the benchmark itself has"
        return choose_prompts([source], folder=folder, without=shown), [note] if left_out else []
    note = f"calibration: {source.file} is not here"
    count = source.limit or calibration.n_prompts + calibration.n_heldout
    return [Prompt(f"{place:06d}", f"a prompt that is not here, {place}") for place in range(count)], [note]


def _model(
    benchmark: Benchmark,
    model: ModelSpec,
    file: Path,
    calibration: Path | None,
    prompts: Sequence[Prompt],
    price: PriceStudy,
) -> ModelPlan:
    arms = benchmark.arms_of(model)
    stock = list(dict.fromkeys(arm.precision for arm in arms))
    request = Request(
        backbone=model.source,
        arms=",".join(stock),
        prompts=file,
        out=file.with_name("images"),
        samples=benchmark.samples,
        set_seed=benchmark.seed,
        batch_size=model.batch_size,
        steps=model.steps,
        width=model.width,
        height=model.height,
        dtype=model.dtype,
        vae_dtype=model.vae_dtype,
        guidance_scale=model.guidance_scale,
        negative_prompt=model.negative_prompt,
        eta=model.eta,
        offload=model.offload,
        revision=model.revision,
        variant=model.variant,
        loras=tuple(parse_lora(text) for text in model.loras),
    )
    found = forecast(request)
    by_precision = dict(zip(stock, found.arms, strict=True))
    spec = request.spec()
    keys = [(one.prompt_id, sample) for one in prompts for sample in range(benchmark.samples)]
    places = Places(Path(), benchmark)
    names = [places.arm_name(arm) for arm in arms]
    studies = [price(study, study_values(places, study, model), names, keys) for study in benchmark.studies_of(model)]
    return ModelPlan(
        model=model.name,
        arms=tuple(_arm(arm, by_precision[arm.precision], model.seconds_per_image) for arm in arms),
        calibrations=_calibrations(benchmark, model, calibration, steps=model.steps or spec.steps or DEFAULT_STEPS),
        studies=tuple(studies),
        # Its words on time name an option of generate-pairs.
        assumptions=tuple(words for words in found.assumptions if not words.startswith("time:")),
    )


def _arm(arm: ArmSpec, found: ArmForecast, rates: Mapping[str, float]) -> ArmPlan:
    rate = rates.get(arm.arm, rates.get(""))
    return ArmPlan(
        arm=arm.arm,
        pictures=found.pictures,
        nfe=found.nfe,
        disk_bytes=found.disk_bytes,
        memory_bytes=found.memory_bytes,
        seconds=None if rate is None else rate * found.pictures,
        simulated=found.simulated,
    )


def _calibrations(
    benchmark: Benchmark, model: ModelSpec, prompts: Path | None, *, steps: int
) -> tuple[CalibrationPlan, ...]:
    arms = benchmark.arms_of(model)
    precisions = list(dict.fromkeys(arm.precision for arm in arms if arm.coefficients == CALIBRATE))
    calibration = benchmark.calibration
    if calibration is None or prompts is None or not precisions:
        return ()
    from qsched.calibration.command import CalibrationRequest, check_request
    from qsched.calibration.preview import planned_work
    from qsched.calibration.settings import CalibrationSettings
    from qsched.scoring.objectives import NamedObjective, find_objective

    settings = CalibrationSettings(strategy=calibration.strategy, seed=calibration.seed)
    default = NamedObjective("clipscore", "clip-iqa")
    terms = default if calibration.objective is None else find_objective(calibration.objective)
    for precision in precisions:
        request = CalibrationRequest(
            backbone=model.source,
            precision=precision,
            prompts=prompts,
            out=prompts.with_name("coefficients.json"),
            settings=settings,
            n_prompts=calibration.n_prompts,
            n_heldout=calibration.n_heldout,
            steps=model.steps,
            tc=terms.tc,
            iq=terms.iq,
            judge=calibration.judge,
            dtype=model.dtype,
            revision=model.revision,
            variant=model.variant,
            loras=tuple(parse_lora(text) for text in model.loras),
        )
        try:
            check_request(request)
        except QschedError as error:
            raise InputError(f"calibration of {precision} for {model.name}: {error}") from error
    work = planned_work(
        settings,
        steps=steps,
        n_prompts=calibration.n_prompts,
        n_heldout=calibration.n_heldout,
        models=2 if calibration.control else 1,
    )
    return tuple(CalibrationPlan(name, work.search_nfe + work.check_nfe, work.decodes) for name in precisions)


def _totals(models: Sequence[ModelPlan]) -> Totals:
    arms = [arm for model in models for arm in model.arms]
    studies = [study for model in models for study in model.studies]
    people = [study for study in studies if study.votes_by == "people"]
    seconds = [arm.seconds for arm in arms if arm.seconds is not None]
    cost: dict[str, float] = {}
    for study in people:
        if study.cost is not None and study.currency is not None:
            cost[study.currency] = cost.get(study.currency, 0.0) + study.cost
    return Totals(
        pictures=sum(arm.pictures for arm in arms),
        nfe=sum(arm.nfe for arm in arms),
        calibration_nfe=sum(one.nfe for model in models for one in model.calibrations),
        disk_bytes=sum(arm.disk_bytes for arm in arms),
        seconds=sum(seconds) if len(seconds) == len(arms) else None,
        votes=sum(study.votes for study in people),
        people=sum(study.people for study in people),
        hours=sum(study.hours for study in people),
        cost=None if any(study.cost is None for study in people) else cost,
        simulated_votes=sum(study.votes for study in studies if study.votes_by == "simulated"),
    )

"""The commands that make a benchmark, model by model. A step is done when its files are there: nothing else is kept."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from qsched.backbones.find import find_spec
from qsched.backbones.identity import identity_of
from qsched.backbones.spec import parse_lora
from qsched.bench.checks import scorers_of
from qsched.bench.places import Places
from qsched.bench.spec import CALIBRATE, ModelSpec, ReportSpec, StudySpec
from qsched.bench.study_file import clause_arms, needs_preference, preference_studies
from qsched.errors import InputError, QschedError
from qsched.generation.arms import parse_arms
from qsched.generation.growth import changed_recipe
from qsched.records import Manifest, iter_rows, read_manifest
from qsched.records.image_set import MANIFEST_NAME

Command = tuple[str, ...]
#: A certificate that shows nothing, and votes without an estimate, are results.
EXIT_NOTHING_SHOWN = 3


@dataclass(frozen=True)
class Options:
    """How the commands run here; passed on as they are.

    coefficients_only    stop after the coefficients, which shards of the pictures need
    """

    executor: str | None = None
    workers: int | None = None
    shard: str | None = None
    device: str | None = None
    coefficients_only: bool = False


@dataclass(frozen=True)
class ModelStep:
    """One step of a model: its words, its commands, and whether its files are there."""

    name: str
    commands: tuple[Command, ...]
    is_done: Callable[[], bool]


def picture_steps(places: Places, model: ModelSpec, options: Options) -> Iterator[ModelStep]:
    """Coefficients, pictures and scores of a model. With a shard: its pictures only."""
    benchmark = places.benchmark
    arms = benchmark.arms_of(model)
    precisions = dict.fromkeys(arm.precision for arm in arms if arm.coefficients == CALIBRATE)
    for precision in precisions:
        out = places.coefficients(model, precision)
        if options.shard is not None and not out.is_file():
            raise InputError(
                f"{model.name}: its shards need the coefficients of {precision} first, for which one process searches; "
                "run the same command with --coefficients-only instead of --shard"
            )
        command = _calibrate(places, model, precision, out, options)
        yield ModelStep(f"{model.name}: coefficients of {precision}", (command,), out.is_file)
    if options.coefficients_only:
        return
    images = places.images(model)
    generate = generate_command(places, model, options, prompts=places.prompts, out=images)
    if options.shard is not None:
        yield ModelStep(f"{model.name}: pictures, shard {options.shard}", (generate,), lambda: False)
        return
    if (images / "shards").is_dir() and not (images / MANIFEST_NAME).is_file():
        generate = ("merge", str(images))
    yield ModelStep(f"{model.name}: pictures", (generate,), lambda: _is_complete(places, model))
    if benchmark.metrics:
        yield ModelStep(f"{model.name}: scores", (_score(places, model, options),), lambda: _is_scored(places, model))


def report_step(places: Places, study: StudySpec, model: ModelSpec) -> ModelStep:
    """Win rates, or certificates, from the votes that are there."""
    at = places.study(study, model)
    votes = at.votes
    if votes is None:
        raise ValueError(f"{at.folder} has no votes")
    if not study.is_fidelity:
        report = at.report / "winrates.json"
        command: Command = ("winrates", str(votes), "--out", str(at.report), *winrates_plan(places, model))
        command += ("--title", f"{places.benchmark.title}: {study.name}, {model.name}")
        command += ("--image-set", str(places.images(model)), "--formats", "svg")
        if at.simulated:
            command += ("--simulation", str(at.simulation))
        return ModelStep(f"{model.name}: win rates of {study.name}", (command,), lambda: _is_newer(report, votes))
    arms = clause_arms(places, study, model)
    commands = tuple(certify_command(places, study, model, arm, votes=votes, out=at.certificate(arm)) for arm in arms)
    pages = [at.certificate(arm) / "certificate.json" for arm in arms]
    name = f"{model.name}: certificates of {study.name}"
    return ModelStep(name, commands, lambda: all(_is_newer(page, votes) for page in pages))


def winrates_plan(places: Places, model: ModelSpec) -> Command:
    """The options of `qsched winrates` that are fixed before the votes (`study preregister --plan`)."""
    report: ReportSpec = places.benchmark.report
    plan: Command = ("--baseline", places.arm_name(places.benchmark.arms_of(model)[0]))
    plan += ("--confidence", f"{report.confidence:g}", "--resamples", str(report.resamples))
    plan += ("--seed", str(report.seed))
    if report.by is not None:
        plan += ("--by", report.by)
    if report.equivalence_margin is not None:
        plan += ("--equivalence-margin", f"{report.equivalence_margin:g}")
    return plan


def shown(command: Command) -> str:
    """A command as one would type it."""
    return shlex.join(("qsched", *command))


def _backbone(model: ModelSpec) -> Command:
    command: Command = ("--backbone", model.source)
    for name, value in (("revision", model.revision), ("variant", model.variant), ("dtype", model.dtype)):
        command += () if value is None else (f"--{name}", value)
    if model.steps is not None:
        command += ("--steps", str(model.steps))
    for lora in model.loras:
        command += ("--lora", lora)
    return command


def _calibrate(places: Places, model: ModelSpec, precision: str, out: Path, options: Options) -> Command:
    calibration = places.benchmark.calibration
    if calibration is None:  # the benchmark's own rule
        raise InputError(f"{precision} is to be calibrated, and there is no calibration section")
    command: Command = ("calibrate", *_backbone(model), "--precision", precision)
    command += ("--prompts", str(places.calibration_prompts), "--out", str(out))
    command += ("--n-prompts", str(calibration.n_prompts), "--n-heldout", str(calibration.n_heldout))
    command += ("--strategy", calibration.strategy, "--judge", calibration.judge, "--seed", str(calibration.seed))
    command += () if calibration.objective is None else ("--objective", calibration.objective)
    command += () if calibration.control else ("--no-control",)
    command += ("--force",) if calibration.force else ()
    for scorer in scorers_of(calibration):
        if scorer in places.benchmark.weights:
            command += ("--weights", f"{scorer}={places.benchmark.weights[scorer]}")
    return command + _device(options)


def generate_command(places: Places, model: ModelSpec, options: Options, *, prompts: Path, out: Path) -> Command:
    """The pictures of a model, of all prompts or of some of them."""
    benchmark = places.benchmark
    arms = ",".join(places.arm_text(model, arm) for arm in benchmark.arms_of(model))
    command: Command = ("generate-pairs", *_backbone(model), "--arms", arms, "--prompts", str(prompts))
    command += ("--prompts-format", "qsched", "--out", str(out))
    command += ("--samples", str(benchmark.samples), "--seed", str(benchmark.seed))
    command += ("--batch-size", str(model.batch_size), "--offload", model.offload)
    numbers = {
        "guidance-scale": model.guidance_scale,
        "width": model.width,
        "height": model.height,
        "eta": model.eta,
    }
    for name, value in numbers.items():
        command += () if value is None else (f"--{name}", f"{value:g}")
    command += () if model.vae_dtype is None else ("--vae-dtype", model.vae_dtype)
    command += () if model.negative_prompt is None else ("--negative-prompt", model.negative_prompt)
    if benchmark.calibration is not None:
        command += ("--calibration-prompts", str(places.calibration_prompts))
        command += ("--calibration-limit", str(benchmark.calibration.statistics))
    for name, text in (("executor", options.executor), ("shard", options.shard)):
        command += () if text is None else (f"--{name}", text)
    command += () if options.workers is None else ("--workers", str(options.workers))
    return command + _device(options)


def _score(places: Places, model: ModelSpec, options: Options) -> Command:
    benchmark = places.benchmark
    command: Command = ("score", str(places.images(model)), "--metrics", ",".join(benchmark.metrics))
    command += ("--display", benchmark.display)
    for scorer, weights in benchmark.weights.items():
        if scorer in benchmark.metrics:
            command += ("--weights", f"{scorer}={weights}")
    return command + _device(options)


def certify_command(places: Places, study: StudySpec, model: ModelSpec, arm: str, *, votes: Path, out: Path) -> Command:
    """The certificate of an arm: by its registration, or without one as an exploratory look."""
    at = places.study(study, model)
    command: Command = ("certify", str(votes), "--out", str(out))
    registration = at.registration(arm)
    command += ("--registration", str(registration)) if registration.is_file() else ("--arm", arm)
    if registration.is_file() and arm in needs_preference(places, study, model):
        for other in preference_studies(places, model):
            command += () if (found := places.study(other, model).votes) is None else ("--preference", str(found))
    return command + (("--content", str(at.content)) if at.content.is_file() else ())


def _device(options: Options) -> Command:
    return () if options.device is None else ("--device", options.device)


def _is_complete(places: Places, model: ModelSpec) -> bool:
    images, benchmark = places.images(model), places.benchmark
    if not (images / MANIFEST_NAME).is_file() or not places.prompts.is_file():
        return False
    try:
        manifest = read_manifest(images)
        rows = sum(1 for _ in iter_rows(images))
    except QschedError:
        return False  # generate-pairs says what is wrong
    if is_of_other_weights(model, manifest) or has_other_recipes(places, model, manifest):
        return False  # likewise
    names = [places.arm_name(arm) for arm in benchmark.arms_of(model)]
    whole = len(names) * manifest.n_prompts * benchmark.samples
    return [arm.name for arm in manifest.arms] == names and manifest.samples == benchmark.samples and rows == whole


def weights_here(model: ModelSpec) -> str | None:
    """The hash of the weights of a model on this machine; None if they are not here."""
    try:
        loras = tuple(parse_lora(text) for text in model.loras)
        return identity_of(find_spec(model.source, revision=model.revision, variant=model.variant, loras=loras))
    except QschedError:
        return None  # pictures of another lab


def is_of_other_weights(model: ModelSpec, manifest: Manifest) -> bool:
    """Whether the model that is here now is another than the set's; one that is not here is not compared."""
    made_with, here = manifest.provenance.get("backbone_weights"), weights_here(model)
    return here is not None and made_with is not None and here != made_with


def has_other_recipes(places: Places, model: ModelSpec, manifest: Manifest) -> bool:
    """Whether a file of coefficients (or of bits, or weights) has changed since; those not here are not compared."""
    records = {record.name: record for record in manifest.arms if record.recipe}
    for arm in places.benchmark.arms_of(model):
        record = records.get(places.arm_name(arm))
        if record is None or manifest.steps is None:
            continue
        try:
            spec = find_spec(model.source, revision=model.revision, variant=model.variant)
            text, dtype = places.arm_text(model, arm), str(record.recipe.get("base_dtype"))
            (now,) = parse_arms(text, spec, steps=manifest.steps, dtype=dtype, default_dtype=dtype)
        except QschedError:
            continue  # pictures of another lab
        if changed_recipe(record, now):
            return True
    return False


def _is_scored(places: Places, model: ModelSpec) -> bool:
    """Whether metrics.json has every picture, the metrics that were asked for, and the benchmark's baseline."""
    path = places.images(model) / "metrics.json"
    if not path.is_file():
        return False
    try:
        found = json.loads(path.read_text("utf-8"))
        scored = {(arm["arm"], arm["images"]) for arm in found["arms"]}
        names = {scorer["name"] for scorer in found["scorers"]}
        manifest = read_manifest(places.images(model))
        of = found["set_id"], found["baseline"]
    except (ValueError, KeyError, TypeError, QschedError):
        return False
    each, metrics = manifest.n_prompts * manifest.samples, places.benchmark.metrics
    if of != (manifest.set_id, places.arm_name(places.benchmark.arms_of(model)[0])):
        return False
    # A metric of one's own, file.py:Class, has a name of its own.
    named = len(names) >= len(metrics) and names.issuperset(name for name in metrics if ":" not in name)
    return named and scored == {(arm.name, each) for arm in manifest.arms}


def _is_newer(made: Path, source: Path) -> bool:
    """Whether a file was put here after its source: a copy may keep the date of another file."""
    return made.is_file() and _put_here(made) >= _put_here(source)


def _put_here(path: Path) -> int:
    found = path.stat()
    return max(found.st_mtime_ns, found.st_ctime_ns)

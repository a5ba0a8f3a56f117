"""A calibration from names to files: load, quantize, search, check, write. What the command line calls."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsched.backbones import (
    DTYPES,
    Backbone,
    checked_device,
    find_spec,
    load_backbone,
    quiet_libraries,
)
from qsched.backbones.spec import DEFAULT_STEPS, BackboneSpec, Lora
from qsched.calibration.calibrate import calibrate, check_prompts, seeds_of, with_control
from qsched.calibration.errors import CalibrationError
from qsched.calibration.evaluate import BatchMeasurer, SearchProgress
from qsched.calibration.judge import AUTO, judge_name, load_judge
from qsched.calibration.least_squares import FullRun, full_run
from qsched.calibration.record import build_record, write_record
from qsched.calibration.result import CalibrationResult
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.shards import ShardDone, calibrate_shard, check_shardable
from qsched.calibration.trajectory import TrajectoryRenderer
from qsched.generation import Prompt, read_prompts
from qsched.generation.quantize import STATISTICS_PROMPTS, CalibrationSource, quantize_backbone
from qsched.precision import PrecisionReport, find_recipe
from qsched.scheduling import CoefficientError, read_coefficients
from qsched.scoring import Jaq, Scorer, load_scorer
from qsched.scoring.jaq_score import checked_k
from qsched.scoring.registry import check_names
from qsched.tiny.paths import BACKBONES

DEFAULT_PROMPTS = 25
DEFAULT_HELDOUT = 100
LOCAL = "local"
EXECUTORS = (LOCAL, "ray")


@dataclass(frozen=True)
class CalibrationRequest:
    """Everything by name; `weights` maps a scorer's name to its weights."""

    backbone: str
    precision: str
    prompts: Path
    out: Path
    settings: CalibrationSettings = field(default_factory=CalibrationSettings)
    heldout: Path | None = None
    n_prompts: int | None = None
    n_heldout: int | None = None
    steps: int | None = None
    tc: str = "clipscore"
    iq: str = "clip-iqa"
    k: float = 2.0
    weights: dict[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    judge: str = AUTO
    device: str = "auto"
    dtype: str | None = None
    control: bool = True
    revision: str | None = None
    variant: str | None = None
    loras: tuple[Lora, ...] = ()
    vae_slicing: bool = False
    vae_tiling: bool = False

    def spec(self) -> BackboneSpec:
        """The backbone that was asked for."""
        return find_spec(self.backbone, revision=self.revision, variant=self.variant, loras=self.loras)


@dataclass(frozen=True)
class CalibrationFiles:
    """The result, its document, and where it was written."""

    result: CalibrationResult
    record: dict[str, Any]
    coefficients_path: Path
    report_path: Path


def run_calibration(
    request: CalibrationRequest,
    *,
    executor: str = LOCAL,
    workers: int | None = None,
    on_progress: Callable[[SearchProgress], None] | None = None,
) -> CalibrationFiles:
    """Carry out the request and write `out` (.json), the report next to it (.html) and the journal it resumes from.

    executor    `local`, or `ray`: workers of a Ray cluster measure the batches of the search
    """
    quiet_libraries()
    check_request(request)
    check_executor(request, executor, workers)
    spec, recipe = request.spec(), find_recipe(request.precision)
    device = str(checked_device(request.device))
    prompts, heldout = split_prompts(request)
    # The cluster is asked for before anything is loaded, its workers start with the search.
    with _measurer(request, executor, workers) as measurer:
        objective = load_objective(request, device)
        judge = load_judge_for(request, objective, device)
        also = [load_scorer(name, device=device, weights=_weights_of(name, request)) for name in request.also]
        check_names([one.info for one in (*([] if judge is None else [judge]), *also)])
        backbone = load_for(request)
        # Quantizing replaces layers in place: the full-precision run comes before it.
        full = run_in_full(backbone, request.settings, prompts) if request.settings.is_closed_form else None
        report = quantize_for(request, backbone, prompts)
        identity = _identity(request, backbone, report)
        coefficients_path, report_path, journal = output_paths(request.out)
        result = calibrate(
            backbone,
            objective,
            prompts,
            heldout,
            request.settings,
            journal=journal,
            identity=identity,
            full=full,
            also=also,
            judge=judge,
            measurer=measurer,
            on_progress=on_progress,
        )
    if request.control and recipe.dtype_name is None and any(one.has_candidate for one in result.outcomes):
        # One model at a time: the quantized copy goes before the full-precision one comes.
        del backbone
        gc.collect()
        result = with_control(result, load_for(request), objective, also=also, judge=judge)
    arm = {**_arm(report), **identity}
    record = build_record(result, objective, backbone=spec.name, precision=recipe.name, arm=arm)
    write_record(coefficients_path, record)
    from qsched.calibration.report import write_report

    write_report(report_path, result, record)
    return CalibrationFiles(result, record, coefficients_path, report_path)


def check_executor(request: CalibrationRequest, executor: str, workers: int | None) -> None:
    """InputError for an executor that is unknown, or that this search cannot use."""
    if executor not in EXECUTORS:
        raise CalibrationError(f"executor {executor!r} is unknown; choose {' or '.join(EXECUTORS)}")
    if executor == LOCAL:
        if workers is not None:
            raise CalibrationError(f"workers {workers}: only --executor ray has workers; add it, or leave this out")
        return
    from qsched.calibration.ray_search import check_for_workers

    check_for_workers(request.settings)


@contextmanager
def _measurer(request: CalibrationRequest, executor: str, workers: int | None) -> Iterator[BatchMeasurer | None]:
    """Who measures the batches of the search: None for this process."""
    if executor == LOCAL:
        yield None
        return
    from qsched.calibration.ray_search import RayMeasurer

    measurer = RayMeasurer(request, workers=workers)
    try:
        yield measurer
    finally:
        measurer.close()


def run_shard(
    request: CalibrationRequest, shard: tuple[int, int], *, on_progress: Callable[[SearchProgress], None] | None = None
) -> ShardDone:
    """Measure one shard of the request's grid; the command without a shard then reads what all of them measured."""
    quiet_libraries()
    check_request(request)
    check_shardable(request.settings)
    objective = load_objective(request, str(checked_device(request.device)))
    prompts, _ = split_prompts(request)
    backbone = load_for(request)
    report = quantize_for(request, backbone, prompts)
    return calibrate_shard(
        backbone,
        objective,
        prompts,
        request.settings,
        shard,
        journal=output_paths(request.out)[2],
        identity=_identity(request, backbone, report),
        on_progress=on_progress,
    )


def _identity(request: CalibrationRequest, backbone: Backbone, report: PrecisionReport) -> dict[str, object]:
    """What the values of a journal belong to."""
    identity: dict[str, object] = {
        "backbone": request.spec().name,
        "weights": backbone.identity,
        "recipe": report.recipe_hash,
        "dtype": _dtype(request, str(checked_device(request.device))),
        "size": [backbone.width, backbone.height],
        "guidance_scale": backbone.guidance_scale,
    }
    if request.vae_tiling:
        identity["vae"] = "tiling"
    if report.statistics_sha256:
        identity["statistics"] = report.statistics_sha256
    return identity


def load_for(request: CalibrationRequest) -> Backbone:
    """The backbone of a request, without its denoiser, which `quantize_for` converts as it reads it.

    Its text encoders have read all prompts and are gone; a text that they have not read brings them back.
    """
    device, recipe = str(checked_device(request.device)), find_recipe(request.precision)
    needs_whole = request.settings.is_closed_form or request.control or bool(recipe.statistics)
    backbone = load_backbone(
        request.spec(),
        dtype=DTYPES[_dtype(request, device)],
        device=device,
        steps=request.steps,
        later_denoiser=True,
        methods=[recipe.method, *(["dtype"] if needs_whole else [])],
    )
    _save_memory(backbone, request)
    prompts, heldout = split_prompts(request)
    # The search encodes each prompt alone; statistics are measured in batches.
    texts = [[prompt.prompt] for prompt in (*prompts, *heldout)]
    if recipe.statistics:
        texts += [[prompt.prompt for prompt in batch] for batch in _statistics_source(request, prompts).batches()]
    backbone.read_texts(texts)
    return backbone


def _save_memory(backbone: Backbone, request: CalibrationRequest) -> None:
    """Let the autoencoder work on one picture, or on one tile, at a time; CalibrationError if it cannot."""
    vae = backbone.pipeline.vae
    wanted = {"slicing": request.vae_slicing, "tiling": request.vae_tiling}
    for name in (name for name, is_wanted in wanted.items() if is_wanted):
        if not hasattr(vae, f"enable_{name}"):
            raise CalibrationError(f"--vae-{name}: {type(vae).__name__} has no {name}; leave it out")
        try:
            getattr(vae, f"enable_{name}")()
        except NotImplementedError as error:
            raise CalibrationError(f"--vae-{name}: {type(vae).__name__} has no {name}; leave it out") from error


def quantize_for(request: CalibrationRequest, backbone: Backbone, prompts: list[Prompt]) -> PrecisionReport:
    """Quantize the backbone in place, as the request says."""
    return quantize_backbone(backbone, find_recipe(request.precision), _statistics_source(request, prompts))


def run_in_full(backbone: Backbone, settings: CalibrationSettings, prompts: list[Prompt]) -> FullRun:
    """The run of a backbone that is not quantized yet, on the calibration prompts."""
    backbone.complete()
    renderer = TrajectoryRenderer(backbone, steps=backbone.steps, batch_rows=settings.batch_rows)
    return full_run(renderer, prompts, seeds_of(prompts, settings))


def _statistics_source(request: CalibrationRequest, prompts: list[Prompt]) -> CalibrationSource:
    """The first calibration prompts; generate-pairs takes as many, in equal batches, for the tiny models."""
    return CalibrationSource(
        tuple(prompts[:STATISTICS_PROMPTS]),
        hashlib.sha256(request.prompts.read_bytes()).hexdigest(),
        batch_size=STATISTICS_PROMPTS,
        folder=request.out.with_suffix(".statistics"),
    )


def check_request(request: CalibrationRequest) -> None:
    """Everything that can be refused before a model is loaded; InputError with the rule and the remedy."""
    spec, recipe = request.spec(), find_recipe(request.precision)
    _dtype(request, str(checked_device(request.device)))
    checked_k(request.k)
    _judge_name(request)
    _check_outputs(request)
    if request.settings.is_closed_form and recipe.correction is not None:
        raise CalibrationError(
            f"precision {recipe.name} corrects the noise estimate already, and closed-form coefficients are not fitted "
            "on top of that; add --strategy race"
        )
    if request.settings.is_closed_form and recipe.dtype_name is not None:
        raise CalibrationError(
            f"precision {recipe.name} is a dtype of the whole model, and closed-form coefficients are fitted to the "
            "same model before it is quantized; add --strategy race"
        )
    check_prompts(*split_prompts(request))
    request.settings.family_for(request.steps or spec.steps or DEFAULT_STEPS)


def output_paths(out: Path) -> tuple[Path, Path, Path]:
    """(coefficients, report, journal)."""
    return out, out.with_suffix(".html"), out.with_suffix(".journal.jsonl")


def _check_outputs(request: CalibrationRequest) -> None:
    """The three files can be written, and nothing that is not a calibration's is overwritten."""
    out = request.out
    if out.suffix != ".json":
        raise CalibrationError(f"--out {out} does not end in .json; the report is written next to it as .html")
    for path in output_paths(out):
        for option, read in (("--prompts", request.prompts), ("--heldout", request.heldout)):
            if read is not None and _same_file(path, read):
                raise CalibrationError(f"--out {out} would write over {option} {read}; give another --out")
        if path.is_dir():
            raise CalibrationError(f"--out {out}: {path} is a folder; give another --out")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise CalibrationError(f"--out {out}: {above} is not a folder that can be written to; give another --out")
    if out.exists():
        try:
            read_coefficients(out)
        except CoefficientError as error:
            raise CalibrationError(
                f"--out {out} exists and is not a coefficients file, so it is not overwritten ({error}); give another "
                "--out"
            ) from error


def _same_file(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def _dtype(request: CalibrationRequest, device: str) -> str:
    dtype = find_recipe(request.precision).dtype_name or request.dtype
    if dtype is None:
        dtype = request.spec().gpu_dtype if device.startswith("cuda") else "fp32"
    if dtype not in DTYPES:
        raise CalibrationError(f"dtype {dtype!r} is unknown; choose {', '.join(DTYPES)}")
    return dtype


def split_prompts(request: CalibrationRequest) -> tuple[list[Prompt], list[Prompt]]:
    """(calibration, held-out): the first N of the file, then the next M of it, or the first M of --heldout.

    N is 25, or half of a file of less than 50; M is 100, or as many as are left.
    """
    prompts = read_prompts(request.prompts)
    n = (
        request.n_prompts
        if request.n_prompts is not None
        else min(DEFAULT_PROMPTS, len(prompts) if request.heldout else len(prompts) // 2)
    )
    others = read_prompts(request.heldout) if request.heldout else prompts[n:]
    m = request.n_heldout if request.n_heldout is not None else min(DEFAULT_HELDOUT, len(others))
    for name, wanted, there in (("--n-prompts", n, len(prompts)), ("--n-heldout", m, len(others))):
        if not 2 <= wanted <= there:
            raise CalibrationError(
                f"{name} {wanted}: {there} prompts are there for it, and at least 2 are needed. Give a longer prompts "
                "file, a file of held-out prompts with --heldout, or other numbers."
            )
    return prompts[:n], others[:m]


def load_objective(request: CalibrationRequest, device: str) -> Jaq:
    """The JAQ of the request; for the tiny models CLIP scorers use tiny-clip if no weights are given."""
    tc, iq = (load_scorer(name, device=device, weights=_weights_of(name, request)) for name in (request.tc, request.iq))
    return Jaq(tc, iq, k=request.k)


def load_judge_for(request: CalibrationRequest, objective: Jaq, device: str) -> Scorer | None:
    """The judge of the request; None for `none`."""
    name = _judge_name(request)
    if name is None:
        return None
    return load_judge(name, objective, weights=_weights_of(name, request), device=device)


def _judge_name(request: CalibrationRequest) -> str | None:
    return judge_name(request.judge, tiny=request.backbone in BACKBONES, terms=(request.tc, request.iq))


def _weights_of(scorer: str, request: CalibrationRequest) -> str | None:
    if scorer in request.weights:
        return request.weights[scorer]
    clip = scorer.startswith("clipscore") or scorer in ("clip-iqa", "aq-map")
    return "tiny-clip" if request.backbone in BACKBONES and clip else None


def _arm(report: PrecisionReport) -> dict[str, object]:
    return {**report.to_dict(), "recipe_hash": report.recipe_hash}

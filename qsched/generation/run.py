"""Make a paired image set: plan, load, quantize, render, store; resumable after a kill at any point."""

from __future__ import annotations

import gc
import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from qsched.backbones.identity import model_identity
from qsched.backbones.spec import DEFAULT_STEPS, BackboneSpec, find_spec
from qsched.errors import InputError
from qsched.generation.arms import Arm, check_origins, parse_arms
from qsched.generation.manifest import (
    environment_of,
    make_manifest,
    recorded_statistics,
    truncated_ids,
    with_precision,
)
from qsched.generation.plan import Job, Plan, make_plan
from qsched.generation.quantize import (
    STATISTICS_PROMPTS,
    CalibrationSource,
    calibration_source,
    quantize_backbone,
)
from qsched.generation.sheet import write_contact_sheet
from qsched.generation.store import STATISTICS_FOLDER, Store, open_store
from qsched.records import ImageRow, image_id_for

if TYPE_CHECKING:
    from qsched.backbones.load import Backbone
    from qsched.precision.report import PrecisionReport

# Path() makes one slash of two.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """What the researcher asked for; None means the backbone's own value."""

    backbone: str
    arms: str
    prompts: Path
    out: Path
    samples: int = 1
    set_seed: int = 0
    batch_size: int = 8
    steps: int | None = None
    guidance_scale: float | None = None
    width: int | None = None
    height: int | None = None
    device: str = "auto"
    dtype: str | None = None
    limit: int | None = None
    overwrite: bool = False
    allow_other_coefficients: bool = False
    calibration_prompts: Path | None = None
    calibration_limit: int = STATISTICS_PROMPTS


@dataclass(frozen=True)
class ArmSummary:
    """One arm after the run."""

    name: str
    images_made: int
    seconds_per_image: float | None
    report: PrecisionReport | None
    same_as: str | None = None


@dataclass(frozen=True)
class RunReport:
    """What a run did.

    unlike      number of kept images that came out different when their batch was made again
    truncated   ids of prompts that are longer than the text encoder reads
    assumed     call options that neither the model folder nor the request states
    """

    folder: Path
    n_images: int
    made: int
    kept: int
    remade: int
    unlike: int
    truncated: tuple[str, ...]
    assumed: tuple[str, ...]
    arms: tuple[ArmSummary, ...]
    contact_sheet: Path


class RunProgress(Protocol):
    """Receives what a run does."""

    def planned(self, total: int, done: int) -> None: ...

    def loading(self, arms: tuple[Arm, ...]) -> None: ...

    def loaded(self, report: PrecisionReport) -> None: ...

    def advanced(self, arm: Arm, images: int) -> None: ...


class Silent:
    """A RunProgress that says nothing."""

    def planned(self, total: int, done: int) -> None: ...

    def loading(self, arms: tuple[Arm, ...]) -> None: ...

    def loaded(self, report: PrecisionReport) -> None: ...

    def advanced(self, arm: Arm, images: int) -> None: ...


def generate_pairs(request: Request, *, progress: RunProgress | None = None) -> RunReport:
    """Make, or finish, the image set that `request` describes, and its contact sheet.

    Raises InputError before the first image for anything wrong with the request; an interrupted run is
    finished by the same call.
    """
    import torch

    progress = progress or Silent()
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    spec = find_spec(request.backbone)
    steps = request.steps or spec.steps or DEFAULT_STEPS
    plan = _plan(request, spec, steps)
    source = _calibration(request, spec, plan)
    backbone = _load(request, plan.arms[0])
    check_origins(plan.arms, spec, weights=backbone.identity, steps=steps, allowed=request.allow_other_coefficients)
    manifest = make_manifest(
        plan,
        backbone,
        steps=steps,
        prompts_file=request.prompts.name,
        limit=request.limit,
        calibration=None if source is None else source.to_dict(),
    )
    environment = environment_of(manifest)
    made: dict[str, list[float]] = {arm.name: [] for arm in plan.arms}
    reports: dict[str, PrecisionReport] = {}
    unlike = 0
    with open_store(request.out, manifest, planned=plan.jobs(), overwrite=request.overwrite) as store:
        kept, remade = len(store.rows), store.dropped
        progress.planned(plan.n_images, kept)
        for group in plan.by_precision():
            todo = [(arm, batch) for arm in group for batch in plan.batches() if _missing(store, arm, batch)]
            if todo or not _is_measured(store, group[0]):
                progress.loading(group)
                if not _is_fresh(backbone, group[0]):
                    # The old denoiser goes before the new one comes: there may be room for one only.
                    del backbone
                    gc.collect()
                    torch.cuda.empty_cache()
                    backbone = _load(request, group[0])
                reports[group[0].recipe.name] = report = _quantize(backbone, group, store, source)
                progress.loaded(report)
            for arm, batch in todo:
                rows, pictures, differ = _render(backbone, arm, batch, store, environment, steps=steps)
                for row, png in zip(rows, pictures, strict=True):
                    store.add(row, png)
                    made[arm.name].append(row.seconds)
                unlike += differ
                progress.advanced(arm, len(rows))
            for arm in group:
                if copied := _copy_rows(store, arm):
                    progress.advanced(arm, copied)
        sheet = write_contact_sheet(request.out)
        made_or_copied = len(store.rows) - kept
    return RunReport(
        folder=request.out,
        n_images=plan.n_images,
        made=made_or_copied,
        kept=kept,
        remade=remade,
        unlike=unlike,
        truncated=truncated_ids(manifest),
        assumed=backbone.assumed,
        arms=tuple(
            ArmSummary(
                name=arm.name,
                images_made=len(made[arm.name]),
                seconds_per_image=sum(made[arm.name]) / len(made[arm.name]) if made[arm.name] else None,
                report=reports.get(arm.recipe.name),
                same_as=arm.same_as,
            )
            for arm in plan.arms
        ),
        contact_sheet=sheet,
    )


def _is_measured(store: Store, arm: Arm) -> bool:
    return next(a for a in store.manifest.arms if a.name == arm.name).denoiser_bytes is not None


def _copy_rows(store: Store, arm: Arm) -> int:
    """Give an arm that makes the pictures of another the other's pictures; returns how many were missing."""
    if arm.same_as is None:
        return 0
    missing = [
        row
        for (name, prompt_id, sample), row in store.rows.items()
        if name == arm.same_as and (arm.name, prompt_id, sample) not in store.rows
    ]
    record = next(a for a in store.manifest.arms if a.name == arm.name)
    for row in missing:
        image_id = image_id_for(sha256=row.sha256, arm=arm.name, prompt_id=row.prompt_id, sample_index=row.sample_index)
        copy = {"arm": arm.name, "image_id": image_id, "recipe_hash": record.recipe_hash}
        store.add(row.model_copy(update=copy), (store.folder / row.file_name).read_bytes())
    return len(missing)


def _plan(request: Request, spec: BackboneSpec, steps: int) -> Plan:
    from qsched.backbones import DTYPES, checked_device, default_dtype

    if request.dtype is not None and request.dtype not in DTYPES:
        raise InputError(f"dtype {request.dtype!r} is unknown; choose {', '.join(DTYPES)}")
    if _ADDRESS.match(str(request.out)):
        raise InputError(f"--out {request.out} is an address; an image set is written to a local folder: copy it later")
    device = checked_device(request.device)
    arms = parse_arms(
        request.arms, spec, steps=steps, dtype=request.dtype, default_dtype=default_dtype(request.backbone, device)
    )
    # Before anything is loaded, as far as it can be known then: the files of a hub model may not be here yet.
    weights = model_identity(Path(spec.source)) if spec.is_local else None
    check_origins(arms, spec, weights=weights, steps=steps, allowed=request.allow_other_coefficients)
    return make_plan(
        request.prompts,
        arms,
        samples=request.samples,
        set_seed=request.set_seed,
        batch_size=request.batch_size,
        limit=request.limit,
    )


def _calibration(request: Request, spec: BackboneSpec, plan: Plan) -> CalibrationSource | None:
    """Where statistics come from, if an arm needs any; InputError before anything is loaded if there is nothing."""
    needy = [arm.recipe.name for arm in plan.arms if arm.recipe.statistics]
    if not needy:
        return None
    return calibration_source(
        request.calibration_prompts,
        request.calibration_limit,
        backbone=spec.name,
        precision=needy[0],
        batch_size=request.batch_size,
        folder=request.out / STATISTICS_FOLDER,
    )


def _load(request: Request, arm: Arm) -> Backbone:
    from qsched.backbones import DTYPES, load_backbone

    backbone = load_backbone(
        request.backbone,
        dtype=DTYPES[arm.recipe.dtype_name or arm.base_dtype],
        device=request.device,
        steps=request.steps,
        guidance_scale=request.guidance_scale,
        width=request.width,
        height=request.height,
    )
    if "qsched_coefficients" in backbone.pipeline.scheduler.config:
        raise InputError(
            f"the scheduler in {request.backbone} already carries Q-Sched coefficients, so no arm could be stock; "
            "save the pipeline with `remove_coefficients(pipeline.scheduler)` and name the coefficients in --arms"
        )
    return backbone


def _is_fresh(backbone: Backbone, arm: Arm) -> bool:
    """True for a backbone in the arm's dtype whose denoiser nothing has touched."""
    from qsched.backbones import DTYPES
    from qsched.precision.apply import is_untouched

    return is_untouched(backbone.denoiser) and backbone.dtype is DTYPES[arm.recipe.dtype_name or arm.base_dtype]


def _quantize(
    backbone: Backbone, group: tuple[Arm, ...], store: Store, source: CalibrationSource | None
) -> PrecisionReport:
    """Apply the group's recipe, and write what it measured into the manifest."""
    recipe = group[0].recipe
    report = quantize_backbone(backbone, recipe, source)
    earlier = recorded_statistics(store.manifest, recipe.name)
    if earlier and earlier != report.statistics_sha256:
        raise InputError(
            f"{store.folder}: the statistics of {recipe.name} are not those that its pictures were made with (the "
            f"files in {STATISTICS_FOLDER} or this machine changed); restore them, or pass --overwrite"
        )
    store.replace_manifest(with_precision(store.manifest, {arm.name for arm in group}, report))
    return report


def _missing(store: Store, arm: Arm, batch: tuple[Job, ...]) -> bool:
    return arm.same_as is None and any(
        (arm.name, job.prompt.prompt_id, job.sample_index) not in store.rows for job in batch
    )


def _render(
    backbone: Backbone, arm: Arm, batch: tuple[Job, ...], store: Store, environment: dict[str, str], *, steps: int
) -> tuple[list[ImageRow], list[bytes], int]:
    """Make the whole batch, as always; (rows and pictures that are missing, count of kept ones it contradicts)."""
    import torch

    from qsched.generation.render import encode_png, render_batch

    on_gpu = backbone.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(backbone.device)
    started = time.perf_counter()
    images = render_batch(
        backbone,
        [job.prompt for job in batch],
        [job.seed for job in batch],
        steps=steps,
        coefficients=arm.coefficients,
    )
    seconds = (time.perf_counter() - started) / len(batch)
    peak = torch.cuda.max_memory_allocated(backbone.device) if on_gpu else None
    record = next(a for a in store.manifest.arms if a.name == arm.name)
    commit = environment.get("git_commit")
    rows, pictures, unlike = [], [], 0
    for job, image in zip(batch, images, strict=True):
        png = encode_png(image)
        sha256 = hashlib.sha256(png).hexdigest()
        kept = store.rows.get((arm.name, job.prompt.prompt_id, job.sample_index))
        if kept is not None:
            unlike += kept.sha256 != sha256
            continue
        image_id = image_id_for(
            sha256=sha256, arm=arm.name, prompt_id=job.prompt.prompt_id, sample_index=job.sample_index
        )
        rows.append(
            ImageRow(
                image_id=image_id,
                arm=arm.name,
                prompt_id=job.prompt.prompt_id,
                sample_index=job.sample_index,
                prompt=job.prompt.prompt,
                category=job.prompt.category,
                seed=job.seed,
                width=image.width,
                height=image.height,
                sha256=sha256,
                seconds=round(seconds, 6),
                peak_memory_bytes=peak,
                batch=tuple(other.key for other in batch),
                simulated=record.simulated,
                recipe_hash=record.recipe_hash,
                versions={k: v for k, v in environment.items() if k != "git_commit"},
                git_commit=commit,
            )
        )
        pictures.append(png)
    return rows, pictures, unlike

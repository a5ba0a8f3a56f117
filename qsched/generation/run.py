"""Make a paired image set: plan, load, quantize, render, store; resumable after a kill at any point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from qsched.backbones.families import family_of
from qsched.backbones.identity import identity_of
from qsched.backbones.index import check_folder, pipeline_class
from qsched.backbones.spec import DEFAULT_STEPS, DTYPE_NAMES, BackboneSpec
from qsched.errors import InputError
from qsched.generation.arms import Arm, check_origins, parse_arms
from qsched.generation.executors import (
    Executor,
    ExecutorFactory,
    Loaded,
    Loading,
    Lost,
    Made,
    Task,
    local_executor,
)
from qsched.generation.growth import added_words, check_growth, requests_after, stages_of
from qsched.generation.manifest import asked_hash, recorded_statistics, truncated_ids, with_precision
from qsched.generation.plan import Job, Plan, make_plan
from qsched.generation.prompts import read_prompts
from qsched.generation.quantize import CalibrationSource, calibration_source
from qsched.generation.render import check_company
from qsched.generation.request import ArmSummary, Request, RunProgress, RunReport, Silent
from qsched.generation.store import (
    STATISTICS_FOLDER,
    Store,
    check_free_for,
    check_writable,
    open_store,
    refuse_other_plan,
    shard_folder,
)
from qsched.locations import Location
from qsched.records import ImageRow, Manifest, ShardRecord, image_id_for, read_manifest
from qsched.records.image_set import MANIFEST_NAME
from qsched.threads import in_order, threads_for

if TYPE_CHECKING:
    from qsched.precision.report import PrecisionReport

_COPIED_AT_ONCE = 64


class _Workers:
    """Who does the work; made at the first call, because a finished set needs nobody."""

    def __init__(self, make: Callable[[], Executor]) -> None:
        self._make = make
        self._made: Executor | None = None

    def __call__(self) -> Executor:
        if self._made is None:
            self._made = self._make()
        return self._made

    def close(self) -> None:
        if self._made is not None:
            self._made.close()


@dataclass
class _RunTally:
    """What a run has done so far."""

    seconds: dict[str, list[float]]
    reports: dict[str, PrecisionReport] = field(default_factory=dict)
    unlike: int = 0
    lost: list[str] = field(default_factory=list)


def generate_pairs(
    request: Request, *, progress: RunProgress | None = None, executor: ExecutorFactory | None = None
) -> RunReport:
    """Make, finish or grow the image set that `request` describes, and its contact sheet.

    executor    who does the work; None: this process

    Raises InputError before the first image for anything wrong with the request; an interrupted run is
    finished by the same call.
    """
    progress = progress or Silent()
    spec = request.spec()
    steps = request.steps or spec.steps or DEFAULT_STEPS
    folder = request.out if request.shard is None else shard_folder(request.out, *request.shard)
    found, plan = planned(request, spec, steps)
    check_writable(folder)
    source = _calibration(request, spec, plan)
    asked = asked_hash(request, spec, plan, source)
    # Whoever asks the same of the same weights and libraries has the manifest; nothing is loaded to write it again.
    known = None if found is None or asked is None or found.provenance.get("asked_sha256") != asked else found
    workers = _Workers(lambda: executor(request, plan, source) if executor else local_executor(request, plan, source))
    try:
        described = known or workers().describe()
        manifest = _manifest(described, found, plan, asked)
        weights = manifest.provenance["backbone_weights"]
        check_origins(plan.arms, spec, weights=str(weights), steps=steps, allowed=request.allow_other_coefficients)
        tally = _RunTally({arm.name: [] for arm in plan.arms})
        with open_store(folder, manifest, planned=plan.jobs(), overwrite=request.overwrite) as store:
            kept, remade = len(store.rows), store.dropped
            progress.planned(plan.n_images, kept)
            tasks = _tasks(plan, store)
            if tasks and known:  # now it is loaded, and has to be what the set was made with
                refuse_other_plan(folder, store.manifest, _manifest(workers().describe(), found, plan, asked))
            for event in workers().run(tasks) if tasks else ():
                if isinstance(event, Loading):
                    progress.loading((event.arm,))
                elif isinstance(event, Loaded):
                    _keep_report(event, plan, store, tally)
                    progress.loaded(event.report)
                elif isinstance(event, Lost):
                    tally.lost.append(event.reason)
                else:
                    progress.advanced(event.task.arm, _keep_pictures(event, store, tally))
            for arm in plan.arms:
                if copied := _copy_rows(store, arm):
                    progress.advanced(arm, copied)
            store.put_in_order(_order(plan))
            sheet = None if request.shard else _contact_sheet(folder)
            made = len(store.rows) - kept
    finally:
        workers.close()
    return RunReport(
        folder=folder,
        n_images=plan.n_images,
        made=made,
        kept=kept,
        remade=remade,
        unlike=tally.unlike,
        truncated=truncated_ids(manifest),
        assumed=_assumed(manifest),
        arms=tuple(_summary(arm, tally) for arm in plan.arms),
        contact_sheet=sheet,
        notes=tuple(_notes(request, plan, found, manifest, tally)),
    )


def _contact_sheet(folder: Location) -> Location:
    from qsched.generation.sheet import write_contact_sheet  # Jinja, which a request with a mistake does not need

    return write_contact_sheet(folder)


def planned(request: Request, spec: BackboneSpec, steps: int) -> tuple[Manifest | None, Plan]:
    """(manifest of the set that is there, what the request makes of it), checked before anything is loaded."""
    if request.dtype is not None and request.dtype not in DTYPE_NAMES:
        raise InputError(f"dtype {request.dtype!r} is unknown; choose {', '.join(DTYPE_NAMES)}")
    if request.vae_dtype is not None and request.vae_dtype not in DTYPE_NAMES:
        raise InputError(f"--vae-dtype {request.vae_dtype!r} is unknown; choose {', '.join(DTYPE_NAMES)}")
    # First what needs no torch: importing it takes seconds, and a typo should not.
    _check_offload(request, parse_arms(request.arms, spec, steps=steps, dtype=request.dtype, default_dtype="fp32"))
    read_prompts(request.prompts, layout=request.prompts_format)
    if spec.is_local:
        check_folder(Path(spec.source), spec.source)
        family = spec.family or family_of(pipeline_class(Path(spec.source)))
        check_company(family, request.batch_size, name=spec.name)
    default_dtype = spec.gpu_dtype if is_on_gpu(request.device) else "fp32"
    arms = parse_arms(request.arms, spec, steps=steps, dtype=request.dtype, default_dtype=default_dtype)
    # Before anything is loaded, as far as it can be known then: the files of a hub model may not be here yet.
    weights = identity_of(spec)
    check_origins(arms, spec, weights=weights, steps=steps, allowed=request.allow_other_coefficients)
    check_free_for(request.out, request.shard)
    folder = request.out if request.shard is None else shard_folder(request.out, *request.shard)
    is_there = (folder / MANIFEST_NAME).exists() and not request.overwrite
    found = read_manifest(folder) if is_there else None
    plan = make_plan(
        request.prompts,
        arms,
        samples=request.samples,
        set_seed=request.set_seed,
        batch_size=request.batch_size,
        limit=request.limit,
        earlier=() if found is None else stages_of(found),
        shard=request.shard,
        prompts_format=request.prompts_format,
    )
    if found is not None:
        check_growth(folder, found, plan)
    return found, plan


def _check_offload(request: Request, arms: Sequence[Arm]) -> None:
    """InputError for arms whose packed tensors accelerate cannot take to a device and back, layer by layer."""
    packed = [arm.recipe.name for arm in arms if arm.recipe.method.startswith(("torchao", "bitsandbytes"))]
    if request.offload == "sequential" and packed:
        raise InputError(
            f"--offload sequential: the packed tensors of {packed[0]} cannot be moved layer by layer; use --offload "
            "model, or leave this arm out"
        )


def is_on_gpu(device: str) -> bool:
    """True if the device is a GPU; a GPU that is not there, or an unknown device, is an error."""
    if device == "cpu":
        return False
    from qsched.backbones import checked_device

    return checked_device(device).type == "cuda"


def _manifest(described: Manifest, found: Manifest | None, plan: Plan, asked: str | None) -> Manifest:
    """What the workers described, with the requests of the set and the part that is made here."""
    shard = None
    if plan.shard is not None:
        batches = tuple(tuple(job.key for job in batch) for batch in plan.batches())
        shard = ShardRecord(index=plan.shard[0], count=plan.shard[1], batches=batches)
    requests = requests_after(found, plan, datetime.now(UTC).replace(microsecond=0))
    provenance = described.provenance if asked is None else {**described.provenance, "asked_sha256": asked}
    return described.model_copy(update={"requests": requests, "shard": shard, "provenance": provenance})


def _tasks(plan: Plan, store: Store) -> list[Task]:
    """The batches that miss a picture, and an empty one for each precision that was never measured."""
    tasks = []
    batches = plan.batches()
    for group in plan.by_precision():
        todo = [Task(arm, batch) for arm in group for batch in batches if _missing(store, arm, batch)]
        if not todo and not _is_measured(store, group[0]):
            todo = [Task(group[0], ())]
        tasks += todo
    return tasks


def _order(plan: Plan) -> list[tuple[str, str, int]]:
    """The places of all rows as an uninterrupted run in one process writes them."""
    batches = plan.batches()
    order = []
    for group in plan.by_precision():
        for arm in sorted(group, key=lambda arm: arm.same_as is not None):  # copies come last
            order += [(arm.name, job.prompt.prompt_id, job.sample_index) for batch in batches for job in batch]
    return order


def _missing(store: Store, arm: Arm, batch: tuple[Job, ...]) -> bool:
    return arm.same_as is None and any(
        (arm.name, job.prompt.prompt_id, job.sample_index) not in store.rows for job in batch
    )


def _is_measured(store: Store, arm: Arm) -> bool:
    return next(a for a in store.manifest.arms if a.name == arm.name).denoiser_bytes is not None


def _keep_report(event: Loaded, plan: Plan, store: Store, tally: _RunTally) -> None:
    """Write what a precision measured into the manifest; InputError if its statistics are not the earlier ones."""
    name, report = event.arm.recipe.name, event.report
    earlier = recorded_statistics(store.manifest, name)
    if earlier and earlier != report.statistics_sha256:
        raise InputError(
            f"{store.folder}: the statistics of {name} are not those that its pictures were made with (the "
            f"files in {STATISTICS_FOLDER} or this machine changed); restore them, or pass --overwrite"
        )
    tally.reports[name] = report
    group = {arm.name for arm in plan.arms if (arm.recipe.name, arm.base_dtype) == (name, event.arm.base_dtype)}
    store.replace_manifest(with_precision(store.manifest, group, report))


def _keep_pictures(event: Made, store: Store, tally: _RunTally) -> int:
    """Store those that are missing, and count the kept ones that came out different; returns how many were stored."""
    missing = []
    for picture in event.pictures:
        row = picture.row
        kept = store.rows.get((row.arm, row.prompt_id, row.sample_index))
        if kept is not None:
            tally.unlike += kept.sha256 != row.sha256
            continue
        missing.append((row, picture.png))
        tally.seconds[row.arm].append(row.seconds or 0.0)
    store.add(missing)
    return len(missing)


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

    def copy(row: ImageRow) -> tuple[ImageRow, bytes]:
        image_id = image_id_for(sha256=row.sha256, arm=arm.name, prompt_id=row.prompt_id, sample_index=row.sample_index)
        values = {"arm": arm.name, "image_id": image_id, "recipe_hash": record.recipe_hash}
        return row.model_copy(update=values), (store.folder / row.file_name).read_bytes()

    for start in range(0, len(missing), _COPIED_AT_ONCE):
        some = missing[start : start + _COPIED_AT_ONCE]
        store.add(list(in_order(copy, some, threads=threads_for(store.folder))))
    return len(missing)


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
        # A set that grows in other batches keeps its statistics.
        batch_size=plan.stages[0].batch_size,
        folder=request.out / STATISTICS_FOLDER,
    )


def _summary(arm: Arm, tally: _RunTally) -> ArmSummary:
    seconds = tally.seconds[arm.name]
    return ArmSummary(
        name=arm.name,
        images_made=len(seconds),
        seconds_per_image=sum(seconds) / len(seconds) if seconds else None,
        report=tally.reports.get(arm.recipe.name),
        same_as=arm.same_as,
    )


def _assumed(manifest: Manifest) -> tuple[str, ...]:
    assumed = manifest.provenance["assumed"]
    return tuple(str(one) for one in assumed) if isinstance(assumed, list) else ()


def _notes(request: Request, plan: Plan, found: Manifest | None, manifest: Manifest, tally: _RunTally) -> list[str]:
    notes = []
    if tally.lost:
        notes.append(f"{len(tally.lost)} worker(s) died and were replaced; the last one: {tally.lost[-1]}")
    if found is not None and (added := added_words(found, manifest)):
        notes.append(f"the set grew by {added}; what it had is unchanged")
    if request.batch_size != plan.batch_size:
        notes.append(
            f"--batch-size {request.batch_size} is for new prompts and samples, and there are none: pictures that were "
            f"asked for earlier keep their batches of {plan.batch_size}"
        )
    return notes

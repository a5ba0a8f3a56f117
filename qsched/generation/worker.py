"""A worker: one loaded backbone that takes on precisions and makes batches, in this process or in one of its own."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qsched.backbones.imports import import_model_libraries
from qsched.errors import InputError
from qsched.generation.arms import Arm
from qsched.generation.manifest import environment_here, make_manifest
from qsched.generation.plan import Job, Plan
from qsched.generation.quantize import CalibrationSource, quantize_backbone
from qsched.generation.request import Request
from qsched.generation.statistics_folder import statistics_folder
from qsched.records import ImageRow, Manifest, image_id_for

if TYPE_CHECKING:
    from qsched.backbones import Backbone
    from qsched.precision.report import PrecisionReport


@dataclass(frozen=True)
class FinishedImage:
    """A finished image: its row, and the bytes of its PNG."""

    row: ImageRow
    png: bytes


class Worker:
    """Makes batches of a plan; holds one backbone in memory, in one precision at a time.

    source    where statistics of calibration prompts come from, if an arm needs any
    """

    def __init__(self, request: Request, plan: Plan, source: CalibrationSource | None) -> None:
        import_model_libraries(request.spec())
        import torch

        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        self._request = request
        self._plan = plan
        self._source = source
        self._backbone: Backbone | None = None
        self._expected: list[tuple[str, ...]] = []
        self._environment = environment_here()

    def describe(self) -> Manifest:
        """The manifest of the set as this worker's machine makes it; loads the backbone."""
        backbone = self._loaded(self._plan.arms[0])
        return make_manifest(self._plan, backbone, calibration=None if self._source is None else self._source.to_dict())

    def expect(self, batches: Iterable[tuple[Job, ...]]) -> None:
        """The batches that may come: their prompts are read before a denoiser is loaded."""
        texts = [tuple(job.prompt.prompt for job in batch) for batch in batches if batch]
        if self._source is not None:
            texts += [tuple(prompt.prompt for prompt in batch) for batch in self._source.batches()]
        self._expected = list(dict.fromkeys(texts))

    def apply(self, arm: Arm) -> PrecisionReport:
        """Bring the backbone into the arm's precision, afresh."""
        backbone = self._loaded(arm)
        backbone.read_texts(self._expected)
        if self._source is None or not arm.recipe.statistics:
            return quantize_backbone(backbone, arm.recipe, None)
        with statistics_folder(self._source.folder) as folder:
            return quantize_backbone(backbone, arm.recipe, replace(self._source, folder=folder))

    def render(self, arm: Arm, batch: tuple[Job, ...]) -> list[FinishedImage]:
        """The pictures of a whole batch; the arm's precision has been applied."""
        import torch

        from qsched.generation.render import encode_png, render_batch

        backbone = self._backbone
        assert backbone is not None, "apply comes first"
        on_gpu = backbone.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(backbone.device)
        started = time.perf_counter()
        images = render_batch(
            backbone,
            [job.prompt for job in batch],
            [job.seed for job in batch],
            steps=backbone.steps,
            coefficients=arm.coefficients,
        )
        seconds = (time.perf_counter() - started) / len(batch)
        peak = torch.cuda.max_memory_allocated(backbone.device) if on_gpu else None
        record = arm.record()
        made = []
        for job, image in zip(batch, images, strict=True):
            png = encode_png(image)
            sha256 = hashlib.sha256(png).hexdigest()
            row = ImageRow(
                image_id=image_id_for(
                    sha256=sha256, arm=arm.name, prompt_id=job.prompt.prompt_id, sample_index=job.sample_index
                ),
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
                versions={k: v for k, v in self._environment.items() if k != "git_commit"},
                git_commit=self._environment.get("git_commit"),
            )
            made.append(FinishedImage(row, png))
        return made

    def _loaded(self, arm: Arm) -> Backbone:
        """The backbone in the arm's base dtype, with a denoiser that nothing has touched, or with none yet."""
        from qsched.precision.apply import is_untouched

        backbone = self._backbone
        if backbone is not None and _has_dtype(backbone, arm):
            if is_untouched(backbone.denoiser):
                return backbone
            if backbone.slot is not None and backbone.slot.can_renew:
                backbone.slot.renew()
                return backbone
        if backbone is not None:
            # The old denoiser goes before the new one comes: there may be room for one only.
            self._backbone = backbone = None
            _free_memory()
        self._backbone = _load(self._request, arm, self._plan)
        return self._backbone


def _load(request: Request, arm: Arm, plan: Plan) -> Backbone:
    from qsched.backbones import DTYPES, load_backbone

    dtype = arm.recipe.dtype_name or arm.base_dtype
    backbone = load_backbone(
        request.spec(),
        dtype=DTYPES[dtype],
        device=request.device,
        steps=request.steps,
        guidance_scale=request.guidance_scale,
        width=request.width,
        height=request.height,
        call_options=request.call_options(),
        vae_dtype=None if request.vae_dtype is None else DTYPES[request.vae_dtype],
        offload=request.offload,
        compiled=request.compiled,
        later_denoiser=True,
        methods=[other.recipe.method for other in plan.arms if (other.recipe.dtype_name or other.base_dtype) == dtype],
    )
    if "qsched_coefficients" in backbone.pipeline.scheduler.config:
        raise InputError(
            f"the scheduler in {request.backbone} already carries Q-Sched coefficients, so no arm could be stock; "
            "save the pipeline with `remove_coefficients(pipeline.scheduler)` and name the coefficients in --arms"
        )
    return backbone


def _has_dtype(backbone: Backbone, arm: Arm) -> bool:
    from qsched.backbones import DTYPES

    return backbone.dtype is DTYPES[arm.recipe.dtype_name or arm.base_dtype]


def _free_memory() -> None:
    from qsched.backbones.slot import give_back_memory

    give_back_memory()

"""Before it costs: what a calibration will take (`--dry-run`), and whether there is anything to repair (`--probe`).

A dry run loads and quantizes the model and renders one small batch, because bytes and seconds are measured and not
guessed; it writes nothing. A probe runs the closed-form fit without any scorer: N S model evaluations of each model.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from qsched.backbones import Backbone
from qsched.calibration.calibrate import planned_nfe, planned_pictures_of, seeds_of
from qsched.calibration.command import (
    CalibrationRequest,
    check_request,
    load_for,
    load_judge_for,
    load_objective,
    quantize_for,
    run_in_full,
    split_prompts,
)
from qsched.calibration.errors import CalibrationError
from qsched.calibration.least_squares import Fit, fit_steps
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.trajectory import BatchRow, TrajectoryRenderer
from qsched.generation import Prompt
from qsched.precision import PrecisionReport, tensor_bytes
from qsched.scheduling import Coefficients

TIMED_PROMPTS = 4
EXAMPLES = 3


@dataclass(frozen=True)
class Preview:
    """What a calibration takes at most, and what one small batch took.

    search_nfe, check_nfe      model evaluations of the search, and of the held-out check with its control
    decodes                    pictures that are decoded and scored
    full_bytes, quantized_bytes, packed_bytes    the denoiser in full precision, quantized in memory, and if packed
    """

    search_nfe: int
    check_nfe: int
    decodes: int
    full_bytes: int
    quantized_bytes: int
    packed_bytes: int | None
    timed: int
    seconds_per_nfe: float
    seconds_per_decode: float
    seconds_per_score: float

    @property
    def seconds(self) -> float:
        """The estimate for all of it, at the pace of the timed batch; loading is not in it."""
        nfe = (self.search_nfe + self.check_nfe) * self.seconds_per_nfe
        return nfe + self.decodes * (self.seconds_per_decode + self.seconds_per_score)


@dataclass(frozen=True)
class PlannedWork:
    """What a calibration takes at most, known without a model; the fields are those of `Preview`."""

    search_nfe: int
    check_nfe: int
    decodes: int


def planned_work(
    settings: CalibrationSettings, *, steps: int, n_prompts: int, n_heldout: int, models: int
) -> PlannedWork:
    """Count the work; `models` is 2 with a control on full precision, else 1."""
    family = settings.family_for(steps)
    tuned = 2 if settings.is_closed_form else 1
    check = models * (n_heldout * steps + tuned * n_heldout * (steps - 1))
    examples = EXAMPLES * (steps - 1) * (1 + tuned)
    decodes = planned_pictures_of(settings, family, n_prompts) + models * (1 + tuned) * n_heldout
    return PlannedWork(
        search_nfe=planned_nfe(settings, family, n_prompts),
        check_nfe=check + examples,
        decodes=decodes + EXAMPLES * (1 + tuned + models - 1),
    )


def preview_calibration(request: CalibrationRequest) -> Preview:
    """Load, quantize, time one batch, and count."""
    check_request(request)
    prompts, heldout = split_prompts(request)
    backbone = load_for(request)
    full_bytes = tensor_bytes(backbone.denoiser)
    report = _quantized(request, backbone, prompts)
    steps, settings = backbone.steps, request.settings
    models = 2 if request.control and backbone_has_control(request) else 1
    work = planned_work(settings, steps=steps, n_prompts=len(prompts), n_heldout=len(heldout), models=models)
    timed = prompts[: min(TIMED_PROMPTS, settings.batch_rows)]
    objective = load_objective(request, str(backbone.device.type))
    load_judge_for(request, objective, str(backbone.device.type))  # one that cannot be loaded is said now
    rows = [
        BatchRow(p, seed, Coefficients.constant()) for p, seed in zip(timed, seeds_of(timed, settings), strict=True)
    ]
    warm = TrajectoryRenderer(backbone, steps=steps, batch_rows=settings.batch_rows)
    warm.render(rows[:1])
    renderer = TrajectoryRenderer(backbone, steps=steps, batch_rows=settings.batch_rows)
    with (
        _timed(backbone.denoiser, "forward", backbone) as model,
        _timed(backbone.pipeline.vae, "decode", backbone) as vae,
    ):
        images = renderer.render(rows)
    started = time.perf_counter()
    objective.score(images, [p.prompt for p in timed])
    scoring = time.perf_counter() - started
    return Preview(
        search_nfe=work.search_nfe,
        check_nfe=work.check_nfe,
        decodes=work.decodes,
        full_bytes=full_bytes,
        quantized_bytes=report.resident_bytes,
        packed_bytes=report.packed_bytes,
        timed=len(timed),
        seconds_per_nfe=sum(model) / renderer.nfe,
        seconds_per_decode=sum(vae) / len(images),
        seconds_per_score=scoring / len(images),
    )


def probe_calibration(request: CalibrationRequest) -> Fit:
    """The fit with a bias and a pair per step, whose shares say how much of a step's error is linear at all."""
    if not request.settings.is_closed_form:
        raise CalibrationError(f"--probe fits in closed form; leave --strategy {request.settings.strategy} out")
    check_request(request)
    prompts, _ = split_prompts(request)
    backbone = load_for(request)
    full = run_in_full(backbone, request.settings, prompts)
    _quantized(request, backbone, prompts)
    renderer = TrajectoryRenderer(backbone, steps=backbone.steps, batch_rows=request.settings.batch_rows)
    return fit_steps(renderer, full, prompts, seeds_of(prompts, request.settings), "bias and scalars")


def backbone_has_control(request: CalibrationRequest) -> bool:
    """False for a precision that is a dtype: there is no other full precision."""
    from qsched.precision import find_recipe

    return find_recipe(request.precision).dtype_name is None


def _quantized(request: CalibrationRequest, backbone: Backbone, prompts: list[Prompt]) -> PrecisionReport:
    """Quantize the backbone; statistics that the precision needs are not kept."""
    with tempfile.TemporaryDirectory() as folder:
        return quantize_for(replace(request, out=Path(folder) / request.out.name), backbone, prompts)


@contextmanager
def _timed(owner: Any, method: str, backbone: Backbone) -> Iterator[list[float]]:
    """The seconds of every call of a method while the block runs."""
    seconds: list[float] = []
    own = vars(owner).get(method)
    stock: Callable[..., Any] = getattr(owner, method)

    def wait() -> None:
        if backbone.device.type == "cuda":
            torch.cuda.synchronize(backbone.device)

    def call(*args: Any, **kwargs: Any) -> Any:
        wait()
        started = time.perf_counter()
        result = stock(*args, **kwargs)
        wait()
        seconds.append(time.perf_counter() - started)
        return result

    setattr(owner, method, call)
    try:
        yield seconds
    finally:
        delattr(owner, method)
        if own is not None:
            setattr(owner, method, own)

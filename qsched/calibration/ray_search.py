"""`qsched calibrate --executor ray`: workers of a Ray cluster measure the batches of a search.

The search asks for the values of many (candidate, prompt) pairs at a time; the batches of one question depend on
nothing else, so each worker takes the next one. Every worker has the quantized model and the objective, and evaluates
the first step of all prompts once, which the search's NFE count. This process chooses the candidates, writes the
journal, and makes the held-out check with a model of its own.

Batches are those of one process. Families in which two candidates can share their first steps' coefficients
(per-step) reuse what the same worker has evaluated, so their last bits may differ from a run in one process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from qsched.calibration.errors import CalibrationError
from qsched.calibration.evaluate import BatchTerms
from qsched.calibration.settings import CalibrationSettings
from qsched.generation.ray_pool import Done, RayPool, absolute, absolute_loras, absolute_scorer
from qsched.process import claim_process

if TYPE_CHECKING:
    from qsched.calibration.command import CalibrationRequest
    from qsched.scheduling import Coefficients

#: (which batch of a question, its candidates and the numbers of their prompts)
Batch = tuple[int, tuple[tuple["Coefficients", int], ...]]


def check_for_workers(settings: CalibrationSettings) -> None:
    """CalibrationError for a search whose pictures cannot be handed out."""
    if settings.is_closed_form:
        raise CalibrationError(
            f"--executor ray with --strategy {settings.strategy}: it makes too few pictures to hand out; add "
            "--strategy race or grid, or leave --executor out"
        )
    if settings.budget.nfe is not None or settings.budget.minutes is not None:
        raise CalibrationError("--executor ray with a budget: what workers have begun is not stopped; leave one out")
    if settings.decodes_early:
        raise CalibrationError("--executor ray with --early-decode: workers make whole pictures; leave one of them out")


class RayMeasurer:
    """Measures batches by workers; an `Evaluator` takes it as `measurer`."""

    def __init__(self, request: CalibrationRequest, *, workers: int | None = None) -> None:
        weights = {name: absolute(value) for name, value in request.weights.items()}
        there = replace(
            request,
            backbone=absolute(request.backbone),
            loras=absolute_loras(request.loras),
            prompts=request.prompts.resolve(),
            heldout=None if request.heldout is None else request.heldout.resolve(),
            out=request.out.resolve(),
            tc=absolute_scorer(request.tc),
            iq=absolute_scorer(request.iq),
            weights=weights,
        )
        self._pool = RayPool[Batch](_SearchWorker, (there,), device=request.device, workers=workers, doing=_doing)

    def measure(self, batches: Sequence[Sequence[tuple[Coefficients, int]]]) -> Iterator[tuple[int, BatchTerms]]:
        """(number of the batch, its terms) as they come."""
        tasks = [(number, tuple(batch)) for number, batch in enumerate(batches)]
        for event in self._pool.run(tasks, None) if tasks else ():
            if isinstance(event, Done):
                yield event.task[0], event.answer

    def close(self) -> None:
        """Let the workers go."""
        self._pool.close()


class _SearchWorker:
    """The quantized model and the objective, in a process of its own."""

    def __init__(self, request: CalibrationRequest, threads: int | None) -> None:
        import torch

        from qsched.backbones import checked_device, quiet_libraries
        from qsched.calibration.calibrate import seeds_of
        from qsched.calibration.command import load_for, load_objective, quantize_for, split_prompts
        from qsched.calibration.evaluate import LocalMeasurer
        from qsched.calibration.trajectory import TrajectoryRenderer

        claim_process()
        quiet_libraries()
        if threads is not None:
            torch.set_num_threads(threads)
        prompts, _ = split_prompts(request)
        backbone = load_for(request)
        quantize_for(request, backbone, prompts)
        renderer = TrajectoryRenderer(backbone, steps=backbone.steps, batch_rows=request.settings.batch_rows)
        objective = load_objective(request, str(checked_device(request.device)))
        self._measurer = LocalMeasurer(renderer, objective, prompts, seeds_of(prompts, request.settings))

    def ready(self, _preparation: None) -> bool:
        return True

    def do(self, batch: Batch) -> BatchTerms:
        return self._measurer.measure_one(batch[1])


def _doing(batch: Batch) -> str:
    candidate, prompt = batch[1][0]
    return f"measuring {candidate.words} on prompt {prompt + 1} and the rest of its batch"

"""`--executor ray`: the batches of a plan, made by the workers of a Ray cluster (ray_pool.py).

Batches are those of the plan, so the bytes are those of one process with the same hardware and thread count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from qsched.generation.executors import Event, Loaded, Loading, Lost, Made, Task
from qsched.generation.plan import Job, Plan
from qsched.generation.quantize import CalibrationSource
from qsched.generation.ray_pool import Begun, Gone, RayPool, absolute, absolute_loras
from qsched.generation.request import Request
from qsched.generation.worker import FinishedImage, Worker
from qsched.process import claim_process
from qsched.records import Manifest

if TYPE_CHECKING:
    from qsched.precision.report import PrecisionReport


class _Actor:
    """A worker in a process of its own; it takes on a precision when a task needs another than the last one."""

    def __init__(self, request: Request, plan: Plan, source: CalibrationSource | None, threads: int | None) -> None:
        import torch

        from qsched.backbones import quiet_libraries

        claim_process()
        quiet_libraries()
        if threads is not None:
            torch.set_num_threads(threads)
        self._worker = Worker(request, plan, source)
        self._applied: tuple[str, str] | None = None

    def ready(self, batches: list[tuple[Job, ...]]) -> bool:
        self._worker.expect(batches)
        return True

    def describe(self) -> Manifest:
        return self._worker.describe()

    def do(self, task: Task) -> tuple[PrecisionReport | None, list[FinishedImage]]:
        report = None
        if task.precision != self._applied:
            report = self._worker.apply(task.arm)
            self._applied = task.precision
        return report, self._worker.render(task.arm, task.batch) if task.batch else []


class RayExecutor:
    """Workers in the Ray cluster of RAY_ADDRESS, or in one of this machine that ends with the run."""

    def __init__(
        self, request: Request, plan: Plan, source: CalibrationSource | None, *, workers: int | None = None
    ) -> None:
        there = replace(request, backbone=absolute(request.backbone), loras=absolute_loras(request.loras))
        statistics = None if source is None else replace(source, folder=source.folder.resolve())
        self._pool = RayPool[Task](
            _Actor, (there, plan, statistics), device=request.device, workers=workers, doing=_doing
        )

    def describe(self) -> Manifest:
        """The manifest as the first worker makes it."""
        manifest: Manifest = self._pool.ask_first("describe")
        return manifest

    def run(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """Hand each worker its next task when it is done with the last one."""
        begun = set[tuple[str, str]]()
        for event in self._pool.run(tasks, list(dict.fromkeys(task.batch for task in tasks))):
            if isinstance(event, Gone):
                yield Lost(event.reason)
            elif isinstance(event, Begun):
                if event.task.precision not in begun:
                    begun.add(event.task.precision)
                    yield Loading(event.task.arm)
            else:
                yield from _events(event.task, *event.answer)

    def close(self) -> None:
        """End the workers, and the cluster if it was started here."""
        self._pool.close()


def _events(task: Task, report: PrecisionReport | None, pictures: Sequence[FinishedImage]) -> Iterator[Event]:
    if report is not None:
        yield Loaded(task.arm, report)
    if pictures:
        yield Made(task, pictures)


def _doing(task: Task) -> str:
    first = f"{task.batch[0].key} and the rest of its batch" if task.batch else "no picture"
    return f"making {first} in {task.arm.name}"

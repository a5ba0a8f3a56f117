"""`--executor ray`: one worker for each GPU (or share of the CPUs) of a Ray cluster; each pulls its next batch.

The caller keeps every picture as it comes, so a lost worker or node loses at most the batches in flight. A worker that
crashes is replaced, and its batch is made again; a batch that crashes three workers ends the run. Batches are those of
the plan, so the bytes are those of one process with the same hardware and thread count.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsched.errors import InputError, MissingExtraError, QschedError
from qsched.generation.executors import Event, Loaded, Loading, Lost, Made, Task
from qsched.generation.plan import Job, Plan
from qsched.generation.quantize import CalibrationSource
from qsched.generation.request import Request
from qsched.generation.worker import FinishedImage, Worker
from qsched.process import claim_process
from qsched.records import Manifest

if TYPE_CHECKING:
    from qsched.precision.report import PrecisionReport

MOST_CRASHES = 3
SECONDS_FOR_A_WORKER = 900.0


class WorkerCrash(QschedError):
    """Workers died or did not start; what was made is kept, and the same command goes on."""


# What a reference refers to: the place of its worker, and the task; None: the worker only said that it is there.
Flying = dict[Any, tuple[int, Task | None]]


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
    """Workers in a Ray cluster: the one in RAY_ADDRESS, or one that is started on this machine and ends with the run.

    workers    how many; None: one for each GPU, or one for each CPU if there is no GPU or the device is cpu
    """

    def __init__(
        self, request: Request, plan: Plan, source: CalibrationSource | None, *, workers: int | None = None
    ) -> None:
        # Nothing is reported to anybody.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingExtraError("ray", "ray") from error
        if request.device not in ("auto", "cpu", "cuda"):
            raise InputError(f"device {request.device}: Ray chooses the GPU of each worker; write auto, cpu or cuda")
        self._ray: Any = ray
        self._started_here = not ray.is_initialized()
        if self._started_here:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        total: dict[str, float] = self._ray.cluster_resources()
        gpus = 0 if request.device == "cpu" else int(total.get("GPU", 0))
        cpus = int(total.get("CPU", 1))
        if request.device == "cuda" and not gpus:
            self.close()
            raise InputError("device cuda: the Ray cluster has no GPU; use --device cpu, or add a node with one")
        self._n = workers or gpus or cpus
        if self._n > (gpus or cpus):
            self.close()
            kind = "GPUs" if gpus else "CPUs"
            raise InputError(f"workers {self._n}: the Ray cluster has {gpus or cpus} {kind}; ask for at most that")
        share = max(1, cpus // self._n)
        options: dict[str, Any] = {"num_gpus": 1, "num_cpus": 1} if gpus else {"num_cpus": share}
        stated = os.environ.get("OMP_NUM_THREADS", "")
        threads = int(stated) if stated.isdigit() and int(stated) > 0 else (None if gpus else share)
        self._class = ray.remote(_Actor).options(max_restarts=0, **options)
        # A worker may run in another folder than this process.
        loras = tuple(replace(lora, source=_absolute(lora.source)) for lora in request.loras)
        there = replace(request, backbone=_absolute(request.backbone), loras=loras)
        statistics = None if source is None else replace(source, folder=source.folder.resolve())
        self._arguments = (there, plan, statistics, threads)
        self._actors = [self._new() for _ in range(self._n)]

    def describe(self) -> Manifest:
        """The manifest as the first worker makes it."""
        for _ in range(MOST_CRASHES):
            try:
                found: Manifest = self._get(self._actors[0].describe.remote())
                return found
            except self._ray.exceptions.RayActorError as error:
                crash = error
                self._actors[0] = self._new()
        raise WorkerCrash(f"{MOST_CRASHES} workers died while they loaded the model: {_first_line(crash)}")

    def run(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """Hand each worker its next task when it is done with the last one."""
        queue, crashes, begun = deque(tasks), Counter[str](), set[tuple[str, str]]()
        batches = self._ray.put(list(dict.fromkeys(task.batch for task in tasks)))
        flying: Flying = {actor.ready.remote(batches): (slot, None) for slot, actor in enumerate(self._actors)}
        free: list[int] = []
        asked_again: set[int] = set()  # idle workers, whether they are still there
        # A worker that waits for room on a lost node is not waited for once the work is done.
        while queue or any(task is not None for _, task in flying.values()):
            reference = self._next_done(flying)
            slot, task = flying.pop(reference)
            answer: Any = None
            try:
                answer = self._get(reference)
                free.append(slot)
                asked_again.discard(slot)
            except self._ray.exceptions.RayActorError as error:
                if slot not in asked_again:
                    crashes[_name(task)] += 1
                    _refuse_third_crash(task, crashes[_name(task)], error)
                yield Lost(_first_line(error))
                queue.extendleft([] if task is None else [task])
                # A lost node takes idle workers with it: they get no batch before they have answered.
                asked_again |= set(free)
                flying |= {self._actors[idle].ready.remote(batches): (idle, None) for idle in free}
                free.clear()
                asked_again.discard(slot)
                self._actors[slot] = self._new()
                flying[self._actors[slot].ready.remote(batches)] = (slot, None)
            while queue and free:  # also one that had nothing to do any more takes what a lost worker left
                chosen, following = free.pop(), queue.popleft()
                flying[self._actors[chosen].do.remote(following)] = (chosen, following)
                if following.precision not in begun:
                    begun.add(following.precision)
                    yield Loading(following.arm)
            if task is not None and answer is not None:
                yield from _events(task, *answer)

    def close(self) -> None:
        """End the workers, and the cluster if it was started here."""
        for actor in getattr(self, "_actors", ()):
            self._ray.kill(actor)
        if self._started_here:
            self._ray.shutdown()

    def _new(self) -> Any:
        return self._class.remote(*self._arguments)

    def _get(self, reference: Any) -> Any:
        """What a worker returned; an error of ours is raised as itself."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, QschedError):
                raise error.cause from None
            raise

    def _next_done(self, flying: Flying) -> Any:
        """The reference of whoever is done first; WorkerCrash if nobody works and nobody comes."""
        works = any(task is not None for _, task in flying.values())
        done, _ = self._ray.wait(list(flying), num_returns=1, timeout=None if works else SECONDS_FOR_A_WORKER)
        if not done:
            raise WorkerCrash(
                f"no worker could start in {SECONDS_FOR_A_WORKER / 60:.0f} minutes; what was made is kept. See that "
                "the cluster has room (`ray status`), and run the same command again"
            )
        return done[0]


def _events(task: Task, report: PrecisionReport | None, pictures: Sequence[FinishedImage]) -> Iterator[Event]:
    if report is not None:
        yield Loaded(task.arm, report)
    if pictures:
        yield Made(task, pictures)


def _refuse_third_crash(task: Task | None, crashes: int, error: Exception) -> None:
    if crashes == MOST_CRASHES:
        raise WorkerCrash(
            f"{MOST_CRASHES} workers died while {_name(task)}: {_first_line(error)}. What was made is kept. If memory "
            "ran out, use fewer --workers; then run the same command again"
        ) from error


def _name(task: Task | None) -> str:
    """What a worker was doing, for a message."""
    if task is None:
        return "starting"
    first = f"{task.batch[0].key} and the rest of its batch" if task.batch else "no picture"
    return f"making {first} in {task.arm.name}"


def _absolute(name: str) -> str:
    """A path that exists, as seen from every folder; anything else is the name of a backbone or of a hub model."""
    return str(Path(name).resolve()) if Path(name).exists() else name


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__

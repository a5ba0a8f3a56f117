"""Workers in a Ray cluster, one for each GPU (or share of the CPUs): each pulls its next task when it is done.

The caller keeps every answer as it comes, so a lost worker or node loses at most the tasks in flight. A worker that
crashes is replaced, and its task is done again; a task that crashes three workers ends the run.

A worker is an object of a class with

    __init__(*arguments, threads)   threads: how many torch should use, None for its own choice
    ready(preparation) -> True      before its first task
    do(task) -> answer
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from qsched.backbones.spec import Lora
from qsched.command_line import is_quiet
from qsched.errors import InputError, MissingExtraError, QschedError

MOST_CRASHES = 3
SECONDS_FOR_A_WORKER = 900.0
SECONDS_OF_SILENCE = 15.0
TaskT = TypeVar("TaskT")


class WorkerCrash(QschedError):
    """Workers died or did not start; what was made is kept, and the same command goes on."""


@dataclass(frozen=True)
class Begun(Generic[TaskT]):
    """A worker begins a task."""

    task: TaskT


@dataclass(frozen=True)
class Done(Generic[TaskT]):
    """A worker has done a task."""

    task: TaskT
    answer: Any


@dataclass(frozen=True)
class Gone:
    """A worker died and was replaced; what it was doing is done again."""

    reason: str


class RayPool(Generic[TaskT]):
    """Workers in the cluster of RAY_ADDRESS, or in one that is started on this machine and ends with the pool.

    device     auto, cpu or cuda: Ray chooses the GPU of each worker
    workers    how many; None: one for each GPU, or one for each CPU if there is no GPU or the device is cpu
    doing      a task in words for messages, such as "making line-0003/0 in fp32"
    """

    def __init__(
        self,
        worker: type,
        arguments: tuple[Any, ...],
        *,
        device: str,
        workers: int | None,
        doing: Callable[[TaskT], str],
    ) -> None:
        # Nothing is reported to anybody.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if os.environ.get("NO_COLOR") or not sys.stderr.isatty():
            os.environ.setdefault("RAY_COLOR_PREFIX", "0")  # of the lines that Ray itself writes
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingExtraError("ray", "ray") from error
        if device not in ("auto", "cpu", "cuda"):
            raise InputError(f"device {device}: Ray chooses the GPU of each worker; write auto, cpu or cuda")
        self._ray: Any = ray
        self._doing = doing
        self._started_here = not ray.is_initialized()
        if self._started_here:
            # Without an address Ray would join whatever cluster was started last on this machine.
            address = os.environ.get("RAY_ADDRESS") or "local"
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        total: dict[str, float] = self._ray.cluster_resources()
        gpus = 0 if device == "cpu" else int(total.get("GPU", 0))
        cpus = int(total.get("CPU", 1))
        if device == "cuda" and not gpus:
            self.close()
            raise InputError("device cuda: the Ray cluster has no GPU; use --device cpu, or add a node with one")
        n = workers or gpus or cpus
        if n > (gpus or cpus):
            self.close()
            kind = "GPUs" if gpus else "CPUs"
            raise InputError(f"workers {n}: the Ray cluster has {gpus or cpus} {kind}; ask for at most that")
        share = max(1, cpus // n)
        options: dict[str, Any] = {"num_gpus": 1, "num_cpus": 1} if gpus else {"num_cpus": share}
        stated = os.environ.get("OMP_NUM_THREADS", "")
        threads = int(stated) if stated.isdigit() and int(stated) > 0 else (None if gpus else share)
        self._class: Any = ray.remote(worker).options(max_restarts=0, **options)
        self._arguments = (*arguments, threads)
        self._n = n
        self._workers: list[Any] = []

    def ask_first(self, method: str) -> Any:
        """What a method of the first worker returns; another takes its place if it dies."""
        self._start()
        for _ in range(MOST_CRASHES):
            try:
                reference = getattr(self._workers[0], method).remote()
                self._done_soon([reference])
                return self._get(reference)
            except self._ray.exceptions.RayActorError as error:
                crash = error
                self._workers[0] = self._new()
        raise WorkerCrash(f"{MOST_CRASHES} workers died while they loaded the model: {_first_line(crash)}")

    def run(self, tasks: Sequence[TaskT], preparation: Any) -> Iterator[Begun[TaskT] | Done[TaskT] | Gone]:
        """Hand each worker its next task when it is done with the last; WorkerCrash after three deaths at one task."""
        self._start()
        queue, crashes = deque(tasks), Counter[str]()
        before = self._ray.put(preparation)
        # What a reference refers to: the place of its worker, and the task; None: the worker says that it is there.
        flying: dict[Any, tuple[int, TaskT | None]]
        flying = {worker.ready.remote(before): (slot, None) for slot, worker in enumerate(self._workers)}
        free: list[int] = []
        asked_again: set[int] = set()  # idle workers, whether they are still there
        # A worker that waits for room on a lost node is not waited for once the work is done.
        while queue or any(task is not None for _, task in flying.values()):
            reference = self._next_done(flying)
            slot, task = flying.pop(reference)
            answer: Any = None
            is_done = False
            try:
                answer = self._get(reference)
                is_done = task is not None
                free.append(slot)
                asked_again.discard(slot)
            except self._ray.exceptions.RayActorError as error:
                if slot not in asked_again:
                    crashes[self._name(task)] += 1
                    self._refuse_third_crash(task, crashes[self._name(task)], error)
                yield Gone(_first_line(error))
                queue.extendleft([] if task is None else [task])
                # A lost node takes idle workers with it: they get no task before they have answered.
                asked_again |= set(free)
                flying |= {self._workers[idle].ready.remote(before): (idle, None) for idle in free}
                free.clear()
                asked_again.discard(slot)
                self._workers[slot] = self._new()
                flying[self._workers[slot].ready.remote(before)] = (slot, None)
            while queue and free:  # also one that had nothing to do any more takes what a lost worker left
                chosen, following = free.pop(), queue.popleft()
                flying[self._workers[chosen].do.remote(following)] = (chosen, following)
                yield Begun(following)
            if is_done and task is not None:
                yield Done(task, answer)

    def close(self) -> None:
        """End the workers, and the cluster if it was started here."""
        for worker in getattr(self, "_workers", ()):
            self._ray.kill(worker)
        if self._started_here:
            self._ray.shutdown()

    def _start(self) -> None:
        """Start the workers, at the first question: a run that has everything already needs none."""
        if not self._workers:
            self._workers = [self._new() for _ in range(self._n)]

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

    def _next_done(self, flying: dict[Any, tuple[int, TaskT | None]]) -> Any:
        """The reference of whoever is done first; WorkerCrash if nobody works and nobody comes."""
        if any(task is not None for _, task in flying.values()):
            return self._ray.wait(list(flying), num_returns=1)[0][0]
        done = self._done_soon(list(flying))
        if not done:
            rest = SECONDS_FOR_A_WORKER - SECONDS_OF_SILENCE
            done, _ = self._ray.wait(list(flying), num_returns=1, timeout=rest)
        if not done:
            raise WorkerCrash(
                f"no worker could start in {SECONDS_FOR_A_WORKER / 60:.0f} minutes; what was made is kept. See that "
                "the cluster has room (`ray status`), and run the same command again"
            )
        return done[0]

    def _done_soon(self, references: list[Any]) -> list[Any]:
        """Whoever is done in the first seconds; if nobody is, a line says what the run waits for."""
        done: list[Any]
        done, _ = self._ray.wait(references, num_returns=1, timeout=SECONDS_OF_SILENCE)
        if not done and not is_quiet():
            sys.stderr.write(
                "no worker is ready yet; waiting for one to start and load the model (`ray status` shows whether the "
                "cluster is there and has room)\n"
            )
        return done

    def _refuse_third_crash(self, task: TaskT | None, crashes: int, error: Exception) -> None:
        if crashes == MOST_CRASHES:
            raise WorkerCrash(
                f"{MOST_CRASHES} workers died while {self._name(task)}: {_first_line(error)}. What was made is kept. "
                "If memory ran out, use fewer --workers; then run the same command again"
            ) from error

    def _name(self, task: TaskT | None) -> str:
        """What a worker was doing, for a message."""
        return "starting" if task is None else self._doing(task)


def absolute(name: str) -> str:
    """A path that exists, as seen from every folder; anything else is the name of a backbone or of a hub model.

    A worker may run in another folder than the process that asks for it.
    """
    return str(Path(name).resolve()) if Path(name).exists() else name


def absolute_scorer(name: str) -> str:
    """A scorer in a file (`file.py:Class`) with such a path; any other name as it is."""
    path, colon, rest = name.partition(":")
    return f"{absolute(path)}{colon}{rest}" if path.endswith(".py") else name


def absolute_loras(loras: Sequence[Lora]) -> tuple[Lora, ...]:
    """The LoRAs with such paths."""
    return tuple(replace(lora, source=absolute(lora.source)) for lora in loras)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__

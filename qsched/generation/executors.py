"""Who does the work of a plan: this process (`LocalExecutor`), or others; what they do comes back as events.

Loading   a worker begins to bring the backbone into a precision
Loaded    it is done, and this is what it measured
Made      a batch of an arm
Lost      a worker died and was replaced
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

from qsched.errors import InputError
from qsched.generation.arms import Arm
from qsched.generation.plan import Job, Plan
from qsched.generation.quantize import CalibrationSource
from qsched.generation.request import Request
from qsched.generation.worker import FinishedImage, Worker
from qsched.records import Manifest

if TYPE_CHECKING:
    from qsched.precision.report import PrecisionReport


ENTRY_POINTS = "qsched.executors"


@dataclass(frozen=True)
class Task:
    """A batch of one arm; an empty batch only has the arm's precision applied and measured."""

    arm: Arm
    batch: tuple[Job, ...]

    @property
    def precision(self) -> tuple[str, str]:
        """Arms that share it share a quantized denoiser."""
        return self.arm.recipe.name, self.arm.base_dtype


@dataclass(frozen=True)
class Loading:
    """A worker begins to apply the precision of an arm."""

    arm: Arm


@dataclass(frozen=True)
class Loaded:
    """A worker has applied the precision of an arm."""

    arm: Arm
    report: PrecisionReport


@dataclass(frozen=True)
class Made:
    """The pictures of a task."""

    task: Task
    pictures: Sequence[FinishedImage]


@dataclass(frozen=True)
class Lost:
    """A worker died and was replaced; what it was making is made again."""

    reason: str


Event = Loading | Loaded | Made | Lost


class Executor(Protocol):
    """Does tasks; the caller keeps what comes back."""

    def describe(self) -> Manifest:
        """The manifest of the set, as the workers' machine makes it."""
        ...

    def run(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """Do the tasks, each once; in any order, but those of one precision begin before those of the next."""
        ...

    def close(self) -> None:
        """Let the workers go."""
        ...


#: Makes the executor of a run, before anything is loaded.
ExecutorFactory = Callable[[Request, Plan, "CalibrationSource | None"], Executor]


def find_executor(name: str, *, workers: int | None = None) -> ExecutorFactory | None:
    """The factory for a name: None for `local`, Ray's, or an entry point of the group `qsched.executors`.

    An entry point is called as `factory(request, plan, source)`; `workers` is Ray's alone. Raises InputError for a name
    that nobody registered.
    """
    if workers is not None and name != "ray":
        raise InputError(f"workers {workers}: only --executor ray has workers, not {name}; add it, or leave this out")
    if name == "local":
        return None
    if name == "ray":
        from qsched.generation.ray_executor import RayExecutor

        return partial(RayExecutor, workers=workers)
    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in found:
        choices = ", ".join(("local", "ray", *sorted(found)))
        raise InputError(
            f"executor {name!r} is unknown; choose {choices}, or install a package with an entry point {ENTRY_POINTS}"
        )
    factory: ExecutorFactory = found[name].load()
    return factory


def local_executor(request: Request, plan: Plan, source: CalibrationSource | None) -> Executor:
    """This process does the work."""
    return LocalExecutor(Worker(request, plan, source))


class LocalExecutor:
    """One worker in this process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def describe(self) -> Manifest:
        """See Executor."""
        return self._worker.describe()

    def run(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """Do the tasks in their order."""
        applied: tuple[str, str] | None = None
        self._worker.expect(task.batch for task in tasks)
        for task in tasks:
            if task.precision != applied:
                yield Loading(task.arm)
                yield Loaded(task.arm, self._worker.apply(task.arm))
                applied = task.precision
            if task.batch:
                yield Made(task, self._worker.render(task.arm, task.batch))

    def close(self) -> None:
        """Nothing to do: the worker goes with the process."""

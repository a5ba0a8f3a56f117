"""A lost node takes idle workers with it: they are replaced, and their deaths are not held against the next batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from qsched.backbones import find_spec
from qsched.command_line import QUIET
from qsched.generation import make_plan, parse_arms
from qsched.generation.executors import Lost, Made, Task
from qsched.generation.ray_executor import RayExecutor
from qsched.generation.ray_pool import SECONDS_FOR_A_WORKER, RayPool, WorkerCrash


class ActorDied(Exception):
    """What ray raises for a call of an actor that is gone."""


@dataclass(frozen=True)
class Reference:
    """What a call will give; those with a low `place` are done first."""

    place: int
    get: Callable[[], Any]


class Node:
    """Workers that are gone together, from the first batch on; one that has to start answers last."""

    def __init__(self, *, starts: bool) -> None:
        self.is_there, self._starts = True, starts

    def worker(self) -> Any:
        return SimpleNamespace(
            ready=SimpleNamespace(remote=lambda _: Reference(2 if self._starts else 0, lambda: self._answer(True))),
            do=SimpleNamespace(remote=lambda task: Reference(1, lambda: self._do(task))),
        )

    def _do(self, task: Task) -> Any:
        self.is_there = self._starts
        return self._answer((None, [job.key for job in task.batch]))

    def _answer(self, value: Any) -> Any:
        if not self.is_there:
            raise ActorDied("the node is gone")
        return value


def test_idle_workers_of_a_lost_node_do_not_end_the_run(tmp_path) -> None:
    prompts = tmp_path / "p.txt"
    prompts.write_text("ring\n")
    arms = parse_arms("fp32", find_spec("tiny-flux"), steps=1, dtype=None, default_dtype="fp32")
    plan = make_plan(prompts, arms, samples=1, set_seed=0, batch_size=1, limit=None)
    (batch,) = plan.batches()
    lost_node, good_node = Node(starts=False), Node(starts=True)

    def wait(references: list[Reference], **_: object) -> tuple[list[Reference], list[Reference]]:
        first, *others = sorted(references, key=lambda one: one.place)
        return [first], others

    executor, pool = RayExecutor.__new__(RayExecutor), RayPool.__new__(RayPool)
    executor._pool = pool
    pool._doing = str
    pool._ray = SimpleNamespace(
        put=lambda value: value,
        get=lambda reference: reference.get(),
        wait=wait,
        exceptions=SimpleNamespace(RayActorError=ActorDied, RayTaskError=KeyError),
    )
    pool._workers = [lost_node.worker() for _ in range(4)]
    pool._new = good_node.worker
    events = list(executor.run([Task(plan.arms[0], batch)]))
    assert [event.pictures for event in events if isinstance(event, Made)] == [[job.key for job in batch]]
    assert sum(isinstance(event, Lost) for event in events) == 4


@pytest.mark.parametrize("quiet", [False, True])
def test_a_run_says_what_it_waits_for_and_gives_up_in_the_end(monkeypatch, capsys, quiet: bool) -> None:
    """As after the death of the local raylet: every new worker waits for one."""
    if quiet:
        monkeypatch.setenv(QUIET, "1")
    waited: list[float] = []

    def wait(references: list[Reference], *, timeout: float, **_: object) -> tuple[list[Reference], list[Reference]]:
        waited.append(timeout)
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == (len(waited) == 2 and not quiet)
        assert quiet or len(waited) == 1 or "waiting for one to start" in said.err
        return [], references

    pool: RayPool[str] = RayPool.__new__(RayPool)
    pool._ray = SimpleNamespace(put=lambda value: value, wait=wait)
    pool._workers = [Node(starts=True).worker()]
    with pytest.raises(WorkerCrash, match="no worker could start in 15 minutes"):
        list(pool.run(["a task"], None))
    assert waited[0] == 15 and sum(waited) == SECONDS_FOR_A_WORKER


def test_a_question_to_a_worker_that_does_not_start_says_what_it_waits_for(capsys) -> None:
    pool: RayPool[str] = RayPool.__new__(RayPool)
    pool._ray = SimpleNamespace(
        wait=lambda references, **_: ([], references),
        get=lambda reference: reference.get(),
        exceptions=SimpleNamespace(RayActorError=ActorDied, RayTaskError=KeyError),
    )
    worker = SimpleNamespace(describe=SimpleNamespace(remote=lambda: Reference(0, lambda: "the answer, in the end")))
    pool._workers = [worker]
    assert pool.ask_first("describe") == "the answer, in the end"
    assert capsys.readouterr().err.count("waiting for one to start and load the model") == 1

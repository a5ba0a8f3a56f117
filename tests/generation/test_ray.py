"""Workers in a Ray cluster: every batch is made once, whoever dies. The workers here load no model."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from qsched.errors import InputError
from qsched.generation import Request, make_plan, parse_arms, ray_executor
from qsched.generation.executors import Loading, Lost, Made, Task, find_executor
from qsched.generation.ray_executor import RayExecutor
from qsched.generation.ray_pool import WorkerCrash

pytestmark = pytest.mark.slow


class Fake:
    """Gives back the places of a batch; dies at one batch, as often as a counting file says."""

    def __init__(self, request, *_: object) -> None:
        self.counter = Path(request.out)

    def ready(self, _batches: object) -> bool:
        return True

    def do(self, task: Task):
        dies = task.batch[0].prompt.prompt_id == "line-0003"
        if dies and (left := int(self.counter.read_text())):
            self.counter.write_text(str(left - 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return None, [job.key for job in task.batch]


def test_a_dead_worker_is_replaced_its_batch_made_again_and_three_deaths_end_the_run(tmp_path, monkeypatch) -> None:
    ray = pytest.importorskip("ray")
    from qsched.backbones import find_spec

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setattr(ray_executor, "_Actor", Fake)
    # By value: a worker cannot import this file.
    ray.cloudpickle.register_pickle_by_value(__import__("sys").modules[__name__])
    prompts = tmp_path / "p.txt"
    prompts.write_text("".join(f"ring {n}\n" for n in range(9)))
    arms = parse_arms("fp32,w4a4", find_spec("tiny-flux"), steps=1, dtype=None, default_dtype="fp32")
    plan = make_plan(prompts, arms, samples=1, set_seed=0, batch_size=2, limit=None)
    tasks = [Task(arm, batch) for arm in plan.arms for batch in plan.batches()]
    counter = tmp_path / "deaths"
    request = Request(backbone="tiny-flux", arms="", prompts=prompts, out=counter, device="cpu")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        executor = RayExecutor(request, plan, None, workers=2)
        counter.write_text("1")
        events = list(executor.run(tasks))
        made = [event for event in events if isinstance(event, Made)]
        assert sorted(tasks.index(event.task) for event in made) == list(range(10))
        assert all(list(event.pictures) == [job.key for job in event.task.batch] for event in made)
        assert sum(isinstance(event, Lost) for event in events) == 1
        assert [event.arm.name for event in events if isinstance(event, Loading)] == ["fp32", "w4a4"]
        counter.write_text("9")
        with pytest.raises(WorkerCrash, match=r"3 workers died while making line-0003/0 and .* in (fp32|w4a4)"):
            list(executor.run(tasks))
        executor.close()
        with pytest.raises(InputError, match="workers 9: the Ray cluster has 2 CPUs"):
            RayExecutor(request, plan, None, workers=9)
    finally:
        ray.shutdown()


def test_an_executor_is_found_by_name_or_refused_with_the_choices() -> None:
    assert find_executor("local") is None
    with pytest.raises(InputError, match="only --executor ray has workers"):
        find_executor("local", workers=2)
    with pytest.raises(InputError, match="choose local, ray"):
        find_executor("slurm")

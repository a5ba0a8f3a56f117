"""A Ray cluster that loses a node: whatever was not in flight there is made once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qsched.generation import Request, make_plan, parse_arms, ray_executor
from qsched.generation.executors import Lost, Made, Task
from qsched.generation.ray_executor import RayExecutor
from tests.generation.test_ray import Fake

pytestmark = [pytest.mark.load, pytest.mark.slow]


class Slow(Fake):
    """Says on which node it works, and takes long enough to be on one when it dies."""

    def do(self, task: Task):
        import time

        import ray

        with (self.counter.parent / "nodes").open("a") as file:
            file.write(f"{ray.get_runtime_context().get_node_id()}\n")
        time.sleep(0.3)
        return None, [job.key for job in task.batch]


def test_a_node_that_is_lost_loses_the_batches_in_flight_and_no_others(tmp_path, monkeypatch) -> None:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    from qsched.backbones import find_spec

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setattr(ray_executor, "_Actor", Slow)
    for module in (__name__, Fake.__module__):  # by value: a worker cannot import these files
        ray.cloudpickle.register_pickle_by_value(sys.modules[module])
    prompts = tmp_path / "p.txt"
    prompts.write_text("".join(f"ring {n}\n" for n in range(24)))
    arms = parse_arms("fp32", find_spec("tiny-flux"), steps=1, dtype=None, default_dtype="fp32")
    plan = make_plan(prompts, arms, samples=1, set_seed=0, batch_size=1, limit=None)
    tasks = [Task(arms[0], batch) for batch in plan.batches()]
    request = Request(backbone="tiny-flux", arms="", prompts=prompts, out=tmp_path / "counter", device="cpu")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    other = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        executor = RayExecutor(request, plan, None, workers=2)
        events = []
        for event in executor.run(tasks):
            events.append(event)
            nodes = set((tmp_path / "nodes").read_text().split()) if (tmp_path / "nodes").exists() else set()
            if other is not None and len(nodes) == 2:  # both have begun a batch
                cluster.remove_node(other, allow_graceful=False)
                other = None
        made = [event for event in events if isinstance(event, Made)]
        assert other is None and sorted(tasks.index(event.task) for event in made) == list(range(24))
        lost = sum(isinstance(event, Lost) for event in events)
        begun = len((tmp_path / "nodes").read_text().split())
        assert lost >= 1 and begun - 24 <= lost  # a batch is begun again only if it was in flight
        executor.close()
    finally:
        ray.shutdown()
        cluster.shutdown()

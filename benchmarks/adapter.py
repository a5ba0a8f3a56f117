"""What the Q-Sched adapter costs: time of `scheduler.step` with and without it, against a whole model step.

    python benchmarks/adapter.py --backbone tiny-flux --out benchmarks/results/adapter.json

Calls alternate between the stock scheduler and the adapted one, so that drift of the machine hits both; the
median over rounds is reported. The goal is an added cost under 1 % of a step of the smallest model.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from qsched.backbones import load_backbone, quiet_libraries
from qsched.generation import initial_latents, render_batch, with_coefficients
from qsched.generation.provenance import git_commit, versions
from qsched.scheduling import Coefficients, apply_coefficients

COEFFICIENTS = Coefficients.linear(model=(0.955, 1.099), sample=(1.012, 0.967))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="tiny-flux")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    quiet_libraries()
    result = measure(arguments.backbone, rounds=arguments.rounds, device=arguments.device)
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n", encoding="utf-8")


def measure(name: str, *, rounds: int, device: str) -> dict[str, Any]:
    """Median seconds of a stock step, an adapted step and a model call, at batch size 1: the worst case."""
    backbone = load_backbone(name, device=device)
    latents, _ = initial_latents(backbone, [0])
    stock = backbone.pipeline.scheduler
    adapted = apply_coefficients(stock, COEFFICIENTS)
    runs = {"stock": one_run(stock, latents, backbone.steps), "adapted": one_run(adapted, latents, backbone.steps)}
    times: dict[str, list[float]] = {key: [] for key in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for key, run in runs.items():
            times[key].append(run())
    model = model_call_seconds(backbone, rounds=max(5, rounds // 30))
    median = {key: statistics.median(values) for key, values in times.items()}
    added = median["adapted"] - median["stock"]
    return {
        "what": "seconds per step at batch size 1, median; added = adapted - stock",
        "backbone": backbone.name,
        "scheduler": type(stock).__name__,
        "latents": list(latents.shape),
        "rounds": rounds,
        "stock_step": median["stock"],
        "adapted_step": median["adapted"],
        "added": added,
        "model_call": model,
        "added_share_of_a_step": added / (model + median["stock"]),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "git_commit": git_commit(),
    }


def one_run(scheduler: Any, latents: torch.Tensor, steps: int) -> Callable[[], float]:
    """A function that goes once through the schedule and returns the seconds that a `step` took."""
    output = torch.randn_like(latents)

    def run() -> float:
        scheduler.set_timesteps(steps)
        generator = torch.Generator().manual_seed(0)
        keywords = {} if "FlowMatch" in type(scheduler).__name__ else {"generator": generator}
        total = 0.0
        for t in scheduler.timesteps:
            scheduler.scale_model_input(latents, t) if hasattr(scheduler, "scale_model_input") else None
            started = time.perf_counter()
            scheduler.step(output, t, latents, **keywords, return_dict=False)
            total += time.perf_counter() - started
        return total / len(scheduler.timesteps)

    return run


def model_call_seconds(backbone: Any, *, rounds: int) -> float:
    """Median seconds of a denoiser call inside the real pipeline, measured around the module."""
    calls: list[float] = []
    began = [0.0]
    before = backbone.denoiser.register_forward_pre_hook(lambda *_: began.__setitem__(0, time.perf_counter()))
    after = backbone.denoiser.register_forward_hook(lambda *_: calls.append(time.perf_counter() - began[0]))
    with with_coefficients(backbone, COEFFICIENTS):
        for seed in range(rounds):
            render_batch(backbone, ["a red ring"], [seed])
    before.remove()
    after.remove()
    return statistics.median(calls[backbone.steps :])


if __name__ == "__main__":
    main()

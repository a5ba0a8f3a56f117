"""The loop that both diffusion models share: steps, averaged weights, checkpoints, held-out pass rates."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qsched.tiny.evaluate import PassRates, measure_pass_rates
from qsched.tiny.paths import load_prompts, prompts_path
from tools.train_tiny.optimiser import Average, Optimiser
from tools.train_tiny.session import Log, Settings, load_checkpoint, save_checkpoint, write_provenance


@dataclass(frozen=True)
class TrainingRun:
    """One model's part in the loop."""

    name: str
    parts: nn.Module
    loss_of: Callable[[int], Tensor]
    default_steps: int
    batch_size: int
    muon_lr: float
    adam_lr: float
    adam_only: tuple[str, ...]
    pipeline_of: Callable[[Any], Any]  # a diffusers pipeline, which has no types
    call_options: dict[str, Any]
    also_steps: tuple[int, ...] = ()
    measure_every: int = 500
    measure_prompts: int = 60
    facts: dict[str, Any] = field(default_factory=dict)


def measured(run: TrainingRun, weights: dict[str, Tensor], prompts: dict[str, str], steps: int) -> PassRates:
    """Held-out pass rates of one set of weights through the ordinary pipeline, in float32."""
    trained = copy.deepcopy(run.parts)
    trained.load_state_dict(weights)
    pipeline = run.pipeline_of(trained.eval())
    pipeline.set_progress_bar_config(disable=True)
    return measure_pass_rates(pipeline, prompts, options={**run.call_options, "num_inference_steps": steps})


def run_training(settings: Settings, run: TrainingRun) -> None:
    """Train or resume, then write the pipeline folder with its provenance."""
    log = Log(settings.work / f"{run.name}.log")
    steps = settings.steps or run.default_steps
    optimiser = Optimiser(
        run.parts, muon_lr=run.muon_lr, adam_lr=run.adam_lr, steps=steps, adam_only=run.adam_only, warmup=200
    )
    average = Average(run.parts)
    count = sum(p.numel() for p in run.parts.parameters())
    checkpoint = settings.work / f"{run.name}.pt"
    first, runs = 0, []
    if state := load_checkpoint(checkpoint):
        run.parts.load_state_dict(state["model"])
        average.shadow, average.updates = state["average"], state["step"]
        optimiser.load_state_dict(state["optimiser"])
        first, log.spent_before, runs = state["step"], state["seconds"], state.get("runs", [])
    runs = [*runs, {"from_step": first, "planned_steps": steps}]
    log.line(f"{run.name}: {count / 1e6:.2f} M parameters, steps {first} to {steps}")
    prompts = load_prompts(prompts_path("calibration"))
    sample = {key: prompts[key] for key in list(prompts)[: run.measure_prompts]}
    default_steps = int(run.call_options["num_inference_steps"])
    running = 0.0
    for step in range(first, steps):
        with settings.arithmetic():
            loss = run.loss_of(step)
        optimiser.update(loss, step)
        average.update(run.parts)
        running = loss.item() if step == first else 0.99 * running + 0.01 * loss.item()
        done = step + 1
        if done % 50 == 0:
            log.line(f"{run.name} step {done}/{steps} loss {running:.4f}")
        if done % settings.checkpoint_every == 0 or done == steps:
            save_checkpoint(
                checkpoint,
                {
                    "model": run.parts.state_dict(),
                    "average": average.shadow,
                    "step": done,
                    "optimiser": optimiser.state_dict(),
                    "seconds": log.seconds,
                    "runs": runs,
                },
            )
        if done % run.measure_every == 0 and done < steps:
            for n in (default_steps, *run.also_steps):
                log.line(f"{run.name} step {done} at {n} steps: {measured(run, average.shadow, sample, n)}")
    run.parts.load_state_dict(average.shadow)
    save_model(settings, run, log, steps, runs)


def save_in_half(pipeline: Any, folder: Path) -> None:
    """Write the folder with float16 weights that load as float32 when nothing else is asked for.

    diffusers loads its own models in float32 by default, transformers in the dtype that the config names:
    so the config of each text encoder says float32, whatever its file holds. `_name_or_path`, a path of this machine,
    is left out of every config.
    """
    pipeline.to(torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    pipeline.to(torch.float32)
    for path in folder.glob("*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)
        if path.parent.name.startswith("text_encoder"):
            config["dtype"] = "float32"
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)


def save_model(settings: Settings, run: TrainingRun, log: Log, steps: int, runs: list[dict[str, int]]) -> None:
    """Write `<out>/<name>` in float16 safetensors and measure it on the evaluation prompts.

    `runs` tells of restarts: the learning rate falls over the last part of the planned steps of each.
    """
    folder = settings.out / run.name
    prompts = load_prompts(prompts_path("eval"))
    pipeline = run.pipeline_of(run.parts.eval().requires_grad_(False))
    save_in_half(pipeline, folder)
    shutil.copy(settings.work / "vae" / "training.json", folder / "vae" / "training.json")
    rates = {}
    for n in (int(run.call_options["num_inference_steps"]), *run.also_steps):
        rate = measure_pass_rates(pipeline, prompts, options={**run.call_options, "num_inference_steps": n})
        log.line(f"{run.name} final at {n} steps on {rate.count} evaluation prompts: {rate}")
        rates[str(n)] = rate.as_record()
    write_provenance(
        folder,
        settings,
        seconds=round(log.seconds),
        steps=steps,
        batch=run.batch_size,
        samples=steps * run.batch_size,
        runs=runs,
        pass_rates_fp32_by_inference_steps=rates,
        note="weights stored in float16, trained and measured in float32",
        **run.facts,
    )

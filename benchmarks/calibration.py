"""Closed form and race against the exhaustive grid: gain on held-out prompts, model evaluations and time.

    python benchmarks/calibration.py --backbone tiny-flux --precision w3a8 --grid-size 50

All searches run on the same prompts with the same noise, each with a memory and a journal of its own, so none spares
another work. The grid is the released scripts' (25 prompts, 4 steps, 50x50 by default) and goes on from its journal
when it is run again. The target: at least 99 % of the grid's held-out gain in JAQ for at most 1/40 of its NFE and 1/20
of its wall time. NFE, decodes and scores are counted round the model, the autoencoder and the scorers themselves, with
the processor seconds that they take (cost.py). All winners are judged on the 200 evaluation prompts. The NFE of a plain
grid, without the cached first step, is given too. The grid's surface is kept and drawn, and race and grid are replayed
on halves of its prompts, because one split of prompts does not tell two near winners apart.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.calibration_replay import replay
from benchmarks.cost import Cost, counted
from benchmarks.machine import machine
from qsched.backbones import find_spec
from qsched.calibration.command import CalibrationFiles, CalibrationRequest, run_calibration
from qsched.calibration.families import Box, CoefficientFamily, Point, even_grid
from qsched.calibration.record import write_record
from qsched.calibration.settings import CalibrationSettings
from qsched.scoring import Jaq
from qsched.scoring.paired import paired_difference
from qsched.tiny import prompts_path


def main() -> None:
    """Closed form, race, grid, comparison, file."""
    arguments = _parse()
    request = CalibrationRequest(
        backbone=arguments.backbone,
        precision=arguments.precision,
        prompts=prompts_path("calibration"),
        out=Path("unset.json"),
        n_prompts=arguments.n_prompts,
        heldout=prompts_path("eval"),
        n_heldout=arguments.n_heldout,
        also=("tiny-check",),
        device=arguments.device,
        steps=arguments.steps,
        control=False,
    )
    box = Box((0.8, 1.2), (0.8, 1.2))
    searches = {
        "closed form": CalibrationSettings(force=True),
        "race": CalibrationSettings(strategy="race", box=box, force=True),
        "grid": CalibrationSettings(strategy="grid", size=arguments.grid_size, box=box, force=True),
    }
    done: dict[str, CalibrationFiles] = {}
    costs: dict[str, Cost] = {}
    for name, settings in searches.items():
        done[name], costs[name] = _run(request, arguments.work, settings)
    result = compare(done["closed form"], done["race"], done["grid"], arguments.grid_size)
    result["cost"] = {name: cost.to_json() for name, cost in costs.items()}
    result["cost_note"] = (
        "of this run: what its journals knew already is not in it; the held-out check is, with NFE of its own"
    )
    out = arguments.out or Path(__file__).parent / "results" / f"calibration-{request.backbone}.json"
    write_record(out, result)
    draw(result, out.with_suffix(".png"))
    print(json.dumps({**result["against_the_grid"], "cost": result["cost"], "replay": result["replay"]}, indent=1))


def _run(request: CalibrationRequest, work: Path, settings: CalibrationSettings) -> tuple[CalibrationFiles, Cost]:
    name = settings.strategy + (str(settings.size) if settings.size else "")
    out = work / f"{request.backbone}-{request.precision}-{name}.json"
    columns = TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    denoiser, autoencoder = classes_of(request.backbone)
    with counted(denoiser, autoencoder, Jaq) as cost, Progress(*columns) as bar:
        task = bar.add_task(name, total=None)
        files = run_calibration(
            replace(request, out=out, settings=settings),
            on_progress=lambda p: bar.update(task, completed=p.done, total=p.planned),
        )
    return files, cost


def classes_of(backbone: str) -> tuple[type, type]:
    """The classes of a diffusers folder's denoiser and autoencoder."""
    import diffusers

    parts = json.loads((Path(find_spec(backbone).source) / "model_index.json").read_text(encoding="utf-8"))
    denoiser = parts.get("transformer") or parts["unet"]
    return getattr(diffusers, denoiser[1]), getattr(diffusers, parts["vae"][1])


def compare(closed: CalibrationFiles, race: CalibrationFiles, grid: CalibrationFiles, grid_size: int) -> dict[str, Any]:
    """The record of the benchmark; gains over (1, 1) are paired over the held-out prompts."""
    ours, theirs = race.result, grid.result
    outcomes = {
        "closed form": closed.result.qsched,
        "closed form, qsched-bias": closed.result.bias,
        "race": ours.qsched,
        "grid": theirs.qsched,
    }
    # A search that found nothing better than (1, 1) has no gain.
    held = {name: one.heldout for name, one in outcomes.items() if one is not None and one.heldout is not None}
    gains: dict[str, dict[str, Any]] = {name: one.gain().to_json() for name, one in held.items()}
    minus_grid = {
        name: paired_difference(one.tuned.values["jaq"], held["grid"].tuned.values["jaq"]).to_json()
        for name, one in held.items()
        if name != "grid" and "grid" in held
    }
    spent = {"closed form": closed.result, "race": ours, "grid": theirs}
    grid_gains = {ours.family.point_of(candidate): values for candidate, values in theirs.gains.items()}
    return {
        "benchmark": "calibration",
        "backbone": race.record["backbone"],
        "precision": race.record["precision"],
        "machine": machine("torch", "diffusers", "open_clip_torch"),
        "grid_size": grid_size,
        "grid_note": "the scripts' own 50x50" if grid_size == 50 else "smaller than the scripts' 50x50, for time",
        "against_the_grid": {
            "heldout_gain": gains,
            "minus_grid": minus_grid,
            "nfe": {name: one.search_nfe for name, one in spent.items()},
            "nfe_of_a_plain_grid": theirs.pictures * theirs.family.steps,
            "seconds": {name: round(one.search_seconds, 1) for name, one in spent.items()},
            "found": {name: one.found.to_dict() for name, one in outcomes.items() if one is not None},
        },
        "closed_form": closed.record,
        "race": race.record,
        "grid": {key: grid.record[key] for key in ("found", "gain", "provenance")},
        "replay": replay(grid_gains, grid.result.family, grid_size),
        "surface": _surface(grid_gains, grid.result.family, grid_size),
    }


def _surface(gains: dict[Point, np.ndarray], family: CoefficientFamily, size: int) -> dict[str, Any]:
    """Mean gain in JAQ over (1, 1) on the calibration prompts: rows by model, columns by sample coefficient."""
    points = even_grid(family, size)
    means = [round(float(gains[point].mean()), 6) for point in points]
    return {
        "model": [point[0] for point in points[::size]],
        "sample": [point[1] for point in points[:size]],
        "gain": [means[row * size : (row + 1) * size] for row in range(size)],
    }


def draw(result: dict[str, Any], path: Path) -> None:
    """The grid's surface with the points that both searches chose."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    surface, found = result["surface"], result["against_the_grid"]["found"]
    gain = np.array(surface["gain"])
    # The corners of the range are ruins; a scale that showed them would hide the ridge.
    low = float(np.quantile(gain, 0.4))
    figure, axes = plt.subplots(figsize=(6.2, 5.0), layout="constrained")
    drawn = axes.pcolormesh(surface["sample"], surface["model"], gain, vmin=low, cmap="viridis")
    figure.colorbar(drawn, label="gain in JAQ over (1, 1), calibration prompts", extend="min")
    axes.plot(1, 1, "w+", markersize=12, label="stock (1, 1)")
    for name, mark in (("grid", "ws"), ("race", "r*")):
        axes.plot(found[name]["sample"], found[name]["model"], mark, markersize=10, fillstyle="none", label=name)
    axes.set(
        xlabel="coefficient of the sample",
        ylabel="coefficient of the model",
        title=f"{result['backbone']}, {result['precision'].upper()}, {result['grid_size']}x{result['grid_size']} grid",
    )
    axes.legend(facecolor="0.4", labelcolor="white", loc="lower left")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="tiny-flux")
    parser.add_argument("--precision", default="w3a8")
    parser.add_argument("--grid-size", type=int, default=50)
    parser.add_argument("--n-prompts", type=int, default=25)
    parser.add_argument("--n-heldout", type=int, default=200)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-calibration"))
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/calibration-BACKBONE.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Scores of a 9x9 grid of constant coefficients on many prompts: the data that choices of a candidate are replayed on.

    python benchmarks/calibration_surfaces.py --arms tiny-sdxl:w3a8 tiny-flux:w4a4

Writes `benchmarks/results/surface-<backbone>-<precision>.npz` with TC, IQ and the domain's ground-truth check of every
(candidate, prompt), the same noise for all candidates; an unfinished file is gone on with. NFE are counted by a counter
round the denoiser. `benchmarks/calibration_choice.py` reads the files.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsched.backbones import load_backbone, quiet_libraries
from qsched.calibration.trajectory import Row, TrajectoryRenderer
from qsched.generation import image_seed, read_prompts
from qsched.precision import apply_precision, find_recipe
from qsched.scheduling import Coefficients
from qsched.scoring import Jaq, load_scorer
from qsched.tiny import prompts_path

RESULTS = Path(__file__).parent / "results"
SIDE = np.round(np.linspace(0.8, 1.2, 9), 6)


def main() -> None:
    """One file for each arm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", default=["tiny-sdxl:w3a8", "tiny-flux:w4a4"])
    parser.add_argument("--n-prompts", type=int, default=50)
    arguments = parser.parse_args()
    quiet_libraries()
    for arm in arguments.arms:
        backbone, _, precision = arm.partition(":")
        measure(backbone, precision, arguments.n_prompts)


def measure(name: str, precision: str, n_prompts: int) -> None:
    """Render and score the grid, row by row of the model's coefficient."""
    path = RESULTS / f"surface-{name}-{precision}.npz"
    prompts = read_prompts(prompts_path("calibration"))[:n_prompts]
    texts = [p.prompt for p in prompts]
    backbone = load_backbone(name, device="cpu")
    apply_precision(backbone, find_recipe(precision))
    counted = count_rows(backbone.denoiser)
    tc, iq = (load_scorer(scorer, device="cpu", weights="tiny-clip") for scorer in ("clipscore", "clip-iqa"))
    objective, check = Jaq(tc, iq), load_scorer("tiny-check", device="cpu")
    values = np.full((3, 9, 9, n_prompts), np.nan, dtype=np.float32)
    spent = np.zeros(2)  # NFE, processor seconds
    if path.exists():
        with np.load(path) as stored:
            values, spent = stored["values"], stored["spent"]
    renderer = TrajectoryRenderer(backbone, steps=backbone.steps, batch_rows=25)
    for i, model in enumerate(SIDE):
        for j, sample in enumerate(SIDE):
            if not np.isnan(values[0, i, j]).any():
                continue
            before, started = sum(counted), time.process_time()
            coefficients = Coefficients.constant(model=float(model), sample=float(sample))
            images = renderer.render([Row(p, image_seed(0, p.prompt_id, 0), coefficients) for p in prompts])
            scores = objective.score(images, texts)
            values[:, i, j] = scores.tc, scores.iq, check.score(images, texts)
            spent += sum(counted) - before, time.process_time() - started
        np.savez_compressed(path, values=values, side=SIDE, spent=spent)
        print(
            f"{name} {precision}: model {model:g} done, {spent[0]:.0f} NFE, {spent[1]:.0f} processor seconds",
            flush=True,
        )


def count_rows(denoiser: Any) -> list[int]:
    """The rows of every evaluation of the denoiser from now on; the renderer's memory answers outside of it."""
    counted: list[int] = []
    whole = denoiser.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = whole(*args, **kwargs)
        counted.append(len(output[0]))
        return output

    denoiser.forward = forward
    return counted


if __name__ == "__main__":
    main()

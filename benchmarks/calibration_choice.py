"""Which candidate to take: the largest mean, or the one with the largest fitted gain? Replayed on measured scores.

    python benchmarks/calibration_choice.py --arms tiny-sdxl:w3a8 tiny-flux:w4a4

Scores of a 5x5 grid of constant coefficients (0.8 to 1.2) are measured on 40 calibration prompts with the same noise
for all candidates; they are kept in `benchmarks/results/choice-<backbone>-<precision>.npz` and gone on with. Then 200
times some of the prompts choose a candidate by each rule, and the other prompts judge it. The best candidate of all
prompts is held against that: it knows what no rule can. The set of equals is drawn on the choosing prompts: how large
is it, and does it hold that best candidate? Prompts are shared by the splits, so intervals over splits would be too
narrow, and none are given. Writes `benchmarks/results/calibration_choice.md`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsched.backbones import load_backbone, quiet_libraries
from qsched.calibration.equals import set_of_equals
from qsched.calibration.families import Family, Point, even_grid
from qsched.calibration.surface import choose
from qsched.calibration.trajectory import Row, TrajectoryRenderer
from qsched.generation import image_seed, read_prompts
from qsched.precision import apply_precision, find_recipe
from qsched.scoring import Jaq, load_scorer
from qsched.tiny import prompts_path

RESULTS = Path(__file__).parent / "results"
SIZE, N_PROMPTS, SPLITS = 5, 40, 200


def main() -> None:
    """Measure what is missing, replay, print and store the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", default=["tiny-sdxl:w3a8", "tiny-flux:w4a4"])
    arguments = parser.parse_args()
    quiet_libraries()
    lines = [
        f"Gain on the prompts that did not choose, mean over {SPLITS} splits of {N_PROMPTS} prompts; 5x5 candidates,",
        "by `python benchmarks/calibration_choice.py`.",
        "",
        "| arm, prompts that choose | largest mean | smooth fit | best of all | set of equals | it holds that best |",
        "|---|---|---|---|---|---|",
    ]
    for arm in arguments.arms:
        backbone, _, precision = arm.partition(":")
        points, values = measure(backbone, precision)
        for n in (5, 12, 20):
            lines.append(f"| {backbone} {precision.upper()}, {n} | {' | '.join(replay(points, values, n))} |")
    text = "\n".join(lines) + "\n"
    (RESULTS / "calibration_choice.md").write_text(text, encoding="utf-8")
    print(text)


def measure(name: str, precision: str) -> tuple[list[Point], np.ndarray]:
    """(points, JAQ [points, prompts]), (1, 1) among them."""
    path = RESULTS / f"choice-{name}-{precision}.npz"
    family = Family("constant", 4)
    points = even_grid(family, SIZE)
    values = np.full((len(points), N_PROMPTS), np.nan)
    if path.exists():
        with np.load(path) as stored:
            values = stored["jaq"]
    if not np.isnan(values).any():
        return points, values
    prompts = read_prompts(prompts_path("calibration"))[:N_PROMPTS]
    backbone = load_backbone(name, device="cpu")
    apply_precision(backbone, find_recipe(precision))
    tc, iq = (load_scorer(scorer, device="cpu", weights="tiny-clip") for scorer in ("clipscore", "clip-iqa"))
    objective = Jaq(tc, iq)
    renderer = TrajectoryRenderer(backbone, steps=backbone.steps, batch_rows=25)
    for i, point in enumerate(points):
        if np.isnan(values[i]).any():
            coefficients = family.coefficients(point)
            images = renderer.render([Row(p, image_seed(0, p.prompt_id, 0), coefficients) for p in prompts])
            values[i] = objective.score(images, [p.prompt for p in prompts]).jaq
            np.savez_compressed(path, jaq=values, points=np.array(points))
            print(f"{name} {precision}: {i + 1} of {len(points)}, {renderer.nfe} NFE", flush=True)
    return points, values


def replay(points: Sequence[Point], values_CN: np.ndarray, n: int) -> list[str]:
    """The cells of the table's row."""
    family = Family("constant", 4)
    stock = list(points).index(family.identity)
    gains = values_CN - values_CN[stock]
    best = int(gains.mean(axis=1).argmax())
    rng = np.random.default_rng(0)
    found: list[list[float]] = []
    for split in range(SPLITS):
        order = rng.permutation(values_CN.shape[1])
        seen, held = order[:n], order[n:]
        mean = int(values_CN[:, seen].mean(axis=1).argmax())
        fitted = list(points).index(choose(points, values_CN[:, seen], family))
        equals = set_of_equals(values_CN[:, seen], seed=split)
        judged = [float(gains[i, held].mean()) for i in (mean, fitted, best)]
        found.append([*judged, len(equals), float(best in equals)])
    means = np.array(found).mean(axis=0)
    return [*(f"{m:+.4f}" for m in means[:3]), f"{means[3]:.0f} of {len(points)}", f"{100 * means[4]:.0f} %"]


if __name__ == "__main__":
    main()

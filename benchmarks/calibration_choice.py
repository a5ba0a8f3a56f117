"""Which candidate to take: the largest mean, or the one with the largest fitted gain? Replayed on known surfaces.

    python benchmarks/calibration_choice.py
    python benchmarks/calibration_choice.py --arms tiny-sdxl:w4a4:1:9:40       # model, precision, steps, side, prompts

Measured surfaces: scores of an even grid of constant coefficients (0.8 to 1.2) on some calibration prompts with the
same noise for all candidates; they are kept in `benchmarks/results/choice-*.npz` and gone on with. Then 200 times some
of the prompts choose a candidate by each rule, and the other prompts judge it. The best candidate of all prompts is
held against that: it knows what no rule can. The set of equals is drawn on the choosing prompts: how large is it, and
does it hold that best candidate? Prompts are shared by the splits, so intervals over splits would be too narrow; the
one given is over prompts, by the jackknife: the spread of the difference when each prompt in turn is left out.

Planted surfaces (choice_worlds.py): 40 seeds of three shapes under three kinds of noise, searched by the default race.

Writes `benchmarks/results/calibration_choice.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import RegularGridInterpolator

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.calibration_replay import StoredObjective
from benchmarks.choice_worlds import NOISES, SHAPES, SIDE, planted_gain, planted_values
from qsched.backbones import load_backbone, quiet_libraries
from qsched.calibration.equals import set_of_equals
from qsched.calibration.families import CoefficientFamily, Point, even_grid
from qsched.calibration.search import leader, search_race
from qsched.calibration.surface import fit_surface
from qsched.calibration.trajectory import BatchRow, TrajectoryRenderer
from qsched.generation import image_seed, read_prompts
from qsched.precision import apply_precision, find_recipe
from qsched.scoring import Jaq, load_scorer
from qsched.tiny import prompts_path

RESULTS = Path(__file__).parent / "results"
ARMS = ("tiny-flux:w4a4:4:5:40", "tiny-sdxl:w4a4:1:9:40", "tiny-flux:w3a8:1:9:40", "tiny-sdxl:w4a4:4:5:40")
SPLITS, JACKKNIFE_SPLITS, SEEDS = 200, 15, 40
LEVELS = (2.0, 8.0)


@dataclass(frozen=True)
class Arm:
    """A surface to measure: a model in a precision, its steps, values per axis of the grid, prompts."""

    model: str
    precision: str
    steps: int = 4
    size: int = 5
    n_prompts: int = 40

    @property
    def name(self) -> str:
        """`tiny-flux W4A4, 4 steps, 5x5`."""
        steps = f"{self.steps} step{'s' * (self.steps > 1)}"
        return f"{self.model} {self.precision.upper()}, {steps}, {self.size}x{self.size}"

    @property
    def path(self) -> Path:
        """Where the surface is kept."""
        steps = "" if self.steps == 4 else f"-{self.steps}step"
        return RESULTS / f"choice-{self.model}-{self.precision}{steps}.npz"


def main() -> None:
    """Measure what is missing, replay, print and store the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="*", default=list(ARMS))
    parser.add_argument("--work", type=Path, default=Path("runs/calibration-choice"))
    parser.add_argument("--measure-only", action="store_true", help="make the surfaces and stop")
    arguments = parser.parse_args()
    quiet_libraries()
    arms = []
    for text in arguments.arms:
        model, precision, *numbers = text.split(":")
        arms.append(Arm(model, precision, *(int(number) for number in numbers)))
    surfaces = {arm: measure(arm) for arm in arms}
    if arguments.measure_only:
        return
    lines = [
        f"Measured surfaces: gain on the prompts that did not choose, mean over {SPLITS} splits, by",
        "`python benchmarks/calibration_choice.py`.",
        "",
        "| surface, prompts that choose | largest mean | smooth fit | fit - mean | best of all | set of equals | "
        "it holds that best |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, (points, values) in surfaces.items():
        for n in (5, 12, 20):
            lines.append(f"| {arm.name}, {n} of {arm.n_prompts} | {' | '.join(replay(points, values, n))} |")
    lines.append("")
    for arm, (points, values) in surfaces.items():
        found = neighbours_correlation(points, values)
        lines.append(f"Correlation of the errors of neighbours on a prompt, {arm.name}: {found:.2f}.")
    lines += ["", *planted_table(arguments.work)]
    text = "\n".join(lines) + "\n"
    (RESULTS / "calibration_choice.md").write_text(text, encoding="utf-8")
    print(text)


def measure(arm: Arm) -> tuple[list[Point], np.ndarray]:
    """(points, JAQ [points, prompts]), (1, 1) among them."""
    family = CoefficientFamily("constant", arm.steps)
    points = even_grid(family, arm.size)
    values = np.full((len(points), arm.n_prompts), np.nan)
    if arm.path.exists():
        with np.load(arm.path) as stored:
            values = stored["jaq"]
    if not np.isnan(values).any():
        return points, values
    prompts = read_prompts(prompts_path("calibration"))[: arm.n_prompts]
    backbone = load_backbone(arm.model, device="cpu", steps=arm.steps)
    apply_precision(backbone, find_recipe(arm.precision))
    tc, iq = (load_scorer(scorer, device="cpu", weights="tiny-clip") for scorer in ("clipscore", "clip-iqa"))
    objective = Jaq(tc, iq)
    renderer = TrajectoryRenderer(backbone, steps=arm.steps, batch_rows=25)
    for i, point in enumerate(points):
        if np.isnan(values[i]).any():
            coefficients = family.coefficients(point)
            images = renderer.render([BatchRow(p, image_seed(0, p.prompt_id, 0), coefficients) for p in prompts])
            values[i] = objective.score(images, [p.prompt for p in prompts]).jaq
            np.savez_compressed(arm.path, jaq=values, points=np.array(points))
            print(f"{arm.name}: {i + 1} of {len(points)}, {renderer.nfe} NFE", flush=True)
    return points, values


def replay(points: Sequence[Point], values_CN: np.ndarray, n: int) -> list[str]:
    """The cells of the table's row."""
    gains = values_CN - values_CN[list(points).index((1.0, 1.0))]
    best = int(gains.mean(axis=1).argmax())
    rng = np.random.default_rng(0)
    found: list[list[float]] = []
    for split in range(SPLITS):
        order = rng.permutation(values_CN.shape[1])
        seen, held = order[:n], order[n:]
        equals = set_of_equals(values_CN[:, seen], seed=split)
        judged = [float(gains[i, held].mean()) for i in (*both(points, values_CN[:, seen]), best)]
        found.append([*judged, len(equals), float(best in equals)])
    means = np.array(found).mean(axis=0)
    difference = f"{means[1] - means[0]:+.4f} ± {1.96 * jackknife_error(points, values_CN, n):.4f}"
    cells = [f"{means[0]:+.4f}", f"{means[1]:+.4f}", difference, f"{means[2]:+.4f}"]
    return [*cells, f"{means[3]:.0f} of {len(points)}", f"{100 * means[4]:.0f} %"]


def both(points: Sequence[Point], values_CN: np.ndarray) -> tuple[int, int]:
    """The candidates that the largest mean and the smooth fit choose."""
    fitted = list(points).index(by_fit(points, values_CN))
    return int(values_CN.mean(axis=1).argmax()), fitted


def by_fit(points: Sequence[Point], values_CN: np.ndarray) -> Point:
    """The rule of a day: of the candidates measured on all prompts and not below (1, 1), the largest fitted gain."""
    means = values_CN.mean(axis=1)
    stock = list(points).index((1.0, 1.0))
    allowed = [i for i in range(len(points)) if np.isfinite(means[i]) and means[i] >= means[stock]]
    surface = fit_surface(points, values_CN, CoefficientFamily("constant", 4))
    if surface is None:
        return points[max(allowed, key=lambda i: float(means[i]))]
    return points[allowed[int(surface.at([points[i] for i in allowed]).argmax())]]


def neighbours_correlation(points: Sequence[Point], values_CN: np.ndarray) -> float:
    """Of the doubly centred residuals of grid points side by side: 0 if pictures err alone."""
    size = round(len(points) ** 0.5)
    residuals = values_CN - values_CN.mean(axis=0) - values_CN.mean(axis=1, keepdims=True) + values_CN.mean()
    grid = residuals.reshape(size, size, -1)
    pairs = ((grid[1:], grid[:-1]), (grid[:, 1:], grid[:, :-1]))
    found = [(a * b).mean() / np.sqrt((a**2).mean() * (b**2).mean()) for a, b in pairs]
    return float(np.mean(found))


def jackknife_error(points: Sequence[Point], values_CN: np.ndarray, n: int) -> float:
    """Standard error over prompts of what the fit gains over the largest mean on average over splits."""
    left_out = []
    for prompt in range(values_CN.shape[1]):
        values = np.delete(values_CN, prompt, axis=1)
        rng, found = np.random.default_rng(1), []
        for _ in range(JACKKNIFE_SPLITS):
            order = rng.permutation(values.shape[1])
            mean, fitted = both(points, values[:, order[:n]])
            found.append(float((values[fitted] - values[mean])[order[n:]].mean()))
        left_out.append(np.mean(found))
    m = len(left_out)
    return float(np.sqrt((m - 1) / m * ((np.array(left_out) - np.mean(left_out)) ** 2).sum()))


def planted_table(work: Path) -> list[str]:
    """The share of the possible gain that the default race keeps with either choice, in planted worlds."""
    lines = [
        f"Planted surfaces, {SEEDS} seeds of each: share of the possible gain that the default race keeps (its whole",
        "grid with the same rule in brackets), and the difference of the two rules after the race with its 95 %",
        "interval. Noise is that of a gain on one prompt, in units of the possible gain.",
        "",
        "| prompts, surface, noise | largest mean | smooth fit | fit - mean |",
        "|---|---|---|---|",
    ]
    for (n, shape, noise, level), found in planted_worlds(work).items():
        share = np.array(found)
        means, difference = share.mean(axis=0), share[:, 1] - share[:, 0]
        error = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
        cells = [f"{means[0]:.2f} ({means[2]:.2f})", f"{means[1]:.2f} ({means[3]:.2f})"]
        lines.append(
            f"| {n}, {shape}, {noise} {level:g} | {' | '.join(cells)} | {difference.mean():+.2f} ± {error:.2f} |"
        )
    return lines


def planted_worlds(work: Path) -> dict[tuple[int, str, str, float], list[list[float]]]:
    """True gains of the race's two choices, and of the two choices from its first grid, world by world."""
    path = work / "planted.jsonl"
    work.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {(r["n"], r["shape"], r["noise"], r["level"], r["seed"]): r for r in lines}
    found: dict[tuple[int, str, str, float], list[list[float]]] = {}
    worlds = [(n, shape, noise, level) for n in (25, 12) for shape in SHAPES for noise in NOISES for level in LEVELS]
    with path.open("a", encoding="utf-8") as file:
        for n, shape, noise, level in worlds:
            for seed in range(SEEDS):
                key = (n, shape, noise, level, seed)
                if key not in known:
                    known[key] = planted_world(*key)
                    file.write(json.dumps(known[key]) + "\n")
                one = known[key]
                row = [one["mean"], one["fit"], one["grid_mean"], one["grid_fit"]]
                found.setdefault((n, shape, noise, level), []).append(row)
    return found


def planted_world(n: int, shape: str, noise: str, level: float, seed: int) -> dict[str, object]:
    """One world, searched once."""
    family = CoefficientFamily("constant", 4)
    rng = np.random.default_rng([seed, SHAPES.index(shape), NOISES.index(noise), int(level)])
    gain = planted_gain(shape, rng)
    values = planted_values(gain, noise, level, n, rng)
    table, truth = (RegularGridInterpolator((SIDE, SIDE), one, method="nearest") for one in (values, gain))
    objective = StoredObjective(table, range(n))
    search_race(objective, family, seed=seed, size=9)
    grid = even_grid(family, 9)
    grid_values = np.array([table([point])[0] for point in grid])
    chosen = {
        "fit": by_fit(*objective.table()),
        "mean": leader(objective, among=None),
        "grid_fit": by_fit(grid, grid_values),
        "grid_mean": grid[int(grid_values.mean(axis=1).argmax())],
    }
    shares = {name: float(truth([point])[0]) for name, point in chosen.items()}
    return {"n": n, "shape": shape, "noise": noise, "level": level, "seed": seed, **shares}


if __name__ == "__main__":
    main()

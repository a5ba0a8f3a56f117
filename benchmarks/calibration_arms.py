"""The default search against a grid, arm by arm: two models, five precisions, 4 steps and 1, several noise seeds.

    nice -n 15 python benchmarks/calibration_arms.py                # hours on one core; goes on where it was stopped
    python benchmarks/calibration_arms.py --publish calibration_arms    # tables of what has been measured so far

`--models`, `--precisions` and `--steps` measure a part of it. Two processes share the work with `--models tiny-sdxl
--work A` and `--models tiny-flux --work B`; the two `arms.jsonl`, one after the other, are the journal to publish.

A cell is (model, precision, steps, noise seed). In each cell the default search runs on the first 25 calibration
prompts; the grid is 9x9 on 0.8 to 1.2 with the same 25 prompts, with the noise of seed 0. Stock, what the calibration
prompts chose for each method, with the search of the last step and without it, and the grid's best point are then
scored on the evaluation prompts, in pieces of 25, by JAQ and by the domain's ground-truth check. Every piece is a line
of the journal in --work. The order is that of `plan`: what says most comes first. The files in benchmarks/results say
how many prompts and seeds each row really has.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.cost import counted
from qsched.backbones import quiet_libraries
from qsched.calibration.calibrate import seeds_of
from qsched.calibration.closed_form import LAST_STEP, search_closed_form
from qsched.calibration.command import (
    CalibrationRequest,
    load_for,
    load_objective,
    quantize_for,
    run_in_full,
    split_prompts,
)
from qsched.calibration.compare import score_arms
from qsched.calibration.evaluate import Evaluator
from qsched.calibration.families import CoefficientFamily, even_grid
from qsched.calibration.journal import Journal
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.trajectory import TrajectoryRenderer
from qsched.files import append_synced
from qsched.scheduling import Coefficients
from qsched.scoring import Jaq, load_scorer
from qsched.tiny import prompts_path

MODELS = ("tiny-sdxl", "tiny-flux")
# The candidates of each method; "last step" is the best of those without it with another pair for the last step.
METHODS = {
    "Q-Sched": ("stock", "scalars", "last step"),
    "qsched-bias": ("stock", "bias", "bias and scalars", "bias, last step"),
}
PIECE, N_HELDOUT, GRID = 25, 200, 9
MAIN, STRONG = ("w3a8", "w4a4", "w4a4-channel"), ("nvfp4", "svdquant")
# The best pairs that are known: of the released scripts' 50x50 grid (benchmarks/calibration.py, 187,600 NFE), and of
# races of 2,500 NFE (docs/calibration.md). On tiny-flux W3A8 the race found nothing better than (1, 1).
SCRIPTS_GRID = {
    ("tiny-sdxl", "w3a8", 4): Coefficients.constant(model=1.085714, sample=0.8),
    ("tiny-flux", "w4a4", 4): Coefficients.constant(model=1.15102, sample=0.816327),
}
RACES = {("tiny-sdxl", "w4a4", 4): Coefficients.constant(model=1.05, sample=0.975)}


@dataclass(frozen=True)
class Cell:
    """One model in one precision, with a number of steps and a noise seed."""

    model: str
    precision: str
    steps: int
    seed: int

    @property
    def name(self) -> str:
        """`tiny-sdxl w3a8, 4 steps, seed 0`."""
        return f"{self.model} {self.precision}, {self.steps} steps, seed {self.seed}"


def published_pairs(path: Path) -> dict[tuple[str, str, int], Coefficients]:
    """The grids' best pairs of published results, by model, precision and number of steps."""
    found = {}
    for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
        model, precision, steps = row["arm"].replace(",", "").split()[:3]
        if "pair" in row:
            found[model, precision.lower(), int(steps)] = Coefficients.from_dict(row["pair"]["coefficients"])
    return found


def plan() -> Iterator[tuple[str, Cell, int]]:
    """(kind, cell, first held-out prompt), what says most first."""

    def cells(precisions: tuple[str, ...], steps: int, seed: int) -> list[Cell]:
        return [Cell(model, precision, steps, seed) for precision in precisions for model in MODELS]

    def held(some: list[Cell], first: int, last: int) -> Iterator[tuple[str, Cell, int]]:
        for cell in some:
            yield "fit", cell, 0
            yield from (("held", cell, start) for start in range(first, last, PIECE))

    missed = [Cell("tiny-flux", "w4a4", 4, seed) for seed in (0, 1)]  # where a grid found what the fits had missed
    main = list(dict.fromkeys([*missed, *(cell for seed in (0, 1) for cell in cells(MAIN, 4, seed))]))
    one_step = [cell for seed in (0, 1) for cell in cells(MAIN, 1, seed)]
    strong = [cell for seed in (0, 1) for steps in (4, 1) for cell in cells(STRONG, steps, seed)]
    yield from held(missed, 0, 100)
    yield from held(main, 0, 50)
    yield from held([*one_step, *strong], 0, 50)
    for precision, steps in (("w4a4-channel", 4), ("w3a8", 1), ("w4a4", 1)):
        for cell in cells((precision,), steps, 0):
            yield "grid", cell, 0
            yield from held([cell], 0, 50)
    yield from held(main, 50, N_HELDOUT)
    yield from held([*one_step, *cells(MAIN, 1, 2)], 0, N_HELDOUT)
    for cell in cells(STRONG, 4, 0):
        yield "grid", cell, 0
    yield from held(strong, 0, 100)  # there is nothing to repair: intervals are narrow


class Bench:
    """The journal, and the model of the cell at hand."""

    def __init__(self, work: Path, pairs: Path | None = None) -> None:
        self.work, self.path = work, work / "arms.jsonl"
        self.pairs = {**SCRIPTS_GRID, **RACES} | ({} if pairs is None else published_pairs(pairs))
        work.mkdir(parents=True, exist_ok=True)
        self.fits: dict[Cell, dict[str, Any]] = {}
        self.grids: dict[Cell, dict[str, Any]] = {}
        self.held: dict[tuple[Cell, str], dict[int, dict[str, list[float]]]] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []:
            self._take(json.loads(line))
        self._now: tuple[Cell, TrajectoryRenderer] | None = None
        self._parts: tuple[type, type] | None = None  # the classes that do the work, for the counter

    def run(self, models: Sequence[str], precisions: Sequence[str], steps: Sequence[int]) -> None:
        """What the plan has for these cells and the journal lacks."""
        for kind, cell, first in plan():
            if cell.model not in models or cell.precision not in precisions or cell.steps not in steps:
                continue
            if kind == "fit" and cell not in self.fits:
                self._write({"kind": "fit", "cell": asdict(cell), **self._fit(cell)})
            elif kind == "grid" and cell not in self.grids and self.coefficients(cell, "pair") is None:
                self._write({"kind": "grid", "cell": asdict(cell), **self._grid(cell)})
            for arm in self.wanted(cell) if kind == "held" else ():
                if first not in self.held.get((cell, arm), {}) and (coefficients := self.coefficients(cell, arm)):
                    values = self._held(cell, coefficients, first)
                    self._write({"kind": "held", "cell": asdict(cell), "arm": arm, "first": first, "values": values})

    def chosen(self, cell: Cell, arms: tuple[str, ...]) -> str:
        """The arm with the largest mean on the calibration prompts."""
        jaq = self.fits[cell]["jaq"]
        return max((arm for arm in arms if arm in jaq), key=lambda arm: float(np.mean(jaq[arm])))

    def wanted(self, cell: Cell) -> tuple[str, ...]:
        """The arms to judge: stock, what each method chooses, the same without the last step, and the known pair."""
        before = [self.chosen(cell, arms[:-1]) for arms in METHODS.values()]
        return tuple(dict.fromkeys(["stock", *before, *(self.chosen(cell, a) for a in METHODS.values()), "pair"]))

    def coefficients(self, cell: Cell, arm: str) -> Coefficients | None:
        """Those of an arm; None for a fit that is not a candidate, and for a grid that was not run."""
        if arm == "stock":
            return Coefficients.constant()
        if arm == "pair":
            known = self.pairs.get((cell.model, cell.precision, cell.steps))
            found = self.grids.get(replace(cell, seed=0))
            return known or (Coefficients.from_dict(found["best"]) if found else None)
        found = self.fits[cell]["candidates"].get(arm)
        return Coefficients.from_dict(found) if found else None

    def _fit(self, cell: Cell) -> dict[str, Any]:
        request, objective = self._request(cell), self._objective(cell)
        self._now = None
        backbone = load_for(request)
        prompts, _ = split_prompts(request)
        self._parts = type(backbone.denoiser), type(backbone.pipeline.vae)
        with counted(*self._parts, Jaq) as cost:
            full = run_in_full(backbone, request.settings, prompts)
            quantize_for(request, backbone, prompts)
            renderer = TrajectoryRenderer(backbone, steps=cell.steps)
            evaluator = self._evaluator(cell, renderer, objective, full.nfe)
            seeds = seeds_of(prompts, request.settings)
            closed = search_closed_form(evaluator, renderer, full, prompts, seeds)
        self._now = (cell, renderer)
        measured = evaluator.measured_on_all()
        candidates = {"stock": Coefficients.constant()}
        candidates |= {form: fit.coefficients for form, fit in closed.fits.items() if fit.coefficients is not None}
        for label, one in closed.candidates.items():
            if label.endswith(LAST_STEP):
                candidates["last step" if one.method == "qsched" else "bias, last step"] = one
        return {
            "candidates": {name: one.to_dict() for name, one in candidates.items()},
            "jaq": {name: measured[one.at_steps(cell.steps)].tolist() for name, one in candidates.items()},
            "notes": list(closed.notes),
            "error": [step.error for step in closed.fits["bias and scalars"].steps],
            "shares": closed.fits["bias and scalars"].shares,
            "cost": cost.to_json(),
        }

    def _grid(self, cell: Cell) -> dict[str, Any]:
        renderer = self._renderer(cell)
        family = CoefficientFamily("constant", cell.steps)
        points = even_grid(family, GRID)
        assert self._parts is not None
        with counted(*self._parts, Jaq) as cost:
            evaluator = self._evaluator(cell, renderer, self._objective(cell), 0)
            values = evaluator.values([family.coefficients(point) for point in points])
        best = points[int(values.mean(axis=1).argmax())]
        return {
            "best": family.coefficients(best).to_dict(),
            "points": points,
            "jaq": np.round(values, 6).tolist(),
            "cost": cost.to_json(),
        }

    def _held(self, cell: Cell, coefficients: Coefficients, first: int) -> dict[str, list[float]]:
        request = self._request(cell)
        heldout = split_prompts(request)[1][first : first + PIECE]
        renderer, seeds = self._renderer(cell), seeds_of(heldout, request.settings)
        check = load_scorer("tiny-check", device="cpu")
        scores = score_arms(renderer, self._objective(cell), heldout, seeds, {"arm": coefficients}, also=[check])
        return {name: [round(v, 6) for v in scores["arm"].values[name]] for name in ("jaq", "tc", "iq", "tiny-check")}

    def _request(self, cell: Cell) -> CalibrationRequest:
        return CalibrationRequest(
            backbone=cell.model,
            precision=cell.precision,
            prompts=prompts_path("calibration"),
            out=self.work / f"{cell.model}-{cell.precision}-{cell.steps}-{cell.seed}.json",
            settings=CalibrationSettings(seed=cell.seed),
            heldout=prompts_path("eval"),
            n_heldout=N_HELDOUT,
            steps=cell.steps,
            device="cpu",
        )

    def _objective(self, cell: Cell) -> Jaq:
        if not hasattr(self, "_jaq"):
            self._jaq = load_objective(self._request(cell), "cpu")
        return self._jaq

    def _renderer(self, cell: Cell) -> TrajectoryRenderer:
        """The quantized model of a cell; the one at hand if it only differs in the seed."""
        if self._now is None or replace(self._now[0], seed=cell.seed) != cell:
            request = self._request(cell)
            backbone = load_for(request)
            quantize_for(request, backbone, split_prompts(request)[0])
            self._parts = type(backbone.denoiser), type(backbone.pipeline.vae)
            self._now = (cell, TrajectoryRenderer(backbone, steps=cell.steps))
        return self._now[1]

    def _evaluator(self, cell: Cell, renderer: TrajectoryRenderer, objective: Jaq, spent: int) -> Evaluator:
        request = self._request(cell)
        prompts, _ = split_prompts(request)
        journal = Journal(request.out.with_suffix(".journal.jsonl"), {"benchmark": "calibration_arms"})
        return Evaluator(renderer, objective, prompts, seeds_of(prompts, request.settings), journal, spent_before=spent)

    def _write(self, line: dict[str, Any]) -> None:
        append_synced(self.path, (json.dumps(line) + "\n").encode())
        self._take(line)
        print(line["kind"], Cell(**line["cell"]).name, line.get("arm", ""), line.get("first", ""), flush=True)

    def _take(self, line: dict[str, Any]) -> None:
        cell = Cell(**line["cell"])
        if line["kind"] == "fit":
            self.fits[cell] = line
        elif line["kind"] == "grid":
            self.grids[cell] = line
        else:
            self.held.setdefault((cell, line["arm"]), {})[line["first"]] = line["values"]


def main() -> None:
    """Measure what is missing, or publish what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/calibration-arms"))
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--precisions", nargs="+", default=MAIN + STRONG, choices=MAIN + STRONG)
    parser.add_argument("--steps", nargs="+", type=int, default=(4, 1), choices=(4, 1))
    parser.add_argument("--pairs", type=Path, help="published results (.json) whose grids are not searched again")
    parser.add_argument("--publish", metavar="NAME", help="write benchmarks/results/NAME.md and .json")
    arguments = parser.parse_args()
    bench = Bench(arguments.work, arguments.pairs)
    if arguments.publish:
        from benchmarks.calibration_arms_tables import publish

        publish(bench, arguments.publish)
        return
    quiet_libraries()
    bench.run(arguments.models, arguments.precisions, arguments.steps)


if __name__ == "__main__":
    main()

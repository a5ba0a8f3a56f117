"""Do coefficients carry over, and does JAQ see the damage? Studies on the tiny models, each a table with intervals.

    nice -n 15 python benchmarks/calibration_transfer.py      # goes on where it was stopped, then writes its tables

Coefficients are those that come with the tiny models (docs/calibration.md), where they are not (1, 1), and the pairs of
the released scripts' grids. All differences are paired over the first evaluation prompts with the same noise; 95 %
intervals, not corrected for their number. A level is one of 255 of mean absolute difference from the full-precision
picture of the same noise.

    planted    the model's output times a factor: how far pictures move, and what JAQ and the check say
    mixed      one step in full precision and the others quantized, and the reverse
    arms       coefficients of one precision used in another, full precision included
    sizes      coefficients of 128 x 128 pixels used at 96 and 160; the check sees pictures brought to 128
    steps      one pair for all steps, found with 4 steps, used with 1, 2 and 8

Writes `benchmarks/results/calibration_transfer.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.calibration_arms import MODELS, SCRIPTS_GRID
from qsched.backbones import Backbone, find_spec, load_backbone, quiet_libraries
from qsched.calibration.trajectory import BatchRow, TrajectoryRenderer
from qsched.files import append_synced
from qsched.generation import image_seed, read_prompts
from qsched.generation.arms import shipped_coefficients
from qsched.generation.quantize import calibration_source, quantize_backbone
from qsched.precision import find_recipe
from qsched.scheduling import METHODS, Coefficients
from qsched.scoring import Jaq, load_scorer
from qsched.scoring.paired import PairedDifference, paired_difference
from qsched.tiny import prompts_path

RESULTS = Path(__file__).parent / "results"
SECTIONS = ("planted", "mixed", "arms", "sizes", "steps")
N_PROMPTS = 50
NATIVE = 128
STOCK = Coefficients.constant()
FACTORS = (0.5, 0.8, 1.25)


@dataclass(frozen=True)
class Setting:
    """A model as it is run. `full_at` has the steps in full precision, `factor` multiplies the model's output."""

    model: str
    precision: str = "fp32"
    steps: int = 4
    full_at: tuple[int, ...] = ()
    factor: float = 1.0
    size: int = NATIVE


class Study:
    """Scores of settings and coefficients, each measured once and kept in a journal."""

    def __init__(self, work: Path, n_prompts: int, models: Sequence[str] = MODELS) -> None:
        self.work, self.path, self.n, self.models = work, work / "transfer.jsonl", n_prompts, models
        work.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, dict[str, list[float]]] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []:
            record = json.loads(line)
            self._known[record["key"]] = record["values"]
        self._prompts = read_prompts(prompts_path("eval"))[:n_prompts]
        self._now: tuple[Setting, TrajectoryRenderer] | None = None
        self._full: dict[Setting, np.ndarray] = {}
        tc, iq = (load_scorer(name, device="cpu", weights="tiny-clip") for name in ("clipscore", "clip-iqa"))
        self._objective, self._check = Jaq(tc, iq), load_scorer("tiny-check", device="cpu")

    def values(self, setting: Setting, coefficients: Coefficients = STOCK) -> dict[str, np.ndarray]:
        """`jaq`, `check` and `levels`, each [prompts]."""
        key = json.dumps([vars(setting), coefficients.to_dict(), self.n], sort_keys=True)
        if key not in self._known:
            pictures = self._render(setting, coefficients)
            texts, names = [p.prompt for p in self._prompts], [p.prompt_id for p in self._prompts]
            reference = Setting(setting.model, steps=setting.steps, size=setting.size)
            if reference not in self._full:
                self._full[reference] = np.stack([np.asarray(x) for x in self._render(reference, STOCK)]).astype(float)
            moved = np.stack([np.asarray(picture) for picture in pictures]) - self._full[reference]
            native = [picture.resize((NATIVE, NATIVE)) for picture in pictures]  # the same if it has that size
            found = {
                "jaq": self._objective.score(pictures, texts, names=names).jaq,
                "check": self._check.score(native, texts, names=names),
                "levels": np.abs(moved).mean(axis=(1, 2, 3)).tolist(),
            }
            self._known[key] = {name: [round(float(v), 6) for v in one] for name, one in found.items()}
            append_synced(self.path, (json.dumps({"key": key, "values": self._known[key]}) + "\n").encode())
            print(setting, coefficients.words[:60], flush=True)
        return {name: np.array(one) for name, one in self._known[key].items()}

    def _render(self, setting: Setting, coefficients: Coefficients) -> list[Any]:
        rows = [BatchRow(p, image_seed(0, p.prompt_id, 0), coefficients) for p in self._prompts]
        return self._renderer(setting).render(rows)

    def _renderer(self, setting: Setting) -> TrajectoryRenderer:
        if self._now is None or self._now[0] != setting:
            backbone = self._load(setting, setting.precision)
            denoiser, calls = backbone.denoiser, 0
            own, full = denoiser.forward, self._load(setting, "fp32").denoiser.forward if setting.full_at else None

            def forward(*arguments: Any, **options: Any) -> Any:
                nonlocal calls
                step, calls = calls % setting.steps, calls + 1
                result = (full if full is not None and step in setting.full_at else own)(*arguments, **options)
                return (result[0] * setting.factor,)

            if setting.full_at or setting.factor != 1:
                # Mixed settings are run with one set of coefficients, so every batch runs every step, and calls count.
                denoiser.forward = forward
            self._now = setting, TrajectoryRenderer(backbone, steps=setting.steps, batch_rows=25)
        return self._now[1]

    def _load(self, setting: Setting, precision: str) -> Backbone:
        size = setting.size
        backbone = load_backbone(setting.model, device="cpu", steps=setting.steps, width=size, height=size)
        source = calibration_source(
            None, 8, backbone=setting.model, precision=precision, batch_size=8, folder=self.work / "statistics"
        )
        quantize_backbone(backbone, find_recipe(precision), source)
        return backbone


def shipped(model: str) -> Iterator[tuple[str, str, Coefficients]]:
    """(precision, method, coefficients) of those that come with a model and change anything."""
    for precision in ("w3a8", "w4a4"):
        for method in METHODS:
            found, _ = shipped_coefficients(find_spec(model), precision, method=method)
            if not found.is_identity:
                yield precision, method, found


def arms(study: Study) -> Iterator[list[str]]:
    """Coefficients of two precisions in others."""
    yield ["coefficients of", "used in", "JAQ over stock", "check over stock", "levels from fp32: stock, tuned"]
    for model in study.models:
        for target in ("w3a8", "w4a4", "nvfp4", "svdquant", "fp8", "nf4", "fp32"):
            for precision, method, found in shipped(model):
                name = f"{model} {precision.upper()}, {method}"
                yield [name, target.upper(), *over_stock(study, Setting(model, target), found)]


def sizes(study: Study) -> Iterator[list[str]]:
    """Coefficients at other resolutions than their own."""
    yield ["coefficients of", "pixels", "JAQ over stock", "check over stock", "levels from fp32: stock, tuned"]
    for model in study.models:
        for size in (96, 160):
            for precision, method, found in shipped(model):
                name = f"{model} {precision.upper()}, {method}"
                yield [name, f"{size} x {size}", *over_stock(study, Setting(model, precision, size=size), found)]


def steps(study: Study) -> Iterator[list[str]]:
    """One pair in runs of other lengths."""
    yield ["model, pair of 4 steps", "steps", "JAQ over stock", "check over stock", "levels from fp32: stock, pair"]
    for (model, precision, _), pair in ((cell, pair) for cell, pair in SCRIPTS_GRID.items() if cell[0] in study.models):
        for n in (1, 2, 8):
            name = f"{model} {precision.upper()}, {pair.model[0]:.3g}, {pair.sample[0]:.3g}"
            yield [name, str(n), *over_stock(study, Setting(model, precision, n), pair)]


def mixed(study: Study) -> Iterator[list[str]]:
    """Which step's quantization does the damage."""
    yield ["model", "in full precision", "JAQ under fp32", "check under fp32", "levels from fp32"]
    for model in study.models:
        full = study.values(Setting(model))
        for full_at in ((), (0,), (1,), (2,), (3,), (1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2)):
            found = study.values(Setting(model, "w3a8", full_at=full_at))
            lost = [words(paired_difference(found[name], full[name])) for name in ("jaq", "check")]
            what = "no step" if not full_at else "step " + ", ".join(str(i + 1) for i in full_at)
            yield [f"{model} W3A8", what, *lost, f"{found['levels'].mean():.1f}"]


def planted(study: Study) -> Iterator[list[str]]:
    """A factor on the model's output, in full precision: is JAQ blind to it?"""
    yield ["model", "factor", "levels from fp32", "JAQ", "check", "left after the exact repair: levels"]
    for model in study.models:
        full = study.values(Setting(model))
        for factor in FACTORS:
            found = study.values(Setting(model, factor=factor))
            repaired = study.values(Setting(model, factor=factor), Coefficients.constant(model=1 / factor))
            lost = [words(paired_difference(found[name], full[name])) for name in ("jaq", "check")]
            levels = [f"{one['levels'].mean():.1f}" for one in (found, repaired)]
            yield [model, f"{factor:g}", levels[0], *lost, levels[1]]


def over_stock(study: Study, setting: Setting, coefficients: Coefficients) -> list[str]:
    """JAQ, check and levels of coefficients against the stock scheduler of a setting."""
    stock, tuned = study.values(setting), study.values(setting, coefficients)
    gains = [words(paired_difference(tuned[name], stock[name])) for name in ("jaq", "check")]
    return [*gains, f"{stock['levels'].mean():.1f}, {tuned['levels'].mean():.1f}"]


def words(gain: PairedDifference) -> str:
    """`+0.170 [+0.121, +0.230]`."""
    return f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


STUDIES: dict[str, Callable[[Study], Iterator[list[str]]]] = {
    "planted": planted,
    "arms": arms,
    "mixed": mixed,
    "sizes": sizes,
    "steps": steps,
}


def main() -> None:
    """Measure what is missing, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/calibration-transfer"))
    parser.add_argument("--n-prompts", type=int, default=N_PROMPTS)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--sections", nargs="+", default=SECTIONS, choices=SECTIONS)
    parser.add_argument("--out", type=Path, default=RESULTS / "calibration_transfer.md")
    arguments = parser.parse_args()
    quiet_libraries()
    study = Study(arguments.work, arguments.n_prompts, arguments.models)
    text = ["# Coefficients elsewhere than where they were found", ""]
    text += [f"`python benchmarks/calibration_transfer.py`, {arguments.n_prompts} evaluation prompts.", ""]
    for section in arguments.sections:
        header, *rows = STUDIES[section](study)
        lines = [header, ["---"] * len(header), *rows]
        text += [f"## {section}", "", *("| " + " | ".join(cells) + " |" for cells in lines), ""]
        arguments.out.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()

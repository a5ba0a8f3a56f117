"""What the paper leaves open about the coefficients, measured on a tiny model with intervals.

    python benchmarks/calibration_studies.py --backbone tiny-flux --precision w3a8

Each search is the default race on the shipped calibration prompts (it resumes from its journal in --work). Everything
found is then judged on other prompts, 100 of the evaluation set, as paired differences to the stock scheduler with
95 % t intervals over prompts; the ground-truth check of the domain is measured beside JAQ. The intervals are not
corrected for their number. Writes a JSON record and a Markdown file of tables.

    joint       both coefficients against the model's alone and the sample's alone
    family      constant, linear-to-one, linear, per-step
    k           JAQ = TC + k IQ with k in 0.5, 1, 2, 5; judged by the check, since JAQ itself changes with k
    prompts     5, 25 and 75 calibration prompts, some with several seeds of the noise
    precisions  coefficients of one precision used in another, full precision included
    noise       the same coefficients under other noise than they were found with
    range       the paper's range of 0.8 to 1.2 against wider ones
    agreement   does JAQ rank coefficients, and pictures, as the check does?

--sections names some of them; the file then has only those.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine
from qsched.backbones import DTYPES, load_backbone, quiet_libraries
from qsched.calibration.command import CalibrationRequest, load_objective, run_calibration
from qsched.calibration.families import Box, Vary, even_grid
from qsched.calibration.record import write_record
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.trajectory import BatchRow, TrajectoryRenderer
from qsched.generation import image_seed, read_prompts
from qsched.precision import apply_precision, find_recipe
from qsched.scheduling import Coefficients
from qsched.scoring import load_scorer
from qsched.scoring.paired import PairedDifference, paired_difference
from qsched.tiny import prompts_path

BOX = Box((0.8, 1.2), (0.8, 1.2))
WIDER = (Box((0.6, 1.4), (0.6, 1.4)), Box((0.4, 1.6), (0.4, 1.6)))
SECTIONS = ("joint", "family", "k", "prompts", "noise", "range", "precisions", "agreement")
STOCK = Coefficients.constant()
JUDGED = 100
Values = dict[str, np.ndarray]


class Judge:
    """Scores of coefficients on the evaluation prompts, in any precision, each rendered once."""

    def __init__(self, request: CalibrationRequest) -> None:
        self._request = request
        self._prompts = read_prompts(prompts_path("eval"))
        self._objective = load_objective(request, "cpu")
        self._check = load_scorer("tiny-check", device="cpu")
        self._renderers: dict[str, TrajectoryRenderer] = {}
        self._known: dict[tuple[str, str, int, int], Values] = {}

    def values(self, coefficients: Coefficients, *, precision: str, seed: int = 0, n: int = JUDGED) -> Values:
        """`tc`, `iq` and `check`, each [prompts]."""
        key = (precision, json.dumps(coefficients.to_dict(), sort_keys=True), seed, n)
        if key not in self._known:
            prompts = self._prompts[:n]
            rows = [BatchRow(p, image_seed(seed, p.prompt_id, 0), coefficients) for p in prompts]
            images = self.renderer(precision).render(rows)
            texts, names = [p.prompt for p in prompts], [p.prompt_id for p in prompts]
            scores = self._objective.score(images, texts, names=names)
            check = self._check.score(images, texts, names=names)
            self._known[key] = {"tc": np.array(scores.tc), "iq": np.array(scores.iq), "check": np.array(check)}
        return self._known[key]

    def gain(
        self, coefficients: Coefficients, *, precision: str, seed: int = 0, n: int = JUDGED, k: float = 2.0
    ) -> dict[str, PairedDifference]:
        """Gain over the stock scheduler in the same precision with the same noise: `jaq` and `check`."""
        ours = self.values(coefficients, precision=precision, seed=seed, n=n)
        stock = self.values(STOCK, precision=precision, seed=seed, n=n)
        return {
            "jaq": paired_difference(jaq(ours, k), jaq(stock, k)),
            "check": paired_difference(ours["check"], stock["check"]),
        }

    def renderer(self, precision: str) -> TrajectoryRenderer:
        """The model in a precision, loaded once."""
        if precision not in self._renderers:
            recipe = find_recipe(precision)
            dtype = DTYPES[recipe.dtype_name or "fp32"]
            backbone = load_backbone(self._request.backbone, dtype=dtype, device="cpu", steps=self._request.steps)
            apply_precision(backbone, recipe)
            self._renderers[precision] = TrajectoryRenderer(backbone, steps=backbone.steps)
        return self._renderers[precision]


def jaq(values: Values, k: float = 2.0) -> np.ndarray:
    """JAQ [prompts] with another weight of the quality term."""
    return values["tc"] + k * values["iq"]


class Studies:
    """The searches and their verdicts; each method is one section of the page."""

    def __init__(self, request: CalibrationRequest, work: Path) -> None:
        self._request, self._work, self._precision = request, work, request.precision
        self._judge = Judge(request)
        self.searches: list[dict[str, Any]] = []

    def joint(self) -> list[dict[str, Any]]:
        """Both coefficients against each alone."""
        varied: tuple[tuple[str, Vary], ...] = (("both", "both"), ("model only", "model"), ("sample only", "sample"))
        return [self._row(name, self._search(vary=vary)) for name, vary in varied]

    def family(self) -> list[dict[str, Any]]:
        """The families of coefficients."""
        return [
            self._row(name, self._search(family=name)) for name in ("constant", "linear-to-one", "linear", "per-step")
        ]

    def k(self) -> list[dict[str, Any]]:
        """The weight of the quality term."""
        return [self._row(f"k = {k:g}", self._search(k=k), k=k) for k in (0.5, 1.0, 2.0, 5.0)]

    def prompts(self) -> list[dict[str, Any]]:
        """How many prompts a calibration needs."""
        plan = [(5, 0), (5, 1), (5, 2), (25, 0), (25, 1), (25, 2), (75, 0)]
        return [self._row(f"{n} prompts, seed {seed}", self._search(n=n, seed=seed)) for n, seed in plan]

    def precisions(self, others: Sequence[str]) -> list[dict[str, Any]]:
        """Coefficients of one precision in every other."""
        rows = []
        for source in (self._precision, *others):
            found = self._search(precision=source)
            for target in (self._precision, *others, "fp32"):
                gain = self._judge.gain(found, precision=target)
                rows.append({"found in": source, "used in": target, **_record(found, gain)})
        return rows

    def noise(self) -> list[dict[str, Any]]:
        """The default coefficients under other noise."""
        found = self._search()
        gains = {seed: self._judge.gain(found, precision=self._precision, seed=seed) for seed in (0, 1, 2)}
        return [{"name": f"noise seed {seed}", **_record(found, gain)} for seed, gain in gains.items()]

    def range(self) -> list[dict[str, Any]]:
        """The paper's range against wider ones, searched by the same race."""
        return [self._row(f"{box.model[0]:g} to {box.model[1]:g}", self._search(box=box)) for box in (BOX, *WIDER)]

    def agreement(self, *, n: int = 50, size: int = 5) -> dict[str, Any]:
        """JAQ against the check over a grid of coefficients, and picture by picture."""
        family = CalibrationSettings(strategy="race", box=BOX).family_for(self._judge.renderer(self._precision).steps)
        grid = [family.coefficients(point) for point in even_grid(family, size)]
        values = [self._judge.values(one, precision=self._precision, n=n) for one in grid]
        stock = self._judge.values(STOCK, precision=self._precision, n=n)
        gains_GN = np.array([jaq(one) - jaq(stock) for one in values])
        truth_GN = np.array([one["check"] - stock["check"] for one in values])
        return {
            "grid": f"{size}x{size} over {BOX.model}, {n} prompts",
            "coefficients": _over_prompts(
                gains_GN, truth_GN, lambda a, b: _correlation(a.mean(axis=1), b.mean(axis=1))
            ),
            "pictures": _over_prompts(gains_GN, truth_GN, lambda a, b: _correlation(a.ravel(), b.ravel())),
            "best_by_jaq": _point(grid[int(gains_GN.mean(axis=1).argmax())]),
            "best_by_check": _point(grid[int(truth_GN.mean(axis=1).argmax())]),
            "check_at_best_by_jaq": paired_difference(
                truth_GN[int(gains_GN.mean(axis=1).argmax())], np.zeros(n)
            ).to_json(),
        }

    def _search(
        self,
        *,
        family: str = "constant",
        vary: Vary = "both",
        k: float = 2.0,
        n: int = 25,
        seed: int = 0,
        precision: str | None = None,
        box: Box = BOX,
    ) -> Coefficients:
        precision = precision or self._precision
        wider = "" if box == BOX else f"-from{box.model[0]:g}"
        out = self._work / f"{self._request.backbone}-{precision}-{family}-{vary}-k{k:g}-n{n}-seed{seed}{wider}.json"
        settings = CalibrationSettings(strategy="race", family=family, vary=vary, box=box, seed=seed, force=True)
        heldout = prompts_path("eval")  # unused beyond two prompts: the judge asks all of them, once
        request = replace(
            self._request,
            precision=precision,
            k=k,
            n_prompts=n,
            heldout=heldout,
            n_heldout=2,
            out=out,
            settings=settings,
        )
        result = run_calibration(request).result
        spent = {"nfe": result.search_nfe, "seconds": round(result.search_seconds, 1)}
        self.searches.append({"name": out.stem, "found": result.qsched.found.to_dict(), **spent})
        print(
            f"{out.stem}: {_point(result.qsched.found)}, {result.search_nfe} NFE, {result.search_seconds:.0f} s",
            flush=True,
        )
        return result.qsched.found

    def _row(self, name: str, found: Coefficients, *, k: float = 2.0) -> dict[str, Any]:
        return {"name": name, **_record(found, self._judge.gain(found, precision=self._precision, k=k))}


def _record(found: Coefficients, gain: dict[str, PairedDifference]) -> dict[str, Any]:
    return {"found": _point(found), **{name: one.to_json() for name, one in gain.items()}}


def _point(coefficients: Coefficients) -> str:
    record = coefficients.to_dict()
    return ", ".join(f"{kind} {_numbers(record[kind])}" for kind in ("model", "sample"))


def _numbers(value: Any) -> str:
    values = value if isinstance(value, list | tuple) else [value]
    return "/".join(f"{float(one):.3f}".rstrip("0").rstrip(".") for one in values)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def _over_prompts(
    a_GN: np.ndarray, b_GN: np.ndarray, statistic: Callable[[np.ndarray, np.ndarray], float], *, resamples: int = 1000
) -> dict[str, float]:
    """Spearman's rho with a percentile interval from resampled prompts."""
    rng, n = np.random.default_rng(0), a_GN.shape[1]
    draws = [statistic(a_GN[:, pick], b_GN[:, pick]) for pick in (rng.integers(n, size=n) for _ in range(resamples))]
    low, high = np.quantile(draws, (0.025, 0.975))
    return {"rho": statistic(a_GN, b_GN), "low": float(low), "high": float(high)}


def tables(result: dict[str, Any]) -> str:
    """The record as Markdown."""
    lines = [
        f"# Calibration studies: {result['backbone']}",
        "",
        f"Measured on {result['backbone']}, {result['precision']}, {result['machine']['cpu']}, "
        f"{result['created_at']} by `benchmarks/calibration_studies.py`; gains over the stock scheduler with 95 % "
        "intervals.",
    ]
    for name in ("joint", "family", "k", "prompts", "noise", "range"):
        if name not in result:
            continue
        lines += ["", f"## {name}", "", "| | found | JAQ | check |", "|---|---|---|---|"]
        lines += [
            f"| {row['name']} | {row['found']} | {_interval(row['jaq'])} | {_interval(row['check'])} |"
            for row in result[name]
        ]
    if "precisions" in result:
        lines += ["", "## precisions", "", "| found in | used in | found | JAQ | check |", "|---|---|---|---|---|"]
    for row in result.get("precisions", ()):
        where = f"| {row['found in']} | {row['used in']} | {row['found']}"
        lines.append(f"{where} | {_interval(row['jaq'])} | {_interval(row['check'])} |")
    if "agreement" in result:
        lines += _agreement(result["agreement"])
    return "\n".join(lines) + "\n"


def _agreement(one: dict[str, Any]) -> list[str]:
    return [
        "",
        "## agreement",
        "",
        f"Spearman's rho of JAQ's and the check's gain over {one['grid']}: {_rho(one['coefficients'])} between mean "
        f"gains of coefficients, {_rho(one['pictures'])} between pictures. Best by JAQ: {one['best_by_jaq']} (its gain "
        f"in the check: {_interval(one['check_at_best_by_jaq'])}); best by the check: {one['best_by_check']}.",
    ]


def _interval(one: dict[str, Any]) -> str:
    return f"{one['mean']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}]"


def _rho(one: dict[str, float]) -> str:
    return f"{one['rho']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"


def main() -> None:
    """All sections, the record and its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="tiny-flux", choices=("tiny-flux", "tiny-sdxl"))
    parser.add_argument("--precision", default="w3a8")
    parser.add_argument("--others", default="w4a4,w4a8", help="further precisions of the transfer study")
    parser.add_argument("--sections", default=",".join(SECTIONS), help=", ".join(SECTIONS))
    parser.add_argument("--work", type=Path, default=Path("runs/calibration-studies"))
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/calibration_studies-BACKBONE.json")
    arguments = parser.parse_args()
    wanted = arguments.sections.split(",")
    if unknown := set(wanted) - set(SECTIONS):
        parser.error(f"--sections {', '.join(sorted(unknown))}: choose from {', '.join(SECTIONS)}")
    quiet_libraries()
    request = CalibrationRequest(
        backbone=arguments.backbone,
        precision=arguments.precision,
        prompts=prompts_path("calibration"),
        out=Path("unset.json"),
        device="cpu",
        dtype="fp32",
        control=False,
    )
    studies, started = Studies(request, arguments.work), time.monotonic()
    result: dict[str, Any] = {
        "benchmark": "calibration studies",
        "backbone": request.backbone,
        "precision": request.precision,
        "created_at": time.strftime("%Y-%m-%d"),
        "machine": machine("torch", "diffusers", "open_clip_torch", "scipy"),
    }
    for name in wanted:
        others = (arguments.others.split(","),) if name == "precisions" else ()
        result[name] = getattr(studies, name)(*others)
    result["searches"] = studies.searches
    result["minutes"] = round((time.monotonic() - started) / 60, 1)
    out = arguments.out or Path(__file__).parent / "results" / f"calibration_studies-{request.backbone}.json"
    write_record(out, result)
    out.with_suffix(".md").write_text(tables(result), encoding="utf-8")
    print(tables(result))


if __name__ == "__main__":
    main()

"""The tables of benchmarks/calibration_arms.py, from what has been measured so far.

For each noise seed the calibration prompts choose as `qsched calibrate` does: the largest mean of the stock scheduler
and Q-Sched's candidates, and of stock and qsched-bias's. The gain of a prompt is the mean over the seeds, and the
interval is over prompts. A seed in which stock was chosen counts with a gain of 0. With one step the default search
leaves the search of the last step out, for the reason that the tables of 2026-11-29 show, when it did not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.calibration_arms import METHODS
from benchmarks.machine import machine
from qsched.scoring.paired import PairedDifference, paired_difference

if TYPE_CHECKING:
    from benchmarks.calibration_arms import Bench, Cell

RESULTS = Path(__file__).parent / "results"
SEARCHES = {
    "Q-Sched": METHODS["Q-Sched"],
    "qsched-bias": METHODS["qsched-bias"],
    "default search": tuple(dict.fromkeys(METHODS["Q-Sched"] + METHODS["qsched-bias"])),
}
BEFORE = " without the last step"
METRICS = ("jaq", "tiny-check")


def publish(bench: Bench, name: str) -> None:
    """Write `NAME.md` and `NAME.json`, and print the tables."""
    groups: dict[tuple[str, str, int], list[Cell]] = {}
    for cell in sorted(bench.fits, key=lambda c: (-c.steps, c.model, c.precision, c.seed)):
        if measured(bench, cell):
            groups.setdefault((cell.model, cell.precision, cell.steps), []).append(cell)
    rows = [row_of(bench, cells) for cells in groups.values()]
    text = "\n".join([*heldout_table(rows), "", *fits_table(bench, groups), "", *cost_table(bench)])
    (RESULTS / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    stored = {"machine": machine("torch", "diffusers", "open_clip_torch"), "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    print(text)


def measured(bench: Bench, cell: Cell) -> list[int]:
    """The first prompts of the pieces that all arms of a cell have; the pair is not waited for if there is none."""
    arms = [arm for arm in bench.wanted(cell) if bench.coefficients(cell, arm)]
    return sorted(set.intersection(*(set(bench.held.get((cell, arm), {})) for arm in arms)))


def values(bench: Bench, cell: Cell, arm: str, pieces: list[int], metric: str) -> np.ndarray:
    """The scores of the pieces, one after the other."""
    return np.concatenate([bench.held[cell, arm][first][metric] for first in pieces])


def row_of(bench: Bench, cells: list[Cell]) -> dict[str, Any]:
    """One model, precision and number of steps: gains of both methods, of the default search, and of the pair."""
    pieces = sorted(set.intersection(*(set(measured(bench, cell)) for cell in cells)))
    row: dict[str, Any] = {
        "arm": f"{cells[0].model} {cells[0].precision.upper()}, {cells[0].steps} step{'s' * (cells[0].steps > 1)}",
        "seeds": [cell.seed for cell in cells],
        "prompts": sum(len(bench.held[cells[0], "stock"][first]["jaq"]) for first in pieces),
        "stock_check": float(np.mean([values(bench, cell, "stock", pieces, "tiny-check").mean() for cell in cells])),
        "methods": {},
    }
    found = {name: [bench.chosen(cell, arms) for cell in cells] for name, arms in SEARCHES.items()}
    for name, arms in SEARCHES.items():
        found[name + BEFORE] = [bench.chosen(cell, tuple(a for a in arms if "last" not in a)) for cell in cells]
    gains = {}
    for name, picked in found.items():
        gains[name] = {metric: mean_gain(bench, cells, picked, pieces, metric) for metric in METRICS}
        row["methods"][name] = {"found": picked, **{m: gain_of(g).to_json() for m, g in gains[name].items()}}
    if all(set(pieces) <= set(bench.held.get((cell, "pair"), {})) for cell in cells):
        pair = {metric: mean_gain(bench, cells, ["pair"] * len(cells), pieces, metric) for metric in METRICS}
        coefficients = bench.coefficients(cells[0], "pair")
        assert coefficients is not None
        row["pair"] = {"coefficients": coefficients.to_dict(), **{m: gain_of(g).to_json() for m, g in pair.items()}}
        search = gains["default search" + (BEFORE if cells[0].steps == 1 else "")]["jaq"]
        row["search_minus_pair"] = gain_of(search - pair["jaq"]).to_json()
    changed = gains["default search"]["jaq"] - gains["default search" + BEFORE]["jaq"]
    row["search_minus_before"] = gain_of(changed).to_json() if np.any(changed) else None
    return row


def mean_gain(bench: Bench, cells: list[Cell], picked: list[str], pieces: list[int], metric: str) -> np.ndarray:
    """Gain over stock of each prompt, averaged over the seeds."""
    found = [
        values(bench, cell, arm, pieces, metric) - values(bench, cell, "stock", pieces, metric)
        for cell, arm in zip(cells, picked, strict=True)
    ]
    return np.asarray(np.mean(found, axis=0))


def gain_of(gains: np.ndarray) -> PairedDifference:
    """The mean over prompts with its interval."""
    return paired_difference(gains, np.zeros(len(gains)))


def heldout_table(rows: list[dict[str, Any]]) -> list[str]:
    """What each search is worth on held-out prompts."""
    lines = [
        "Held-out gain in JAQ over the stock scheduler, 95 % intervals over prompts, not corrected; in brackets after",
        "it the ground-truth check. Found: what the calibration prompts chose, seed by seed. Search - before: the",
        "better of both methods on the calibration prompts, against the same without the search of the last step.",
        "Search - pair: with one step without the search of the last step, which the default search leaves out there.",
        "",
        "| arm | seeds x prompts | check of stock | Q-Sched | Q-Sched without the last step | qsched-bias |"
        " qsched-bias without the last step | search - before | pair of a grid or race | search - pair |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["arm"], f"{len(row['seeds'])} x {row['prompts']}", f"{row['stock_check']:.3f}"]
        for name in [name + more for name in METHODS for more in ("", BEFORE)]:
            one = row["methods"][name]
            gain = f": {words(one['jaq'])} ({words(one['tiny-check'])})"  # no number where nothing was compared
            cells.append("/".join(one["found"]) + ("" if set(one["found"]) == {"stock"} else gain))
        before = row["search_minus_before"]
        cells.append("the same" if before is None else words(before))
        if "pair" in row:
            pair = row["pair"]
            at = ", ".join(f"{pair['coefficients'][kind]:.3g}" for kind in ("model", "sample"))
            cells += [f"({at}): {words(pair['jaq'])} ({words(pair['tiny-check'])})", words(row["search_minus_pair"])]
        else:
            cells += ["not run", "-"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def fits_table(bench: Bench, groups: dict[tuple[str, str, int], list[Cell]]) -> list[str]:
    """Error and linear share of each step, with noise seed by noise seed the largest share."""
    lines = [
        "Error of each step relative to full precision (first seed), and the largest share of a step's squared error",
        "that a bias and a pair remove on prompts that were not fitted, seed by seed.",
        "",
        "| arm | error | largest linear share |",
        "|---|---|---|",
    ]
    for (model, precision, steps), cells in groups.items():
        errors = " ".join(f"{100 * error:.1f}" for error in bench.fits[cells[0]]["error"])
        shares = ", ".join(f"{100 * max(bench.fits[cell]['shares']['bias and scalars']):.0f} %" for cell in cells)
        lines.append(f"| {model} {precision.upper()}, {steps} step{'s' * (steps > 1)} | {errors} % | {shares} |")
    return lines


def cost_table(bench: Bench) -> list[str]:
    """What the searches took, counted where the denoiser, the autoencoder and the scorers are called."""
    lines = [
        "Cost on one core of a busy machine: evaluations counted at the denoiser (for svdquant those of its statistics",
        "too), processor seconds, and what decoding and scoring have of them. A search that was stopped and went on",
        "counts what was left.",
        "",
        "| search | NFE | pictures | seconds | decode | score |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in (("closed form", bench.fits), ("9x9 grid", bench.grids)):
        for cell, record in found.items():
            cost = record["cost"]
            parts = [f"{100 * cost[part] / cost['seconds']:.0f} %" for part in ("decode_seconds", "scoring_seconds")]
            numbers = [f"{cost['nfe']:,}", f"{cost['pictures']:,}", f"{cost['seconds']:.0f}"]
            if cell.seed == 0:
                lines.append(f"| {name}, {cell.name} | {' | '.join([*numbers, *parts])} |")
    return lines


def words(gain: dict[str, Any]) -> str:
    """`+0.170 [+0.121, +0.230]`."""
    return f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"

"""What the closed-form search finds on the tiny models, as tables: gains held out, control, the linear share of errors.

    python -m tools.ship_coefficients --work runs/calibration
    qsched calibrate --backbone tiny-sdxl --precision w3a8 --steps 1 --prompts calibration --heldout eval \
        --also tiny-check --no-control --out runs/more/tiny-sdxl-w3a8-1step.json          (and so on)
    python benchmarks/closed_form.py --work runs/calibration runs/more

The first commands calibrate (25 prompts, checked on 100 evaluation prompts), the last reads their records and writes
`benchmarks/results/closed_form.md`, and `closed_form.json` with every held-out score, which
`benchmarks/interval_coverage.py` samples from. NFE are counted where the denoiser is called.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine

RESULTS = Path(__file__).parent / "results"
KEPT = ("backbone", "precision", "weights", "steps", "candidates", "closed_form", "bias_over_qsched", "objective")


def main() -> None:
    """Read the records, print the tables, store both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, nargs="+", default=[Path("runs/calibration")])
    parser.add_argument("--out", type=Path, default=RESULTS / "closed_form.json")
    arguments = parser.parse_args()
    paths = sorted(path for folder in arguments.work for path in folder.glob("tiny-*.json"))
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    records.sort(key=lambda record: (-record["steps"], name_of(record)))
    text = "\n".join([gains(records), candidates(records), shares(records)])
    stored = {"machine": machine("torch", "diffusers", "open_clip_torch"), "arms": [kept(one) for one in records]}
    arguments.out.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    arguments.out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def name_of(record: dict[str, Any]) -> str:
    """`tiny-sdxl W3A8`, with the number of steps and the seed if they are not the usual ones."""
    seed, steps = record["provenance"]["settings"]["seed"], record["steps"]
    return (
        f"{record['backbone']} {record['precision'].upper()}"
        + ("" if steps == 4 else f", {steps} step" + ("s" if steps > 1 else ""))
        + (f", seed {seed}" if seed else "")
    )


def kept(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its provenance, with the held-out scores of both methods."""
    methods = {"qsched": record, "qsched-bias": record["qsched_bias"]}
    return {
        "name": name_of(record),
        **{name: record[name] for name in KEPT},
        "spent": record["provenance"]["spent"],
        "methods": {
            name: {key: one[key] for key in ("verdict", "found", "found_by", "gain", "heldout")}
            for name, one in methods.items()
        },
    }


def gains(records: list[dict[str, Any]]) -> str:
    """Held-out gain, ground-truth check and control of both methods."""
    lines = [
        "Gain over the stock scheduler on held-out prompts with 95 % intervals (not corrected); check is the",
        "ground-truth check of the domain.",
        "",
        "| arm, method | found by | JAQ | better / worse | check: stock, gain | control: JAQ on fp32 | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for record in records:
        for name, one in (("Q-Sched", record), ("qsched-bias", record["qsched_bias"])):
            arm = f"{name_of(record)}, {name}"
            if one["heldout"] is None:
                lines.append(f"| {arm} | {one['found_by']} | - | - | - | - | {one['verdict']} |")
                continue
            jaq, check = one["heldout"]["jaq"]["gain"], one["heldout"]["tiny-check"]
            control = one["gain"]["full_precision_control"]
            cells = (
                arm,
                one["found_by"].removeprefix("least squares, "),
                interval(jaq),
                f"{jaq['above']} / {jaq['below']}",
                f"{check['stock_mean']:.3f}, {interval(check['gain'])}",
                interval(control) if control else "-",
                one["verdict"],
            )
            lines.append("| " + " | ".join(cells) + " |")
        between = record["bias_over_qsched"]
        if between is not None:
            arm = f"{name_of(record)}, qsched-bias over {'Q-Sched' if record['heldout'] else 'stock'}"
            cells = (arm, "", interval(between), f"{between['above']} / {between['below']}", "", "", "")
            lines.append("| " + " | ".join(cells) + " |")
    spent = "; ".join(
        f"{name_of(r)}: {r['provenance']['spent']['search_nfe']} NFE to search, "
        f"{r['provenance']['spent']['check_nfe']} to check"
        for r in records
    )
    return "\n".join([*lines, "", spent + ".", ""])


def candidates(records: list[dict[str, Any]]) -> str:
    """The candidates' gains on the calibration prompts."""
    lines = [
        "Gain of the candidates on the 25 calibration prompts; * for the set of equals. Neighbours that the search of",
        "the last step measured on its way are left out.",
        "",
        "| arm | candidates |",
    ]
    lines.append("|---|---|")
    for record in records:
        cells = [
            f"{one['found_by'].removeprefix('least squares, ')} {one['calibration_gain']:+.3f}"
            + ("*" if one["among_the_equals"] else "")
            for one in record["candidates"]
            if one["found_by"] != "searched"
        ]
        lines.append(f"| {name_of(record)} | {'; '.join(cells)} |")
    return "\n".join([*lines, ""])


def shares(records: list[dict[str, Any]]) -> str:
    """The relative error of each step and what each form removes of its square on prompts that were not fitted."""
    lines = [
        "Error of each step (root mean square, relative to the full-precision latents) along the path of the fit with",
        "bias and scalars, and the share of its square that each form removes on prompts that were not fitted.",
        "",
        "| arm | error | scalars | bias | bias and scalars |",
        "|---|---|---|---|---|",
    ]
    for record in records:
        fit = record["closed_form"]["fits"]["bias and scalars"]
        cells = [" ".join(f"{round(100 * e)}" for e in fit["error"]) + " %"]
        cells += [
            " ".join(f"{round(100 * s)}" for s in fit["linear_share"][form]) + " %" for form in fit["linear_share"]
        ]
        lines.append(f"| {name_of(record)} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def interval(gain: dict[str, Any]) -> str:
    """`+0.170 [+0.121, +0.230]`."""
    return f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"


if __name__ == "__main__":
    main()

"""Make the coefficients that ship beside the tiny models: `python -m tools.ship_coefficients`.

For each model and precision: `qsched calibrate` with its defaults on 25 of the shipped calibration prompts, checked on
100 of the evaluation prompts (--n-heldout) with the domain's ground-truth check alongside, and the results gathered in
`qsched/tiny/weights/<model>/qsched_coefficients.json`, keyed by precision, which `<precision>+qsched` and
`<precision>+qsched-bias` read.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from qsched.backbones import find_spec
from qsched.calibration.command import CalibrationRequest, run_calibration
from qsched.calibration.record import write_record
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.words import verdict_words
from qsched.scheduling.coefficients import BIAS_KEY
from qsched.tiny import prompts_path
from qsched.tiny.paths import BACKBONES

SHIPPED_NAME = "qsched_coefficients.json"
PRECISIONS = ("w4a8", "w4a4", "w3a8")
N_PROMPTS = 25
N_HELDOUT = 100


def ship(model: str, precisions: tuple[str, ...], *, work: Path, n_prompts: int = N_PROMPTS, n_heldout: int) -> Path:
    """Calibrate each precision of a shipped model and store the results beside its weights."""
    target = Path(find_spec(model).source) / SHIPPED_NAME
    shipped: dict[str, Any] = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else {}
    for precision in precisions:
        out = work / f"{model}-{precision}.json"
        request = CalibrationRequest(
            backbone=model,
            precision=precision,
            prompts=prompts_path("calibration"),
            out=out,
            settings=CalibrationSettings(),
            n_prompts=n_prompts,
            heldout=prompts_path("eval"),
            n_heldout=n_heldout,
            also=("tiny-check",),
        )
        done = run_calibration(request)
        for outcome in done.result.outcomes:
            words = verdict_words(done.result, outcome)
            print(f"{model} {precision}: {words.heading} {words.text}", flush=True)
        result = done.result
        print(f"{result.search_nfe} NFE, {result.search_seconds:.0f} s, check {result.check_nfe} NFE", flush=True)
        shipped[precision] = shipped_entry(done.record)
        write_record(target, shipped)
    return target


def shipped_entry(record: dict[str, Any]) -> dict[str, Any]:
    """The record without its per-image values and its list of candidates: means, gains and provenance stay."""
    left_out = ("heldout", "full_precision_control", "candidates")
    entry = {name: value for name, value in record.items() if name not in left_out}
    for name in ("heldout", "full_precision_control"):
        if record.get(name) is not None:
            entry[name] = {
                metric: {key: value for key, value in one.items() if key not in ("stock", "tuned")}
                for metric, one in record[name].items()
            }
    if BIAS_KEY in entry:
        entry[BIAS_KEY] = shipped_entry(entry[BIAS_KEY])
    return entry


def main() -> None:
    """Parse, ship, say where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(BACKBONES), choices=BACKBONES)
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS))
    parser.add_argument("--work", type=Path, default=Path("runs/calibration"), help="journals, records, pages")
    parser.add_argument("--n-prompts", type=int, default=N_PROMPTS)
    parser.add_argument("--n-heldout", type=int, default=N_HELDOUT)
    arguments = parser.parse_args()
    for model in arguments.models:
        counts = {"n_prompts": arguments.n_prompts, "n_heldout": arguments.n_heldout}
        path = ship(model, tuple(arguments.precisions), work=arguments.work, **counts)
        print(f"written: {path}")


if __name__ == "__main__":
    main()

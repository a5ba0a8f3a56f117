"""A calibration from names to files: load, quantize, search, check, write. What the command line calls."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsched.backbones import (
    DTYPES,
    Backbone,
    checked_device,
    default_dtype,
    find_spec,
    load_backbone,
    quiet_libraries,
)
from qsched.calibration.calibrate import CalibrationResult, calibrate
from qsched.calibration.errors import CalibrationError
from qsched.calibration.evaluate import Progress
from qsched.calibration.record import build_record, write_record
from qsched.calibration.settings import CalibrationSettings
from qsched.generation import Prompt, read_prompts
from qsched.generation.provenance import folder_fingerprint
from qsched.precision import PrecisionReport, apply_precision, find_recipe
from qsched.scheduling import CoefficientError, read_coefficients
from qsched.scoring import Jaq, load_scorer
from qsched.scoring.jaq_score import checked_k

TINY = ("tiny-flux", "tiny-sdxl")
DEFAULT_PROMPTS = 25


@dataclass(frozen=True)
class CalibrationJob:
    """Everything by name; `weights` maps a scorer's name to its weights."""

    backbone: str
    precision: str
    prompts: Path
    out: Path
    settings: CalibrationSettings = field(default_factory=CalibrationSettings)
    heldout: Path | None = None
    n_prompts: int | None = None
    n_heldout: int | None = None
    steps: int | None = None
    tc: str = "clipscore"
    iq: str = "clip-iqa"
    k: float = 2.0
    weights: dict[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    device: str = "auto"
    dtype: str | None = None
    control: bool = True


@dataclass(frozen=True)
class JobResult:
    """The result, its document, and where it was written."""

    result: CalibrationResult
    record: dict[str, Any]
    coefficients_path: Path
    report_path: Path


def run_calibration(job: CalibrationJob, *, on_progress: Callable[[Progress], None] | None = None) -> JobResult:
    """Do the job and write `out` (.json), the report beside it (.html) and the journal it resumes from."""
    quiet_libraries()
    check_job(job)
    spec, recipe = find_spec(job.backbone), find_recipe(job.precision)
    device = str(checked_device(job.device))
    dtype = _dtype(job, device)
    prompts, heldout = split_prompts(job)
    objective = load_objective(job, device)
    also = [load_scorer(name, device=device, weights=_weights_of(name, job)) for name in job.also]

    backbone = load_backbone(job.backbone, dtype=DTYPES[dtype], device=device, steps=job.steps)
    report = apply_precision(backbone, recipe)
    # Quantizing replaces layers in place, so the control is a second copy, loaded only where it is wanted.
    full = _full_precision(job, dtype, device) if job.control and recipe.dtype_name is None else None
    identity: dict[str, object] = {
        "backbone": spec.name,
        "weights": folder_fingerprint(Path(spec.source)) if spec.is_local else f"{spec.source}@{spec.revision}",
        "recipe": report.recipe_hash,
        "dtype": dtype,
        "size": [backbone.width, backbone.height],
        "guidance_scale": backbone.guidance_scale,
    }
    coefficients_path, report_path, journal = output_paths(job.out)
    result = calibrate(
        backbone,
        objective,
        prompts,
        heldout,
        job.settings,
        journal=journal,
        identity=identity,
        full_precision=full,
        also=also,
        on_progress=on_progress,
    )
    arm = {**_arm(report), **identity}
    record = build_record(result, objective, backbone=spec.name, precision=recipe.name, arm=arm)
    write_record(coefficients_path, record)
    from qsched.calibration.report import write_report

    write_report(report_path, result, record)
    return JobResult(result, record, coefficients_path, report_path)


def check_job(job: CalibrationJob) -> None:
    """Everything that can be refused before a model is loaded; InputError with the rule and the remedy."""
    find_spec(job.backbone)
    find_recipe(job.precision)
    _dtype(job, str(checked_device(job.device)))
    checked_k(job.k)
    _check_outputs(job)
    split_prompts(job)


def output_paths(out: Path) -> tuple[Path, Path, Path]:
    """(coefficients, report, journal)."""
    return out, out.with_suffix(".html"), out.with_suffix(".journal.jsonl")


def _check_outputs(job: CalibrationJob) -> None:
    """The three files can be written, and nothing that is not a calibration's is overwritten."""
    out = job.out
    if out.suffix != ".json":
        raise CalibrationError(f"--out {out} does not end in .json; the report is written beside it as .html")
    for path in output_paths(out):
        for option, read in (("--prompts", job.prompts), ("--heldout", job.heldout)):
            if read is not None and _same_file(path, read):
                raise CalibrationError(f"--out {out} would write over {option} {read}; give another --out")
        if path.is_dir():
            raise CalibrationError(f"--out {out}: {path} is a folder; give another --out")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise CalibrationError(f"--out {out}: {above} is not a folder that can be written to; give another --out")
    if out.exists():
        try:
            read_coefficients(out)
        except CoefficientError as error:
            raise CalibrationError(
                f"--out {out} exists and is no coefficients file, so it is not overwritten ({error}); give another "
                "--out"
            ) from error


def _same_file(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def _dtype(job: CalibrationJob, device: str) -> str:
    dtype = find_recipe(job.precision).dtype_name or job.dtype or default_dtype(job.backbone, device)
    if dtype not in DTYPES:
        raise CalibrationError(f"dtype {dtype!r} is unknown; choose {', '.join(DTYPES)}")
    return dtype


def split_prompts(job: CalibrationJob) -> tuple[list[Prompt], list[Prompt]]:
    """(calibration, held-out): the first N of the file, then the next M of it, or the first M of --heldout.

    N is 25, or half the file where it is shorter; M is N.
    """
    prompts = read_prompts(job.prompts)
    n = (
        job.n_prompts
        if job.n_prompts is not None
        else min(DEFAULT_PROMPTS, len(prompts) if job.heldout else len(prompts) // 2)
    )
    others = read_prompts(job.heldout) if job.heldout else prompts[n:]
    m = job.n_heldout if job.n_heldout is not None else min(max(n, 2), len(others))
    for name, wanted, there in (("--n-prompts", n, len(prompts)), ("--n-heldout", m, len(others))):
        if not 2 <= wanted <= there:
            raise CalibrationError(
                f"{name} {wanted}: {there} prompts are there for it, and at least 2 are needed. Give a longer prompts "
                "file, a file of held-out prompts with --heldout, or other numbers."
            )
    return prompts[:n], others[:m]


def load_objective(job: CalibrationJob, device: str) -> Jaq:
    """The JAQ of the job; for the tiny models CLIP scorers stand on tiny-clip where no weights are given."""
    tc, iq = (load_scorer(name, device=device, weights=_weights_of(name, job)) for name in (job.tc, job.iq))
    return Jaq(tc, iq, k=job.k)


def _weights_of(scorer: str, job: CalibrationJob) -> str | None:
    if scorer in job.weights:
        return job.weights[scorer]
    return "tiny-clip" if job.backbone in TINY and scorer in ("clipscore", "clip-iqa") else None


def _full_precision(job: CalibrationJob, dtype: str, device: str) -> Backbone:
    return load_backbone(job.backbone, dtype=DTYPES[dtype], device=device, steps=job.steps)


def _arm(report: PrecisionReport) -> dict[str, object]:
    return {**report.to_dict(), "recipe_hash": report.recipe_hash}

"""coefficients.json: the coefficients to use, and everything that was done to find them.

`qsched generate-pairs --arms w4a8+qsched:coefficients.json` reads the key `coefficients`, and `+qsched-bias:` the same
key under `qsched_bias`; the rest is provenance.
"""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from qsched.calibration.result import CalibrationResult, MethodOutcome
from qsched.calibration.search_identity import prompts_digest
from qsched.files import write_atomic
from qsched.generation.provenance import git_commit, versions
from qsched.scheduling.coefficients import BIAS_KEY
from qsched.scoring import Jaq, ScorerInfo

SCHEMA_VERSION = 3
MOST_CANDIDATES = 100  # of a record, the best of those measured on all prompts


def build_record(
    result: CalibrationResult, objective: Jaq, *, backbone: str, precision: str, arm: dict[str, object]
) -> dict[str, Any]:
    """The document of coefficients.json as a plain dictionary; `arm` is what the precision says of itself."""
    qsched = result.qsched
    return {
        "schema_version": SCHEMA_VERSION,
        "backbone": backbone,
        "precision": precision,
        "weights": arm.get("weights"),
        "steps": result.steps,
        **_outcome(qsched, result.judge),
        "at_the_edge_of_the_range": list(result.at_the_edge),
        **({} if result.bias is None else {BIAS_KEY: {**_outcome(result.bias, result.judge), **_values(result.bias)}}),
        "bias_over_qsched": _between(result),
        "candidates": _candidates(result),
        "closed_form": _closed_form(result),
        "objective": objective.in_units(result.units).record.to_json(),
        "judge": None if result.judge is None else result.judge.to_json(),
        "provenance": {
            "made_by": "qsched calibrate",
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": result.settings.to_json(),
            "ranges": {"model": list(result.family.box.model), "sample": list(result.family.box.sample)},
            "prompts": {
                "calibration": [p.prompt_id for p in result.prompts],
                "calibration_sha256": prompts_digest(result.prompts),
                "heldout": [p.prompt_id for p in result.heldout_prompts],
                "heldout_sha256": prompts_digest(result.heldout_prompts),
            },
            "spent": {
                "search_nfe": result.search_nfe,
                "search_seconds": round(result.search_seconds, 2),
                "check_nfe": result.check_nfe,
                "candidates": len(result.gains),
                "pictures": result.pictures,
                "pictures_of_other_searches": result.reused,
                "most_nfe": result.most_nfe,
                "ended_by_budget": result.budget_spent,
                "early_round": _early(result),
            },
            "smooth_optimum": _smooth(result),
            "arm": arm,
            "versions": {**versions(), "open_clip_torch": version("open_clip_torch")},
            "git_commit": git_commit(),
            "machine": {
                "processor": platform.machine(),
                "threads": torch.get_num_threads(),
                "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            },
        },
        **_values(qsched),
    }


def _outcome(outcome: MethodOutcome, judge: ScorerInfo | None) -> dict[str, Any]:
    """Coefficients, verdict and gains of a method. Of the stock scheduler over itself nothing was measured: no number
    rather than a zero without width."""
    gains = {
        "heldout": None if outcome.heldout is None else outcome.heldout.gain(),
        "calibration": outcome.calibration_gain,
        "full_precision_control": None if outcome.control is None else outcome.control.gain(),
        "judge": None if judge is None or outcome.heldout is None else outcome.heldout.gain(judge.name),
    }
    return {
        "method": outcome.method,
        "coefficients": outcome.coefficients.to_dict(),
        "verdict": outcome.verdict,
        "by_objective": outcome.by_objective,
        "by_judge": outcome.by_judge,
        "found": outcome.found.to_dict(),
        "found_by": outcome.label,
        "gain": {name: None if gain is None else gain.to_json() for name, gain in gains.items()},
    }


def _values(outcome: MethodOutcome) -> dict[str, Any]:
    """The per-image values of a method."""
    return {
        "heldout": None if outcome.heldout is None else outcome.heldout.to_json(),
        "full_precision_control": None if outcome.control is None else outcome.control.to_json(),
    }


def _between(result: CalibrationResult) -> dict[str, Any] | None:
    """qsched-bias minus Q-Sched (or stock, if no candidate of Q-Sched was found) on the held-out prompts."""
    gain = result.bias_over_qsched()
    return None if gain is None else gain.to_json()


def _candidates(result: CalibrationResult) -> list[dict[str, Any]]:
    """The best candidates that were measured on all calibration prompts."""
    labels = (
        {}
        if result.closed_form is None
        else {c.at_steps(result.steps): label for label, c in result.closed_form.candidates.items()}
    )
    whole = {c: g for c, g in result.gains.items() if len(g) == len(result.prompts)}
    best = sorted(whole, key=lambda c: -float(whole[c].mean()))[:MOST_CANDIDATES]
    return [
        {
            "coefficients": candidate.to_dict(),
            "method": candidate.method,
            "found_by": labels.get(candidate, "stock" if candidate.is_identity else "searched"),
            "calibration_gain": round(float(whole[candidate].mean()), 6),
            "among_the_equals": candidate in result.equals,
        }
        for candidate in best
    ]


def _closed_form(result: CalibrationResult) -> dict[str, Any] | None:
    """The fits step by step: the relative error of a step, and what each form removes of it held out."""
    if result.closed_form is None:
        return None
    return {
        "notes": list(result.closed_form.notes),
        "fits": {
            form: {"error": [step.error for step in fit.steps], "linear_share": fit.shares}
            for form, fit in result.closed_form.fits.items()
        },
    }


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write the document whole or not at all."""
    write_atomic(path, (json.dumps(record, indent=1) + "\n").encode(), parents=True)


def _early(result: CalibrationResult) -> dict[str, Any] | None:
    """What the round of cheaper pictures took; None without one."""
    early = result.early
    if early is None:
        return None
    return {"pictures": early.pictures, "nfe": early.nfe, "finalists": len(early.finalists)}


def _smooth(result: CalibrationResult) -> dict[str, object] | None:
    surface = result.surface
    if surface is None:
        return None
    return {
        "method": "Gaussian process, squared exponential",
        "axes": list(result.family.axes),
        "point": list(surface.optimum),
        "gain": surface.gain,
        "standard_error": surface.standard_error,
        "points_used": surface.n_points,
        "prompts_measured": result.prompts_at(surface.optimum),
        "length": surface.length,
    }

"""coefficients.json: the coefficients to use, and everything that was done to find them.

`qsched generate-pairs --arms w4a8+qsched:coefficients.json` reads the key `coefficients`; the rest is provenance.
"""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from qsched.calibration.calibrate import CalibrationResult, prompts_digest
from qsched.files import write_atomic
from qsched.generation.provenance import git_commit, versions
from qsched.scoring import Jaq

SCHEMA_VERSION = 1


def build_record(
    result: CalibrationResult, objective: Jaq, *, backbone: str, precision: str, arm: dict[str, object]
) -> dict[str, Any]:
    """The document of coefficients.json as a plain dictionary; `arm` is what the precision says of itself."""
    return {
        "schema_version": SCHEMA_VERSION,
        "backbone": backbone,
        "precision": precision,
        "weights": arm.get("weights"),
        "steps": result.family.steps,
        "coefficients": result.coefficients.to_dict(),
        "verdict": result.verdict,
        "at_the_edge_of_the_range": list(result.at_the_edge),
        "found": result.found.to_dict(),
        "gain": {
            # Of the stock scheduler over itself nothing was measured: no number rather than a zero without width.
            "heldout": result.heldout.gain().to_json() if result.has_candidate else None,
            "calibration": result.calibration_gain.to_json() if result.has_candidate else None,
            "full_precision_control": None
            if result.control is None or not result.has_candidate
            else result.control.gain().to_json(),
        },
        "objective": objective.record.to_json(),
        "provenance": {
            "made_by": "qsched calibrate",
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": result.settings.to_json(),
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
        "heldout": result.heldout.to_json(),
        "full_precision_control": None if result.control is None else result.control.to_json(),
    }


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write the document whole or not at all."""
    write_atomic(path, (json.dumps(record, indent=1) + "\n").encode(), parents=True)


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
        "prompts_measured": len(result.gains.get(surface.optimum, ())),
        "length": surface.length,
    }

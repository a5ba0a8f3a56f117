"""`winrates.json`: every number of the report for programs; the schema is `winrates.schema.json` next to this file.

Infinite and missing numbers are null: JSON has no NaN. Names are exact here, whatever characters they have.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from analysis.report.findings import Findings
from analysis.report.kit.numbers import SHORT_COLUMN, float_texts
from analysis.report.settings import ReportSettings
from analysis.report.subjects.assisted import Assisted
from analysis.report.subjects.strata import Strata
from analysis.stats import Estimate, ModelFit, RawPair, StrengthRow
from analysis.stats.annotator_results import Agreement
from analysis.stats.results import TieParameter

SCHEMA_VERSION = 1
SEQUENTIAL = ("arm_a", "arm_b", "n_annotators", "n_votes", "win_rate", "low", "high", "decided_after")
SCHEMA_PATH = Path(__file__).with_name("winrates.schema.json")


def report_document(found: Findings) -> dict[str, Any]:
    """The JSON document as plain values."""
    estimate = found.estimate
    settings = found.settings
    return {
        "schema_version": SCHEMA_VERSION,
        "title": settings.title,
        "study": found.study,
        "question": found.question,
        "wording": settings.wording,
        "n_votes": found.n_votes,
        "n_annotators": found.n_annotators,
        "n_prompts": found.n_prompts,
        "simulated": found.n_simulated > 0,
        "n_simulated": found.n_simulated,
        "estimate": estimate is not None,
        "no_estimate": None if found.existence is None else plain(found.existence),
        "strengths": [] if estimate is None else [_strength(row) for row in estimate.strengths],
        "pairwise": _pairwise(found.raw, estimate),
        "position_effect": None
        if estimate is None or estimate.position_effect is None
        else plain(estimate.position_effect),
        "position_check": plain(found.session.position),
        "tie_parameter": None if estimate is None else _tie_parameter(estimate.tie_parameter),
        "design_effect": None if estimate is None else number(estimate.design_effect),
        "collected": plain(found.collected),
        "groups": [
            {"arms": list(group.arms), "n_votes": group.estimate.n_votes}
            | {"strengths": [_strength(row) for row in group.estimate.strengths]}
            for group in found.groups
        ],
        "model_fit": None if estimate is None else _model_fit(estimate.model_fit),
        "strata": _strata(found.strata),
        "covariates": plain(found.adjusted),
        "looks": None if settings.looks is None else settings.looks.model_dump(mode="json"),
        "sequential": [{name: plain(getattr(row, name)) for name in SEQUENTIAL} for row in found.anytime],
        "assisted": _assisted(found.assisted),
        "agreement": _agreement(found.annotators.agreement),
        "annotators": [plain(row) for row in found.annotators.rows],
        "influence": [plain(row) for row in (*found.influence.annotators[:20], *found.influence.prompts[:20])],
        "sensitivity": [plain(variant) for variant in found.variants],
        "excluded": {
            "n_read": found.exclusions.n_read,
            "n_kept": found.exclusions.n_kept,
            "n_excluded": found.exclusions.n_excluded,
            "rows": [plain(row) for row in found.exclusions.rows],
            "annotators": [{"annotator": name, "reason": reason} for name, reason in found.exclusions.annotators],
        },
        "claims": [
            {
                "arm_a": c.arm_a,
                "arm_b": c.arm_b,
                "verdict": c.verdict,
                "within_margin": c.within_margin,
                "text": c.sentence,
            }
            for c in found.claims
        ],
        "warnings": list(found.warnings),
        "notes": list(found.notes),
        "settings": settings_values(settings, found.sources),
        "fit": None
        if estimate is None
        else {
            "iterations": estimate.fit.iterations,
            "converged": estimate.fit.converged,
            "gradient": number(estimate.fit.gradient),
            "log_likelihood": number(estimate.fit.log_likelihood),
            "intervals": estimate.uncertainty.kind,
            "degrees_of_freedom": number(estimate.uncertainty.df),
            "covariance_truncated": estimate.uncertainty.truncated,
        },
        "simulation": settings.simulation,
        "versions": found.versions,
    }


def report_json(found: Findings) -> str:
    """The document as text: sorted nowhere, indented, ASCII escapes, a final newline; same findings, same bytes."""
    return _indented(report_document(found), "\n") + "\n"


def _indented(value: Any, newline: str) -> str:
    """What `json.dumps(value, indent=1)` gives. That is pure Python; here records without nesting go through C."""
    if not isinstance(value, (dict, list, tuple)) or not value:
        return json.dumps(value, allow_nan=False)
    inner = newline + " "
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    items = value.values() if isinstance(value, dict) else value
    if {dict, list, tuple}.isdisjoint(map(type, items)):
        flat = json.dumps(value, allow_nan=False, separators=("," + inner, ": "))
        return opening + inner + flat[1:-1] + newline + closing
    if isinstance(value, (list, tuple)) and all(isinstance(item, dict) and _is_flat(item) for item in items):
        records = _records(value, inner)
        return "[" + inner + ("," + inner).join(records) + newline + "]"
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {_indented(item, inner)}" for name, item in value.items()]
    else:
        parts = [_indented(item, inner) for item in value]
    return opening + inner + ("," + inner).join(parts) + newline + closing


def _records(rows: Sequence[dict[str, Any]], newline: str) -> Iterable[str]:
    """Records without nesting, indented; column by column if all have the same fields."""
    inner, names = newline + " ", tuple(rows[0])
    if len(rows) < SHORT_COLUMN or any(tuple(row) != names for row in rows):
        return [_indented(row, newline) for row in rows]
    fields_of_row = ("," + inner).join(json.dumps(name).replace("%", "%%") + ": %s" for name in names)
    template = "{" + inner + fields_of_row + newline + "}"
    columns = map(_texts, zip(*(row.values() for row in rows), strict=True))
    return map(template.__mod__, zip(*columns, strict=True))


def _texts(values: tuple[Any, ...]) -> list[str]:
    """One column in JSON."""
    kinds = set(map(type, values))
    if kinds == {float} or kinds == {float, type(None)}:
        if not all(value is None or math.isfinite(value) for value in values):
            raise ValueError("JSON has no number that is not finite")
        return float_texts(values, missing="null")
    if kinds == {int}:
        return list(map(str, values))
    if kinds <= {str, bool, type(None)}:
        texts = {value: json.dumps(value) for value in {*values}}
        return [texts[value] for value in values]
    return [json.dumps(value, allow_nan=False) for value in values]


def _is_flat(record: dict[str, Any]) -> bool:
    return bool(record) and {dict, list, tuple}.isdisjoint(map(type, record.values()))


def settings_values(settings: ReportSettings, sources: tuple[str, ...]) -> dict[str, Any]:
    """Every choice behind the numbers, flat."""
    estimate = settings.estimate
    return {
        "model": estimate.model,
        "ties": estimate.ties,
        "position_effect": estimate.position_effect,
        "penalty": str(estimate.penalty),
        "intervals": estimate.intervals,
        "method": estimate.method,
        "shape": estimate.shape,
        "confidence": estimate.confidence,
        "resamples": estimate.resamples,
        "seed": estimate.seed,
        "baseline": settings.baseline,
        "by": settings.by,
        "equivalence_margin": settings.equivalence_margin,
        "covariates": list(settings.covariates),
        "sequential": settings.sequential,
        "assist": settings.assist,
        "exclusions": plain(settings.rules),
        "sources": list(sources),
        "command": settings.command,
    }


def _strength(row: StrengthRow) -> dict[str, Any]:
    return {key: number(value) if isinstance(value, float) else value for key, value in vars(row).items()}


#: Of the model's contrast: what the document calls it, and the field of ContrastRow.
_MODEL = {
    "p_holm": "p_holm",
    "p": "p",
    "log_odds": "log_odds",
    "log_odds_se": "se",
    "log_odds_low": "low",
    "log_odds_high": "high",
    "log_odds_low_all": "low_all",
    "log_odds_high_all": "high_all",
    "model_win_rate": "win_probability",
    "model_low": "win_probability_low",
    "model_high": "win_probability_high",
    "elo_difference": "elo_difference",
    "prob_superior": "prob_superior",
    "design_effect": "design_effect",
    "detectable_log_odds": "detectable",
}


def _pairwise(counted: tuple[RawPair, ...], estimate: Estimate | None) -> list[dict[str, Any]]:
    """`win_rate`, `low`, `high` are of the votes themselves; `model_*` and p_holm of the model's contrast.

    Column by column: three hundred arms have 44,850 pairs.
    """
    contrasts = {} if estimate is None else {(p.arm_a, p.arm_b): p for p in estimate.pairwise}
    own, unknown = attrgetter(*_MODEL.values()), (None,) * len(_MODEL)
    names = (*(field.name for field in fields(RawPair)), *_MODEL)
    rows = []
    for raw in counted:
        pair = contrasts.get((raw.arm_a, raw.arm_b))
        rows.append((*vars(raw).values(), *(unknown if pair is None else own(pair))))
    columns = map(_numbers, zip(*rows, strict=True))
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _numbers(values: tuple[Any, ...]) -> tuple[Any, ...] | list[Any]:
    """A column with None for what JSON cannot hold."""
    kinds = set(map(type, values))
    if not any(issubclass(kind, float) for kind in kinds) or (kinds == {float} and np.isfinite(values).all()):
        return values
    return [number(value) if isinstance(value, float) else value for value in values]


def _model_fit(fit: ModelFit) -> dict[str, Any]:
    return {
        "deviance": number(fit.deviance),
        "degrees_of_freedom": fit.deviance_df,
        "p": None if fit.test is None else number(fit.test.p),
        "residuals": [plain(row) for row in fit.residuals],
    }


def _tie_parameter(tie: TieParameter | None) -> dict[str, Any] | None:
    if tie is None:
        return None
    values: dict[str, Any] = plain(tie)
    # The contract's field is `nu` for both models; `name` says whether it is Davidson's nu or Rao and Kupper's kappa.
    return {"nu": number(tie.value), **values}


def _strata(found: Strata | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "by": found.by,
        "omnibus_p": None if found.omnibus is None else number(found.omnibus.p),
        "strata": [
            {
                "name": stratum.name,
                "n_votes": stratum.n_votes,
                "problem": stratum.problem,
                "fit_p": _fit_p(stratum.estimate),
                "strengths": [] if stratum.estimate is None else [_strength(row) for row in stratum.estimate.strengths],
            }
            for stratum in found.strata
        ],
        "contrasts": [plain(row) for row in found.contrasts],
    }


def _fit_p(estimate: Estimate | None) -> float | None:
    return None if estimate is None or estimate.model_fit.test is None else number(estimate.model_fit.test.p)


def _assisted(found: Assisted | None) -> dict[str, Any] | None:
    if found is None:
        return None
    rows = [{**plain(row), "times": number(row.times)} for row in found.rows]
    return {"metric": found.metric, "baseline": found.baseline, "n_others": found.n_others, "rows": rows}


def _agreement(agreed: Agreement | None) -> dict[str, Any] | None:
    if agreed is None:
        return None
    # Pairs of annotators grow with the square of their number: the mean is kept here, the rows are in kappas.csv.
    return {item.name: plain(getattr(agreed, item.name)) for item in fields(agreed) if item.name != "kappas"}


def plain(value: Any) -> Any:
    """Frozen records as dicts, tuples as lists, numbers that JSON cannot hold as null."""
    if isinstance(value, float):
        return number(value)
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(item) for name, item in vars(value).items()}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no place in winrates.json")


def number(value: float) -> float | None:
    """A finite float, or None."""
    return float(value) if math.isfinite(value) else None

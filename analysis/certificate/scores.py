"""JND scores of all pictures of a triplets table: plain, boosted, and plain through the map; one scale a source or one
for all. Written as scores.csv, maps.csv and scores.json."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

from analysis.report.kit.escape import csv_cell
from analysis.stats.errors import AnalysisError
from analysis.stats.jnd.scale import Scale, score_pictures
from analysis.triplets import BOOSTED, PLAIN, ScreenedTriplets, TripletCodes, TripletTable, code_triplets
from analysis.triplets.codes import TRAP
from qsched.files import write_atomic

ALL = "all"


@dataclass(frozen=True)
class ScoreRow:
    """One picture on one scale: `scale` is plain, boosted or mapped (plain JND from both kinds of vote)."""

    prompt_id: str
    picture: str
    scale: str
    unit: str
    damage: float | None
    se: float | None
    low: float | None
    high: float | None
    n_votes: int
    n_people: int
    reason: str
    lower_bound: float | None


@dataclass(frozen=True)
class MapRow:
    """Gain of the straight map; exponent of the power map; thresholds and lapse rates (plain, boosted)."""

    prompt_id: str
    gain: float
    gain_low: float
    gain_high: float
    exponent: float
    exponent_low: float
    exponent_high: float
    lapse_plain: float
    lapse_boosted: float

    @property
    def summary(self) -> str:
        """One line."""
        return (
            f"{self.prompt_id}: boosting gains {self.gain:.2f} ({self.gain_low:.2f} to {self.gain_high:.2f}), "
            f"exponent {self.exponent:.2f} ({self.exponent_low:.2f} to {self.exponent_high:.2f})"
        )


@dataclass(frozen=True)
class Scored:
    """All rows; `notes` say what could not be fitted."""

    scores: tuple[ScoreRow, ...]
    maps: tuple[MapRow, ...]
    notes: tuple[str, ...]


def score_table(table: TripletTable, *, by_prompt: bool, people_sd: float, confidence: float) -> Scored:
    """Score each source on its own (errors by person), or all prompts together (errors two-way)."""
    codes = code_triplets(table)
    groups = [(name, codes.where(codes.prompt == p)) for p, name in enumerate(codes.prompts)]
    scores: list[ScoreRow] = []
    maps: list[MapRow] = []
    notes: list[str] = []
    for name, some in groups if by_prompt else [(ALL, codes)]:
        for scale, part, fitted in _scales(some, people_sd=people_sd, confidence=confidence, name=name, notes=notes):
            people = len(np.unique(part.person))
            scores += [
                ScoreRow(
                    name,
                    s.picture,
                    scale,
                    fitted.unit,
                    s.damage,
                    s.se,
                    s.low,
                    s.high,
                    s.n_votes,
                    people,
                    s.reason,
                    s.lower_bound,
                )
                for s in fitted.scores
            ]
            notes += [f"{name}, {scale}: {note}" for note in (fitted.fit.notes if fitted.fit else (fitted.problem,))]
            if scale == "mapped":
                maps += _map_row(name, some, fitted, people_sd=people_sd, confidence=confidence, notes=notes)
    return Scored(tuple(scores), tuple(maps), tuple(dict.fromkeys(notes)))


def _scales(
    codes: TripletCodes, *, people_sd: float, confidence: float, name: str, notes: list[str]
) -> list[tuple[str, TripletCodes, Scale]]:
    task = codes.presentation[codes.kind != TRAP]
    made = []
    for scale, shown in (("plain", PLAIN), ("boosted", BOOSTED)):
        if (task == shown).any():
            made.append((scale, codes.where(codes.presentation == shown), "none"))
    if len(made) == 2:
        made.append(("mapped", codes, "linear"))
    found = []
    for scale, part, form in made:
        try:
            fitted = score_pictures(
                part, form="linear" if form == "linear" else "none", people_sd=people_sd, confidence=confidence
            )
        except AnalysisError as error:
            notes.append(f"{name}, {scale}: {error}")
            continue
        found.append((scale, part, fitted))
    return found


def _map_row(
    name: str, codes: TripletCodes, straight: Scale, *, people_sd: float, confidence: float, notes: list[str]
) -> list[MapRow]:
    try:
        fit, bent = straight.fit, score_pictures(codes, form="power", people_sd=people_sd, confidence=confidence).fit
    except AnalysisError as error:
        notes.append(f"{name}, exponent: {error}")
        return []
    if fit is None or bent is None:
        return []
    if not (fit.se(fit.layout.log_gain) > 0 and bent.se(bent.layout.exponent) > 0):
        notes.append(f"{name}: no map from boosted to plain, because the votes of one of them place no picture.")
        return []
    t = float(stats.t.ppf(0.5 + confidence / 2, fit.df))
    lg, se = float(fit.theta[fit.layout.log_gain]), fit.se(fit.layout.log_gain)
    q, se_q = float(bent.theta[bent.layout.exponent]), bent.se(bent.layout.exponent)
    gain, low, high = (float(np.exp(np.clip(x, -20, 20))) for x in (lg, lg - t * se, lg + t * se))
    return [MapRow(name, gain, low, high, q, q - t * se_q, q + t * se_q, *map(float, fit.lapse))]


def write_scores(found: Scored, screened: ScreenedTriplets, folder: Path) -> tuple[Path, Path, Path]:
    """The three files; each appears whole or not at all."""
    paths = folder / "scores.csv", folder / "maps.csv", folder / "scores.json"
    write_atomic(paths[0], _csv(found.scores), parents=True)
    write_atomic(paths[1], _csv(found.maps), parents=True)
    document = {
        "schema_version": 1,
        "votes_read": screened.n_read,
        "votes_used": screened.table.n_votes,
        "trap_rule": asdict(screened.rule),
        "traps": {"seen": screened.n_traps, "right": screened.n_traps_right},
        "excluded": [{"reason": r, "votes": v, "people": p} for r, v, p in screened.excluded],
        "scores": [asdict(row) for row in found.scores],
        "maps": [asdict(row) for row in found.maps],
        "notes": list(found.notes),
    }
    write_atomic(paths[2], (json.dumps(document, indent=1) + "\n").encode(), parents=True)
    return paths


def _csv(rows: Sequence[ScoreRow] | Sequence[MapRow]) -> bytes:
    plain = [
        {name: csv_cell(value) if isinstance(value, str) else value for name, value in asdict(row).items()}
        for row in rows
    ]
    buffer = io.BytesIO()
    pl.DataFrame(plain, infer_schema_length=None).write_csv(buffer)
    return buffer.getvalue()

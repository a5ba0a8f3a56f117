"""What a measured visible difference lets a study expect: JOD of `qsched score --metrics cvvdp`, as shares of votes.

One JOD is the difference at which 75 % of people prefer the better of two pictures, on Thurstone's scale:

    P(prefer the baseline) = Phi(0.6745 * (10 - JOD)),   averaged over the pictures

10 means no visible difference. It is a prediction: cvvdp knows no content, and people may prefer what it calls worse.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

from qsched.errors import InputError
from qsched.locations import Location

PERFECT = 10.0
#: The quantile of 75 %: one JOD in standard deviations of a person's judgement.
_SD = NormalDist().inv_cdf(0.75)
_VALUES, _TABLE = "metrics_images.jsonl", "metrics.json"


@dataclass(frozen=True)
class VisibleLoss:
    """An arm against the baseline: mean loss in JOD, expected share of votes for the baseline (ties as halves)."""

    baseline: str
    arm: str
    pictures: int
    loss: float
    preferred: float


@dataclass(frozen=True)
class PictureLosses:
    """The JOD of each picture against the baseline's, by prompt, sample and arm; 10 means no visible difference."""

    baseline: str
    jod: Mapping[tuple[str, int, str], float]
    made_by: str


def preferred_share(jods: Iterable[float]) -> float:
    """Mean expected share of votes for the baseline over pictures of these JOD."""
    shares = [NormalDist().cdf(_SD * (PERFECT - jod)) for jod in jods]
    return math.fsum(shares) / len(shares)


def measured_losses(folder: Location, *, set_id: str) -> tuple[tuple[VisibleLoss, ...], str]:
    """Losses of every arm that `qsched score --metrics cvvdp` has scored, and how they were measured.

    Nothing (and an empty text) if the set was not scored with cvvdp. InputError if the results in the folder belong to
    another set or cannot be read.
    """
    scores = _read_scores(folder, set_id=set_id)
    if scores is None:
        return (), ""
    by_arm: dict[str, list[float]] = {}
    for (_, _, arm), jod in scores.jod.items():
        by_arm.setdefault(arm, []).append(jod)
    losses = tuple(
        VisibleLoss(scores.baseline, arm, len(jods), PERFECT - math.fsum(jods) / len(jods), preferred_share(jods))
        for arm, jods in by_arm.items()
    )
    return losses, scores.made_by


def picture_losses(folder: Location, *, set_id: str) -> PictureLosses | None:
    """The JOD of every picture that `qsched score --metrics cvvdp` has scored; None if the set was not scored with it.

    InputError as `measured_losses`.
    """
    scores = _read_scores(folder, set_id=set_id)
    return scores if scores is not None and scores.jod else None


def _read_scores(folder: Location, *, set_id: str) -> PictureLosses | None:
    if not (folder / _TABLE).is_file() or not (folder / _VALUES).is_file():
        return None
    try:
        table = json.loads((folder / _TABLE).read_text("utf-8"))
        made_by = {info["name"]: info["version"] for info in table["scorers"]}
        rows = [json.loads(line) for line in (folder / _VALUES).read_text("utf-8").splitlines()]
        found_id, baseline = table["set_id"], table["baseline"]
        jod = {
            (str(row["prompt_id"]), int(row["sample_index"]), str(row["arm"])): float(row["cvvdp"])
            for row in rows
            if "cvvdp" in row
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / _TABLE} or {_VALUES} beside it cannot be read ({type(error).__name__}: {error}); run "
            "`qsched score` again or remove both"
        ) from error
    if found_id != set_id:
        raise InputError(
            f"{folder / _TABLE} belongs to image set {found_id}, not to {set_id}; run `qsched score` again or remove it"
        )
    return PictureLosses(baseline, jod, made_by.get("cvvdp", ""))

"""What a benchmark's folder shows, arm by arm: read from manifests, metrics.json, winrates.json and certificates."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qsched.bench.identity import Identity, read_identity
from qsched.bench.places import Places, StudyPlaces
from qsched.bench.spec import ArmSpec, ModelSpec, StudySpec, read_benchmark
from qsched.bench.study_file import clause_arms
from qsched.errors import InputError
from qsched.planning.power import t_bound
from qsched.records import ArmRecord, ImageRow, iter_rows, read_manifest
from qsched.records.image_set import MANIFEST_NAME

LEVEL = 0.05


@dataclass(frozen=True)
class MetricEstimate:
    """A value with its interval; the bounds are None where there is none."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Preference:
    """An arm against the baseline in one study.

    rate        raw win rate with ties as halves, and its clustered interval
    contrast    strength minus the baseline's, in log-odds, with its standard error; None without an estimate
    by_category the same contrast in each category as a win rate, with the interval of quasi-variances (Firth 2003)
    """

    study: str
    rate: MetricEstimate
    votes: int
    people: int | None
    simulated: bool
    contrast: MetricEstimate | None
    contrast_se: float | None
    by_category: Mapping[str, MetricEstimate]


@dataclass(frozen=True)
class ClauseShown:
    """One clause of a certificate, in its own words."""

    study: str
    claim: str
    verdict: str
    finding: str
    status: str
    simulated: bool


@dataclass(frozen=True)
class MetricMean:
    """A metric: its mean, and the paired difference to the baseline (or the mean's own interval for a distance)."""

    metric: str
    mean: float
    difference: MetricEstimate | None


@dataclass(frozen=True)
class ArmResult:
    """One arm of one model. `arm` is as benchmark.yaml writes it, `name` and `same_as` (an arm with the same pictures)
    as the set does."""

    arm: str
    name: str
    is_baseline: bool
    same_as: str | None
    simulated_arithmetic: bool
    recipe_hash: str
    size_bytes: int | None
    nfe: int | None
    seconds: MetricEstimate | None
    metrics: tuple[MetricMean, ...]
    preferences: tuple[Preference, ...]
    clauses: tuple[ClauseShown, ...]


@dataclass(frozen=True)
class ModelResult:
    """One model; `arms` is empty before its pictures are made, `missing` says what is not there."""

    model: str
    backbone: str
    weights: str
    pictures: int
    arms: tuple[ArmResult, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class BenchResult:
    """A benchmark's folder, read."""

    identity: Identity
    title: str
    description: str
    models: tuple[ModelResult, ...]

    @property
    def simulated_votes(self) -> bool:
        """True if software gave some of the votes."""
        arms = [arm for model in self.models for arm in model.arms]
        votes = [one.simulated for arm in arms for one in arm.preferences]
        return any(votes) or any(one.simulated for arm in arms for one in arm.clauses)

    def to_json(self) -> dict[str, Any]:
        """The leaderboard as a document."""
        return {
            "schema_version": 1,
            "identity": self.identity.model_dump(),
            "title": self.title,
            "simulated_votes": self.simulated_votes,
            "models": [asdict(model) for model in self.models],
        }


def open_folder(folder: Path) -> Places:
    """The benchmark of a folder that `bench run` or `bench submit` made; InputError if it is none."""
    read_identity(folder)
    return Places(folder, read_benchmark(folder / "benchmark.yaml"))


def read_results(folder: Path) -> BenchResult:
    """Everything that the folder shows; what is not there yet is named by its model."""
    places = open_folder(folder)
    benchmark = places.benchmark
    return BenchResult(
        identity=read_identity(folder),
        title=benchmark.title,
        description=benchmark.description,
        models=tuple(_model(places, model) for model in benchmark.models),
    )


def _model(places: Places, model: ModelSpec) -> ModelResult:
    images = places.images(model)
    if not (images / MANIFEST_NAME).is_file():
        return ModelResult(model.name, model.source, "", 0, (), ("its pictures are not made yet",))
    manifest, rows = read_manifest(images), list(iter_rows(images))
    arms = places.benchmark.arms_of(model)
    records = {record.name: record for record in manifest.arms}
    if lacking := [arm.arm for arm in arms if places.arm_name(arm) not in records]:
        raise InputError(f"{images} has no arm {lacking[0]}; it is of another benchmark.yaml, or `bench run` goes on")
    missing = []
    preferences: dict[str, list[Preference]] = defaultdict(list)
    clauses: dict[str, list[ClauseShown]] = defaultdict(list)
    for study in places.benchmark.studies_of(model):
        at = places.study(study, model)
        if at.votes is None:
            missing.append(f"study {study.name} has no votes yet")
        elif study.is_fidelity:
            for arm in clause_arms(places, study, model):
                clauses[arm] += _clauses(at.certificate(arm) / "certificate.json", study)
        else:
            for name, found in _preferences(at, study, baseline=places.arm_name(arms[0])).items():
                preferences[name].append(found)
    metrics = _metrics(images, manifest.set_id)
    if places.benchmark.metrics and not metrics:
        missing.append("its pictures are not scored yet")
    return ModelResult(
        model=model.name,
        backbone=manifest.backbone,
        weights=str(manifest.provenance.get("backbone_weights", "")),
        pictures=len(rows),
        arms=tuple(
            _arm(places, arm, number == 0, records[name], rows, metrics, preferences[name], clauses[name])
            for number, arm in enumerate(arms)
            for name in (places.arm_name(arm),)
        ),
        missing=tuple(missing),
    )


def _arm(
    places: Places,
    arm: ArmSpec,
    is_baseline: bool,
    record: ArmRecord,
    rows: Iterable[ImageRow],
    metrics: Mapping[str, Any],
    preferences: list[Preference],
    clauses: list[ClauseShown],
) -> ArmResult:
    found = metrics.get(record.name, {})
    size = record.packed_bytes if record.packed_bytes is not None else record.denoiser_bytes
    return ArmResult(
        arm=arm.arm,
        name=places.arm_name(arm),
        is_baseline=is_baseline,
        same_as=record.same_as,
        simulated_arithmetic=record.simulated,
        recipe_hash=record.recipe_hash,
        size_bytes=size,
        nfe=found.get("nfe_per_image"),
        seconds=_seconds([row for row in rows if row.arm == record.name]),
        metrics=tuple(_metric(one) for one in found.get("metrics", ())),
        preferences=tuple(preferences),
        clauses=tuple(clauses),
    )


def _seconds(rows: list[ImageRow]) -> MetricEstimate | None:
    """Mean seconds per picture, with Student's interval over batches (pictures of a batch share one time)."""
    batches: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        if row.seconds is not None:
            batches[tuple(row.batch)].append(row.seconds)
    values = [seconds for one in batches.values() for seconds in one]
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    means = [math.fsum(one) / len(one) for one in batches.values()]
    if len(means) < 2:
        return MetricEstimate(mean, None, None)
    middle = math.fsum(means) / len(means)
    spread = math.sqrt(math.fsum((one - middle) ** 2 for one in means) / (len(means) - 1) / len(means))
    half = t_bound(df=len(means) - 1, level=LEVEL) * spread
    return MetricEstimate(mean, max(0.0, mean - half), mean + half)


def _metrics(images: Path, set_id: str) -> dict[str, Any]:
    path = images / "metrics.json"
    if not path.is_file():
        return {}
    found = read_json(path)
    if found.get("set_id") != set_id:
        raise InputError(
            f"{path} belongs to image set {found.get('set_id')}, not to {set_id}; run `qsched score` again"
        )
    return {arm["arm"]: arm for arm in found["arms"]}


def _metric(found: Mapping[str, Any]) -> MetricMean:
    one = found["difference"] or found["interval"]
    difference = None if one is None else MetricEstimate(one["mean"], one["low"], one["high"])
    return MetricMean(found["metric"], found["mean"], difference)


def _preferences(at: StudyPlaces, study: StudySpec, *, baseline: str) -> dict[str, Preference]:
    """Each arm that was compared with the baseline; nothing before `qsched winrates` has run."""
    path = at.report / "winrates.json"
    if not path.is_file():
        return {}
    found = read_json(path)
    by_category = _categories(found, baseline)
    result = {}
    for pair in found["pairwise"]:
        names = pair["arm_a"], pair["arm_b"]
        if baseline not in names or not pair["n_votes"]:
            continue
        flipped = names[0] == baseline
        arm = names[1] if flipped else names[0]
        result[arm] = Preference(
            study=study.name,
            rate=_turned(pair["win_rate"], pair["low"], pair["high"], about=0.5 if flipped else None),
            votes=pair["n_votes"],
            people=pair["n_annotators"],
            simulated=bool(found["simulated"]),
            contrast=None
            if pair["log_odds"] is None
            else _turned(pair["log_odds"], pair["log_odds_low"], pair["log_odds_high"], about=0.0 if flipped else None),
            contrast_se=pair["log_odds_se"],
            by_category=by_category.get(arm, {}),
        )
    return result


def _turned(value: float, low: float | None, high: float | None, *, about: float | None) -> MetricEstimate:
    """The estimate, seen from the other arm if it is turned about a point."""
    if about is None:
        return MetricEstimate(value, low, high)
    twice = 2 * about
    return MetricEstimate(twice - value, None if high is None else twice - high, None if low is None else twice - low)


def _categories(found: Mapping[str, Any], baseline: str) -> dict[str, dict[str, MetricEstimate]]:
    strata = found["strata"]
    result: dict[str, dict[str, MetricEstimate]] = defaultdict(dict)
    if strata is None or strata["by"] != "category":
        return result
    for stratum in strata["strata"]:
        strengths = {one["arm"]: one for one in stratum["strengths"]}
        if baseline not in strengths:
            continue
        base = strengths[baseline]
        for arm, one in strengths.items():
            if arm != baseline:
                result[arm][stratum["name"]] = _category_rate(one, base)
    return result


def _category_rate(one: Mapping[str, Any], base: Mapping[str, Any]) -> MetricEstimate:
    contrast = one["log_strength"] - base["log_strength"]
    if one["quasi_se"] is None or base["quasi_se"] is None:
        return MetricEstimate(_expit(contrast), None, None)
    se = math.hypot(one["quasi_se"], base["quasi_se"])
    freedom = min((float(s["df"]) for s in (one, base) if s["df"] is not None), default=math.inf)
    half = t_bound(df=freedom, level=LEVEL) * se
    return MetricEstimate(_expit(contrast), _expit(contrast - half), _expit(contrast + half))


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, x))))


def _clauses(path: Path, study: StudySpec) -> list[ClauseShown]:
    if not path.is_file():
        return []
    found = read_json(path)
    simulated = bool(found["simulated_votes"])
    return [
        ClauseShown(study.name, one["claim"], one["verdict"], one["finding"], str(found["status"]), simulated)
        for one in found["clauses"]
    ]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; InputError if the file is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}; make it again") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is a JSON {type(found).__name__}, not an object; make it again")
    return found

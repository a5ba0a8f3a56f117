"""Automatic metrics of an image set: per image, per arm, and paired against the baseline arm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsched.errors import InputError
from qsched.records import ArmRecord, ImageRow, Manifest, iter_rows, read_manifest
from qsched.scoring.frechet import FeatureExtractor
from qsched.scoring.image_set.frechet import FrechetRecord, score_frechet
from qsched.scoring.image_set.pictures import open_picture
from qsched.scoring.jaq_score import DEFAULT_K, JaqRecord, checked_k, jaq
from qsched.scoring.paired import MeanInterval, PairedDifference, mean_interval, paired_difference
from qsched.scoring.protocol import Scorer, ScorerInfo
from qsched.scoring.reference_metrics import ReferenceMetric

BATCH = 64
JAQ = "jaq"


@dataclass(frozen=True)
class MetricOfArm:
    """One metric of one arm.

    `difference` is to the baseline arm, over prompts; None for the baseline itself. A metric against the twin in
    the baseline is a comparison already: it has the `interval` of its mean instead, and the baseline has none.
    """

    metric: str
    mean: float
    n_images: int
    difference: PairedDifference | None
    interval: MeanInterval | None = None


@dataclass(frozen=True)
class ArmScores:
    """Everything that is known of one arm."""

    arm: ArmRecord
    metrics: tuple[MetricOfArm, ...]
    n_images: int
    n_missing: int  # pictures that the baseline arm has and this one has not
    n_without_twin: int  # pictures of this arm that the baseline arm has not
    n_pairs: int  # pictures that both have
    seconds_per_image: float
    peak_memory_bytes: int | None
    nfe_per_image: int
    frechet: float | None

    @property
    def size_bytes(self) -> int | None:
        """What the denoiser takes, or would take packed where its precision is simulated."""
        return self.arm.packed_bytes if self.arm.packed_bytes is not None else self.arm.denoiser_bytes

    def metric(self, name: str) -> MetricOfArm | None:
        """The metric of that name, None where this arm has no value of it."""
        return next((one for one in self.metrics if one.metric == name), None)


@dataclass(frozen=True)
class SetScores:
    """The table of an image set, with the per-image values behind it."""

    manifest: Manifest
    baseline: str
    scorers: tuple[ScorerInfo, ...]
    jaq: JaqRecord | None
    arms: tuple[ArmScores, ...]
    images: tuple[dict[str, object], ...]  # image_id, arm, prompt_id, sample_index and the metrics
    frechet: FrechetRecord | None

    @property
    def metric_names(self) -> tuple[str, ...]:
        """JAQ first, then the scorers as they were asked for."""
        return (*((JAQ,) if self.jaq else ()), *(info.name for info in self.scorers))

    def info(self, metric: str) -> ScorerInfo | None:
        """The scorer of that name; None for `jaq`, which is made of two."""
        return next((info for info in self.scorers if info.name == metric), None)

    def higher_is_better(self, metric: str) -> bool:
        """Which way the metric goes; JAQ is a sum to be maximised."""
        info = self.info(metric)
        return info is None or info.higher_is_better

    def against_twin(self, metric: str) -> bool:
        """True for a metric of a picture against its twin in the baseline arm."""
        info = self.info(metric)
        return info is not None and info.kind == "reference"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know beside the table: twins that are missing, distances of too few pictures."""
        told = []
        for arm in self.arms:
            name = arm.arm.name
            if arm.n_missing:
                told.append(f"{name} lacks {arm.n_missing} picture(s) that {self.baseline} has")
            if arm.n_without_twin:
                told.append(f"{arm.n_without_twin} picture(s) of {name} have no twin in {self.baseline}")
            if arm.n_missing or arm.n_without_twin:
                told[-1] += f"; {arm.n_pairs} pair(s) are compared"
        if self.frechet is not None:
            told += self.frechet.warnings({arm.arm.name: arm.n_images for arm in self.arms})
        return tuple(told)


def score_set(
    folder: Path,
    *,
    scorers: Sequence[Scorer],
    references: Sequence[ReferenceMetric] = (),
    baseline: str | None = None,
    k: float = DEFAULT_K,
    frechet: tuple[FeatureExtractor, str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> SetScores:
    """Score every picture of the set; the baseline is the first arm unless named.

    Where a text scorer and an image scorer are among `scorers`, `jaq` of the first of each is added.
    `frechet` is (features, reference): a folder, an .npz file, or "baseline".
    Raises InputError for an unknown arm or a k out of range, IntegrityError for a picture that is not its row's.
    """
    checked_k(k)
    manifest = read_manifest(folder)
    rows = sorted(iter_rows(folder), key=lambda row: (row.arm, row.prompt_id, row.sample_index))
    base = _baseline(manifest, baseline)
    by_arm = {arm.name: [row for row in rows if row.arm == arm.name] for arm in manifest.arms}
    empty = [name for name, some in by_arm.items() if not some]
    if empty:
        raise InputError(f"{folder} has no pictures of {empty[0]!r} yet; finish it with `qsched generate-pairs`")
    values = _score_rows(folder, rows, by_arm[base], scorers, references, on_progress)
    record = _add_jaq(values, scorers, k)
    distances: dict[str, float] = {}
    distance_record = None
    if frechet is not None:
        files = {name: [folder / row.file_name for row in some] for name, some in by_arm.items()}
        distance_record, distances = score_frechet(files, *frechet, baseline=base)
    infos = (*(scorer.info for scorer in scorers), *(metric.info for metric in references))
    names = [*([JAQ] if record else []), *(info.name for info in infos)]
    against_twin = {info.name for info in infos if info.kind == "reference"}
    arms = tuple(
        _arm_scores(
            arm,
            by_arm[arm.name],
            None if arm.name == base else by_arm[base],
            metrics=_arm_metrics(by_arm[arm.name], by_arm[base], arm.name == base, values, names, against_twin),
            manifest=manifest,
            frechet=distances.get(arm.name),
        )
        for arm in manifest.arms
    )
    return SetScores(
        manifest=manifest,
        baseline=base,
        scorers=infos,
        jaq=record,
        arms=arms,
        images=tuple({**_place(row), **values[row.image_id]} for row in rows),
        frechet=distance_record,
    )


def _baseline(manifest: Manifest, name: str | None) -> str:
    names = [arm.name for arm in manifest.arms]
    if name is not None and name not in names:
        raise InputError(f"baseline {name!r} is no arm of this set; choose one of {', '.join(names)}")
    return name or names[0]


def _score_rows(
    folder: Path,
    rows: list[ImageRow],
    base_rows: list[ImageRow],
    scorers: Sequence[Scorer],
    references: Sequence[ReferenceMetric],
    on_progress: Callable[[int, int], None] | None,
) -> dict[str, dict[str, float]]:
    """Metric values by image id.

    A picture whose twin is missing has no reference metrics; nor has one of the baseline, its own twin.
    """
    twins = {_pair_key(row): row for row in base_rows}
    values: dict[str, dict[str, float]] = {row.image_id: {} for row in rows}
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        images = [open_picture(folder, row) for row in batch]
        names = [f"{row.file_name} ({row.arm}, {row.prompt_id})" for row in batch]
        for scorer in scorers:
            scores = scorer.score(images, [row.prompt for row in batch], names=names)
            for row, score in zip(batch, scores, strict=True):
                values[row.image_id][scorer.info.name] = score
        if references:
            kept = [i for i, row in enumerate(batch) if twins.get(_pair_key(row), row) is not row]
            against = [open_picture(folder, twins[_pair_key(batch[i])]) for i in kept]
            for metric in references:
                scores = metric.score_against([images[i] for i in kept], against, names=[names[i] for i in kept])
                for i, score in zip(kept, scores, strict=True):
                    values[batch[i].image_id][metric.info.name] = score
        if on_progress is not None:
            on_progress(min(start + BATCH, len(rows)), len(rows))
    return values


def _add_jaq(values: dict[str, dict[str, float]], scorers: Sequence[Scorer], k: float) -> JaqRecord | None:
    # The ground-truth check reads the prompt too, but it is no text-compatibility model: it does not enter.
    tc = next((s.info for s in scorers if s.info.kind == "text" and s.info.name != "tiny-check"), None)
    iq = next((s.info for s in scorers if s.info.kind == "image" and s.info.higher_is_better), None)
    if tc is None or iq is None:
        return None
    for one in values.values():
        one[JAQ] = jaq(one[tc.name], one[iq.name], k=k)
    return JaqRecord(tc, iq, k)


def _arm_metrics(
    rows: list[ImageRow],
    base_rows: list[ImageRow],
    is_baseline: bool,
    values: dict[str, dict[str, float]],
    names: Sequence[str],
    against_twin: set[str],
) -> tuple[MetricOfArm, ...]:
    """Every metric that at least one picture of the arm has; no single picture decides which those are."""
    metrics = []
    for name in names:
        found = [values[row.image_id][name] for row in rows if name in values[row.image_id]]
        if not found:
            continue
        mean, n = sum(found) / len(found), len(found)
        if name in against_twin:
            per_prompt = _prompt_means(rows, values, name)
            interval = mean_interval(per_prompt) if len(per_prompt) >= 2 else None
            metrics.append(MetricOfArm(name, mean, n, None, interval))
        else:
            metrics.append(MetricOfArm(name, mean, n, None if is_baseline else _paired(rows, base_rows, values, name)))
    return tuple(metrics)


def _arm_scores(
    arm: ArmRecord,
    rows: list[ImageRow],
    base_rows: list[ImageRow] | None,
    *,
    metrics: tuple[MetricOfArm, ...],
    manifest: Manifest,
    frechet: float | None,
) -> ArmScores:
    """The arm's row of the table; `base_rows` is None for the baseline itself."""
    mine = {_pair_key(row) for row in rows}
    theirs = mine if base_rows is None else {_pair_key(row) for row in base_rows}
    memory = [row.peak_memory_bytes for row in rows if row.peak_memory_bytes is not None]
    return ArmScores(
        arm=arm,
        metrics=metrics,
        n_images=len(rows),
        n_missing=len(theirs - mine),
        n_without_twin=len(mine - theirs),
        n_pairs=len(mine & theirs),
        seconds_per_image=sum(row.seconds for row in rows) / len(rows),
        peak_memory_bytes=max(memory) if memory else None,
        nfe_per_image=manifest.steps,
        frechet=frechet,
    )


def _paired(
    rows: list[ImageRow], base_rows: list[ImageRow], values: dict[str, dict[str, float]], metric: str
) -> PairedDifference | None:
    """Difference to the baseline over prompts; the samples of a prompt are averaged first, they are not independent."""
    base = {_pair_key(row): values[row.image_id][metric] for row in base_rows if metric in values[row.image_id]}
    differences: dict[str, list[float]] = {}
    for row in rows:
        twin = base.get(_pair_key(row))
        if twin is not None and metric in values[row.image_id]:
            differences.setdefault(row.prompt_id, []).append(values[row.image_id][metric] - twin)
    means = [sum(some) / len(some) for some in differences.values()]
    return paired_difference(means, [0.0] * len(means)) if len(means) >= 2 else None


def _prompt_means(rows: list[ImageRow], values: dict[str, dict[str, float]], metric: str) -> list[float]:
    """The metric averaged over the samples of each prompt that has it."""
    by_prompt: dict[str, list[float]] = {}
    for row in rows:
        if metric in values[row.image_id]:
            by_prompt.setdefault(row.prompt_id, []).append(values[row.image_id][metric])
    return [sum(some) / len(some) for some in by_prompt.values()]


def _pair_key(row: ImageRow) -> tuple[str, int]:
    """What the pictures of a pair have in common: prompt and noise."""
    return row.prompt_id, row.sample_index


def _place(row: ImageRow) -> dict[str, object]:
    return {
        "image_id": row.image_id,
        "arm": row.arm,
        "prompt_id": row.prompt_id,
        "sample_index": row.sample_index,
    }

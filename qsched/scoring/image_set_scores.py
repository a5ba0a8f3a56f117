"""Automatic metrics of an image set: per image, per arm, and paired against the baseline arm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from qsched.errors import InputError, IntegrityError
from qsched.records import ArmRecord, ImageRow, Manifest, iter_rows, read_manifest
from qsched.scoring.frechet import FeatureExtractor, frechet_distance, measure_statistics, reference_statistics
from qsched.scoring.jaq_score import DEFAULT_K, jaq
from qsched.scoring.paired import PairedDifference, paired_difference
from qsched.scoring.protocol import Scorer, ScorerInfo
from qsched.scoring.reference_metrics import ReferenceMetric

BATCH = 64
BASELINE = "baseline"  # as a Fréchet reference: the pictures of the baseline arm


@dataclass(frozen=True)
class MetricOfArm:
    """One metric of one arm. `difference` is to the baseline arm, over prompts; None for the baseline itself."""

    metric: str
    mean: float
    n_images: int
    difference: PairedDifference | None


@dataclass(frozen=True)
class ArmScores:
    """Everything that is known of one arm."""

    arm: ArmRecord
    metrics: tuple[MetricOfArm, ...]
    n_images: int
    n_missing: int  # pictures that the baseline arm has and this one has not
    seconds_per_image: float
    peak_memory_bytes: int | None
    packed_bytes: int | None  # a simulated arm's codes and scales, if they were packed: computed, not measured
    nfe_per_image: int
    frechet: float | None

    @property
    def size_bytes(self) -> int | None:
        """What the denoiser takes, or would take packed where its precision is simulated."""
        return self.packed_bytes if self.packed_bytes is not None else self.arm.denoiser_bytes


@dataclass(frozen=True)
class SetScores:
    """The table of an image set, with the per-image values behind it."""

    manifest: Manifest
    baseline: str
    scorers: tuple[ScorerInfo, ...]
    higher_is_better: dict[str, bool]
    arms: tuple[ArmScores, ...]
    images: tuple[dict[str, object], ...]  # image_id, arm, prompt_id, sample_index and the metrics
    frechet_name: str | None


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
    Raises InputError for an unknown arm, IntegrityError for a row without its picture.
    """
    manifest = read_manifest(folder)
    rows = sorted(iter_rows(folder), key=lambda row: (row.arm, row.prompt_id, row.sample_index))
    base = _baseline(manifest, baseline)
    by_arm = {arm.name: [row for row in rows if row.arm == arm.name] for arm in manifest.arms}
    empty = [name for name, some in by_arm.items() if not some]
    if empty:
        raise InputError(f"{folder} has no pictures of {empty[0]!r} yet; finish it with `qsched generate-pairs`")
    values = _score_rows(folder, rows, by_arm[base], scorers, references, on_progress)
    _add_jaq(values, scorers, k)
    arms = tuple(
        _arm_scores(
            arm, by_arm[arm.name], by_arm[base], values, manifest, base, _frechet(folder, by_arm, arm, base, frechet)
        )
        for arm in manifest.arms
    )
    higher = {s.info.name: s.info.higher_is_better for s in [*scorers, *references]}
    return SetScores(
        manifest=manifest,
        baseline=base,
        scorers=tuple(s.info for s in [*scorers, *references]),
        higher_is_better={**higher, "jaq": True},
        arms=arms,
        images=tuple({**_place(row), **values[row.image_id]} for row in rows),
        frechet_name=None if frechet is None else f"{_distance_name(frechet[0])} to {frechet[1]}",
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
    """Metric values by image id. A picture whose twin is missing has no reference metrics."""
    twins = {(row.prompt_id, row.sample_index): row for row in base_rows}
    values: dict[str, dict[str, float]] = {row.image_id: {} for row in rows}
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        images = [_open(folder, row) for row in batch]
        names = [f"{row.file_name} ({row.arm}, {row.prompt_id})" for row in batch]
        for scorer in scorers:
            scores = scorer.score(images, [row.prompt for row in batch], names=names)
            for row, score in zip(batch, scores, strict=True):
                values[row.image_id][scorer.info.name] = score
        if references:
            kept = [i for i, row in enumerate(batch) if (row.prompt_id, row.sample_index) in twins]
            against = [_open(folder, twins[batch[i].prompt_id, batch[i].sample_index]) for i in kept]
            for metric in references:
                scores = metric.score_against([images[i] for i in kept], against, names=[names[i] for i in kept])
                for i, score in zip(kept, scores, strict=True):
                    values[batch[i].image_id][metric.info.name] = score
        if on_progress is not None:
            on_progress(min(start + BATCH, len(rows)), len(rows))
    return values


def _add_jaq(values: dict[str, dict[str, float]], scorers: Sequence[Scorer], k: float) -> None:
    # The ground-truth check reads the prompt too, but it is no text-compatibility model: it does not enter.
    tc = next((s.info.name for s in scorers if s.info.kind == "text" and s.info.name != "tiny-check"), None)
    iq = next((s.info.name for s in scorers if s.info.kind == "image" and s.info.higher_is_better), None)
    if tc and iq:
        for one in values.values():
            one["jaq"] = jaq(one[tc], one[iq], k=k)


def _arm_scores(
    arm: ArmRecord,
    rows: list[ImageRow],
    base_rows: list[ImageRow],
    values: dict[str, dict[str, float]],
    manifest: Manifest,
    baseline: str,
    frechet: float | None,
) -> ArmScores:
    metrics = []
    for name in values[rows[0].image_id]:
        found = [values[row.image_id][name] for row in rows if name in values[row.image_id]]
        difference = None
        if arm.name != baseline and name in values[base_rows[0].image_id]:
            difference = _paired(rows, base_rows, values, name)
        metrics.append(MetricOfArm(name, sum(found) / len(found), len(found), difference))
    mine = {(row.prompt_id, row.sample_index) for row in rows}
    memory = [row.peak_memory_bytes for row in rows if row.peak_memory_bytes is not None]
    return ArmScores(
        arm=arm,
        metrics=tuple(metrics),
        n_images=len(rows),
        n_missing=len({(row.prompt_id, row.sample_index) for row in base_rows} - mine),
        seconds_per_image=sum(row.seconds for row in rows) / len(rows),
        peak_memory_bytes=max(memory) if memory else None,
        packed_bytes=_packed_bytes(manifest, arm),
        nfe_per_image=manifest.steps,
        frechet=frechet,
    )


def _packed_bytes(manifest: Manifest, arm: ArmRecord) -> int | None:
    """From what generation noted of the precision in the manifest's provenance."""
    told = manifest.provenance.get("arms")
    report = told.get(arm.precision) if isinstance(told, dict) else None
    packed = report.get("packed_bytes") if isinstance(report, dict) else None
    return packed if isinstance(packed, int) else None


def _paired(
    rows: list[ImageRow], base_rows: list[ImageRow], values: dict[str, dict[str, float]], metric: str
) -> PairedDifference | None:
    """Difference to the baseline over prompts; the samples of a prompt are averaged first, they are not independent."""
    base = {(row.prompt_id, row.sample_index): values[row.image_id][metric] for row in base_rows}
    differences: dict[str, list[float]] = {}
    for row in rows:
        twin = base.get((row.prompt_id, row.sample_index))
        if twin is not None and metric in values[row.image_id]:
            differences.setdefault(row.prompt_id, []).append(values[row.image_id][metric] - twin)
    means = [sum(some) / len(some) for some in differences.values()]
    return paired_difference(means, [0.0] * len(means)) if len(means) >= 2 else None


def _frechet(
    folder: Path,
    by_arm: dict[str, list[ImageRow]],
    arm: ArmRecord,
    base: str,
    frechet: tuple[FeatureExtractor, str] | None,
) -> float | None:
    if frechet is None:
        return None
    extractor, reference = frechet

    def files(name: str) -> list[Path]:
        return [folder / row.file_name for row in by_arm[name]]

    target = (
        measure_statistics(files(base), extractor)
        if reference == BASELINE
        else reference_statistics(Path(reference), extractor)
    )
    return frechet_distance(measure_statistics(files(arm.name), extractor), target)


def _distance_name(extractor: FeatureExtractor) -> str:
    return "FID" if extractor.name.startswith("inception") else f"Fréchet distance on {extractor.name}"


def _open(folder: Path, row: ImageRow) -> Image.Image:
    path = folder / row.file_name
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except OSError as error:
        raise IntegrityError(
            f"{path} ({row.arm}, {row.prompt_id}) cannot be read: {error}. `qsched verify` lists what is wrong with a "
            "set; the same `qsched generate-pairs` command mends it"
        ) from error


def _place(row: ImageRow) -> dict[str, object]:
    return {
        "image_id": row.image_id,
        "arm": row.arm,
        "prompt_id": row.prompt_id,
        "sample_index": row.sample_index,
    }

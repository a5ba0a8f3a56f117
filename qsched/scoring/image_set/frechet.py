"""The Fréchet distance of every arm of an image set to one reference, with the counts that it depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from qsched.scoring.frechet import FeatureExtractor, frechet_distance, measure_statistics, reference_statistics

BASELINE = "baseline"  # as a reference: the pictures of the baseline arm


@dataclass(frozen=True)
class FrechetRecord:
    """What a Fréchet distance was made of. `reference_count` is None if an .npz does not state it."""

    name: str
    features: str
    dimension: int
    reference: str
    reference_count: int | None

    def to_json(self) -> dict[str, object]:
        """A plain dictionary for metrics.json."""
        return asdict(self)

    def warnings(self, counts: Mapping[str, int]) -> list[str]:
        """What a reader must know of arms with so many pictures: a covariance of fewer than D has no full rank."""
        few = {arm: n for arm, n in counts.items() if n < self.dimension}
        found = []
        if few:
            some = ", ".join(f"{arm} has {n}" for arm, n in few.items())
            found.append(
                f"{self.name}: {some} pictures, fewer than the {self.dimension} features, so the distance is mostly "
                "bias; compare it only between arms with the same pictures, or make more of them"
            )
        if self.reference_count is None:
            found.append(f"{self.name}: the reference does not state how many pictures it was made of")
        elif self.reference_count < self.dimension:
            found.append(
                f"{self.name}: the reference has {self.reference_count} pictures, fewer than the {self.dimension} "
                "features; take a larger one"
            )
        return found


def score_frechet(
    files: Mapping[str, Sequence[Path]], extractor: FeatureExtractor, reference: str, *, baseline: str
) -> tuple[FrechetRecord, dict[str, float]]:
    """Distances by arm; the reference (a folder, an .npz file or "baseline") is measured once."""
    own = reference == BASELINE
    target = measure_statistics(files[baseline], extractor) if own else reference_statistics(Path(reference), extractor)
    distances = {}
    for arm, some in files.items():
        statistics = target if own and arm == baseline else measure_statistics(some, extractor)
        distances[arm] = frechet_distance(statistics, target)
    kind = "FID" if extractor.name.startswith("inception") else f"Fréchet distance on {extractor.name}"
    record = FrechetRecord(f"{kind} to {reference}", extractor.name, target.mu.size, reference, target.count or None)
    return record, distances

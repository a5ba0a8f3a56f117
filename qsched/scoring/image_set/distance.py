"""The distance of every arm of an image set to one reference, as a set of pictures: Fréchet or kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from qsched.locations import Location
from qsched.scoring.frechet import FeatureExtractor, frechet_distance, measure_statistics, reference_statistics
from qsched.scoring.kernel import KERNELS, kernel_distance, measure_features, reference_pictures

Kind = Literal["frechet", "kid", "cmmd"]

BASELINE = "baseline"  # as a reference: the pictures of the baseline arm


@dataclass(frozen=True)
class DistanceRequest:
    """Which distance, on which features, to a folder, an .npz file of statistics (Fréchet only) or "baseline"."""

    kind: Kind
    extractor: FeatureExtractor
    reference: str


@dataclass(frozen=True)
class DistanceRecord:
    """What a distance was made of. `reference_count` is None if an .npz does not state it."""

    kind: Kind
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
        if self.kind != "frechet":
            return []  # unbiased at any number
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


def score_distance(
    files: Mapping[str, Sequence[Location]], request: DistanceRequest, *, baseline: str
) -> tuple[DistanceRecord, dict[str, float]]:
    """Distances by arm; the reference is measured once. Raises InputError for one that cannot be used."""
    return (_frechet if request.kind == "frechet" else _kernel)(files, request, baseline)


def _frechet(
    files: Mapping[str, Sequence[Location]], request: DistanceRequest, baseline: str
) -> tuple[DistanceRecord, dict[str, float]]:
    extractor, reference = request.extractor, request.reference
    own = reference == BASELINE
    target = measure_statistics(files[baseline], extractor) if own else reference_statistics(Path(reference), extractor)
    distances = {}
    for arm, some in files.items():
        statistics = target if own and arm == baseline else measure_statistics(some, extractor)
        distances[arm] = frechet_distance(statistics, target)
    kind = "FID" if extractor.name.startswith("inception") else f"Fréchet distance on {extractor.name}"
    name = f"{kind} to {reference}"
    return DistanceRecord("frechet", name, extractor.name, target.mu.size, reference, target.count or None), distances


def _kernel(
    files: Mapping[str, Sequence[Location]], request: DistanceRequest, baseline: str
) -> tuple[DistanceRecord, dict[str, float]]:
    extractor, reference = request.extractor, request.reference
    own = reference == BASELINE
    target = measure_features(files[baseline] if own else reference_pictures(Path(reference)), extractor)
    kernel = KERNELS[request.kind]
    distances = {}
    for arm, some in files.items():
        # An arm against itself has no unbiased distance: the same picture is on both sides.
        if not (own and arm == baseline):
            distances[arm] = kernel_distance(measure_features(some, extractor), target, kernel)
    name = f"{request.kind.upper()} to {reference} on {extractor.name}"
    return DistanceRecord(request.kind, name, extractor.name, target.shape[1], reference, len(target)), distances

"""What `qsched score` finds: metrics by arm, differences to the baseline, repairs, and what a reader must know."""

from __future__ import annotations

from dataclasses import dataclass

from qsched.locations import Location
from qsched.records import ArmRecord, Manifest
from qsched.scoring.image_set.distance import DistanceRecord
from qsched.scoring.jaq_score import JaqRecord
from qsched.scoring.paired import MeanInterval, PairedDifference
from qsched.scoring.protocol import ScorerInfo

JAQ = "jaq"


@dataclass(frozen=True)
class MetricOfArm:
    """One metric of one arm.

    `difference` is to the baseline arm, over prompts; None for the baseline itself and for an arm with the same
    pictures. A metric against the twin in the baseline is a comparison already: it has the `interval` of its mean
    instead, and the baseline has none.
    """

    metric: str
    mean: float
    n_images: int
    difference: PairedDifference | None
    interval: MeanInterval | None = None


@dataclass(frozen=True)
class Seconds:
    """Wall time per image of an arm: mean and range over its images (an image's is its batch's, divided)."""

    mean: float
    least: float
    most: float


@dataclass(frozen=True)
class ArmScores:
    """Everything that is known of one arm.

    n_missing        pictures that the baseline arm has and this one does not
    n_without_twin   pictures of this arm that the baseline arm does not have
    n_pairs          pictures that both have; n_identical of them are the same, byte for byte
    same_as          the first earlier arm all of whose pictures are also this arm's, byte for byte
    """

    arm: ArmRecord
    metrics: tuple[MetricOfArm, ...]
    n_images: int
    n_missing: int
    n_without_twin: int
    n_pairs: int
    n_identical: int
    same_as: str | None
    seconds: Seconds | None
    peak_memory_bytes: int | None
    nfe_per_image: int | None
    distance: float | None

    @property
    def size_bytes(self) -> int | None:
        """What the denoiser takes, or would take packed if its precision is simulated."""
        return self.arm.packed_bytes if self.arm.packed_bytes is not None else self.arm.denoiser_bytes

    def metric(self, name: str) -> MetricOfArm | None:
        """The metric of that name, None if this arm has no value of it."""
        return next((one for one in self.metrics if one.metric == name), None)


@dataclass(frozen=True)
class Repair:
    """What a changed scheduler does to one precision: an arm with coefficients against the stock arm or Q-Sched's.

    `differences` has one entry for each metric that both arms have, and none if all n_pairs pictures are the same;
    `worst` has the prompt that lost most by each, and its difference.
    """

    arm: str
    against: str
    n_pairs: int
    n_identical: int
    differences: tuple[tuple[str, PairedDifference], ...]
    worst: tuple[tuple[str, WorstPrompt], ...] = ()


@dataclass(frozen=True)
class WorstPrompt:
    """The prompt on which an arm lost most, or gained least."""

    prompt_id: str
    prompt: str
    difference: float

    @property
    def words(self) -> str:
        """`p17 -0.1200 (a small red ring)`."""
        return f"{self.prompt_id} {self.difference:+.4f} ({self.prompt})"


@dataclass(frozen=True)
class ShownPrompt:
    """A prompt to look at, with one picture of each arm from the same noise: (arm, file, value of the metric)."""

    title: str
    prompt_id: str
    prompt: str
    sample_index: int
    pictures: tuple[tuple[str, Location, float | None], ...]


@dataclass(frozen=True)
class SetScores:
    """The table of an image set, with the per-image values behind it.

    repeated   prompts whose text another prompt has, up to case and spaces: they count once
    unread     scorer -> prompts that are longer than its text encoder reads
    leads      (better, worse) arms by the first metric, if the paired interval of the two shows it
    shown      prompts to look at, by the first metric
    """

    manifest: Manifest
    baseline: str
    scorers: tuple[ScorerInfo, ...]
    jaq: JaqRecord | None
    arms: tuple[ArmScores, ...]
    repairs: tuple[Repair, ...]
    images: tuple[dict[str, object], ...]  # image_id, arm, prompt_id, sample_index and the metrics
    distance: DistanceRecord | None
    repeated: int = 0
    unread: dict[str, int] | None = None
    leads: frozenset[tuple[str, str]] = frozenset()
    shown: tuple[ShownPrompt, ...] = ()

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
        """What a reader must know beside the table."""
        found: list[str] = [] if self.manifest.pairing_note is None else [self.manifest.pairing_note]
        for arm in self.arms:
            found += self._arm_warnings(arm)
        if self.repeated:
            found.append(
                f"{self.repeated} prompt(s) repeat the text of another, up to case and spaces; in the intervals they "
                "count as one"
            )
        cut = self.manifest.provenance.get("truncated_prompts")
        if isinstance(cut, list | tuple) and cut:
            found.append(f"{len(cut)} prompt(s) are longer than the model's text encoder reads: it saw them cut")
        for scorer, count in (self.unread or {}).items():
            found.append(f"{count} prompt(s) are longer than {scorer} reads: it scored them cut")
        if self.distance is not None:
            found += self.distance.warnings({arm.arm.name: arm.n_images for arm in self.arms})
        return tuple(found)

    def _arm_warnings(self, arm: ArmScores) -> list[str]:
        name, found = arm.arm.name, []
        if arm.n_missing:
            found.append(f"{name} lacks {arm.n_missing} picture(s) that {self.baseline} has")
        if arm.n_without_twin:
            found.append(f"{arm.n_without_twin} picture(s) of {name} have no twin in {self.baseline}")
        if found:
            found[-1] += f"; {arm.n_pairs} pair(s) are compared"
        if arm.same_as is not None:
            found.append(
                f"{name} has the pictures of {arm.same_as}, byte for byte (identical in {arm.n_images} of "
                f"{arm.n_images}), so neither is better"
            )
        elif arm.n_identical and name != self.baseline:
            found.append(f"{name} and {self.baseline} are identical in {arm.n_identical} of {arm.n_pairs} pictures")
        return found

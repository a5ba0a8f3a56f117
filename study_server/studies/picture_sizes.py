"""How long an annotator on a slow line waits for a pair of pictures, before anybody does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from study_server.studies.comparisons import ImageKey, PlannedPair

# A slow mobile line ("Slow 4G" of the browsers' own tools), and the wait beyond which people leave.
SLOW_BITS_PER_SECOND = 1_600_000
LONG_WAIT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class PairSizes:
    """Bytes of the median and of the largest pair, and the seconds that the median one takes on a slow line."""

    median_bytes: int
    largest_bytes: int
    slow_seconds: float

    @property
    def warning(self) -> str | None:
        """What to do about pairs that keep people waiting, if they do."""
        if self.slow_seconds <= LONG_WAIT_SECONDS:
            return None
        return (
            f"a pair has {self.median_bytes / 1e6:.1f} MB: {self.slow_seconds:.0f} s on a line of "
            f"{SLOW_BITS_PER_SECOND / 1e6:g} Mbit/s; the next pair loads while one is judged, but people on slow lines "
            "wait: smaller pictures, or a study for computers only (screening: {touch: false})"
        )


def measure_pairs(pairs: Iterable[PlannedPair], sizes: Mapping[ImageKey, int]) -> PairSizes | None:
    """From the size of each picture's file, None without files. Both pictures are sent at the length of the larger."""
    found = []
    for pair in pairs:
        both = [sizes.get((pair.prompt_key, pair.sample_index, arm)) for arm in pair.all_arms]
        known = [size for size in both if size is not None]
        if len(known) == len(both):
            found.append(len(both) * max(known))
    if not found:
        return None
    middle = int(median(found))
    return PairSizes(middle, max(found), middle * 8 / SLOW_BITS_PER_SECOND)

"""Where two pictures differ visibly: the FLIP map, its largest spot, and whether the content changed.

FLIP (Andersson et al. 2020, Proc. ACM Comput. Graph. Interact. Tech. 3(2)) says of each pixel how different it looks,
0 to 1, when the two pictures alternate in place at 67 pixels per degree: the way in which triplets are toggled.

Few-step models may draw another finger, and that is not a small difference made larger. Noise, blur and a shift of
colours spread over the picture or run along its edges; other content is a compact spot. So the map is averaged over
squares of 1/24 of the shorter side (at least 4 pixels), and

    spot = largest average - median average

says that content changed where it is over the design's `content_limit`. tests/study_server/test_difference.py plants
both kinds of change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsched.errors import MissingExtraError

Pixels = NDArray[np.uint8]  # (height, width, 3), sRGB code values
Map = NDArray[np.float32]  # (height, width)

SPOT_SHARE = 24
SMALLEST_SPOT = 4


@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangle in pixels of the reference."""

    x: int
    y: int
    width: int
    height: int

    def of(self, pixels: Pixels) -> Pixels:
        """The part of a picture."""
        return pixels[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True, slots=True)
class DifferenceMap:
    """The map of a picture against the reference, its mean, and the compact spot's height above the median."""

    map: Map
    mean: float
    spot: float


def measure_difference(reference: Pixels, test: Pixels) -> DifferenceMap:
    """FLIP of two pictures of one size. Raises MissingExtraError without the library."""
    try:
        import flip_evaluator
    except ModuleNotFoundError as error:
        raise MissingExtraError("flip-evaluator", "fidelity") from error

    pictures = [np.ascontiguousarray(one, dtype=np.float32) / np.float32(255) for one in (reference, test)]
    found, _, _ = flip_evaluator.evaluate(*pictures, "LDR", applyMagma=False, computeMeanError=False)
    visible = np.asarray(found, dtype=np.float32)[..., 0]
    height, width = visible.shape
    side = min(max(SMALLEST_SPOT, min(height, width) // SPOT_SHARE), height, width)
    averages = box_means(visible, height=side, width=side)
    return DifferenceMap(visible, float(visible.mean()), float(averages.max() - np.median(averages)))


def box_means(values: Map, *, height: int, width: int) -> NDArray[np.float64]:
    """The mean of each height x width rectangle inside, by its upper left corner."""
    total = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    total[1:, 1:] = values.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    return np.asarray(sums / (height * width))


def largest_difference(maps: list[Map], *, most: int) -> Crop:
    """The square in which the larger of the maps is largest on average: at most `most` pixels a side, and at most half
    of the shorter side (but 16 pixels, or the whole picture, if that is less)."""
    visible = np.maximum.reduce(maps)
    height, width = visible.shape
    shorter = min(height, width)
    side = min(most, max(16, shorter // 2), shorter)
    averages = box_means(visible, height=side, width=side)
    y, x = np.unravel_index(int(averages.argmax()), averages.shape)
    return Crop(int(x), int(y), side, side)

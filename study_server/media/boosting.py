"""Boosted pictures: the difference from the reference amplified in a crop, and traps made from the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from study_server.media.difference import Crop, Pixels

MOSAIC = 12
LIFT = 48


@dataclass(frozen=True, slots=True)
class Boosted:
    """The crops of a triplet; `clipped` is the share of the test pictures' values that were cut off at 0 or 255."""

    reference: Pixels
    tests: tuple[Pixels, Pixels]
    clipped: float


def boost(reference: Pixels, tests: tuple[Pixels, Pixels], *, crop: Crop, factor: float) -> Boosted:
    """reference + factor (test - reference) in the crop, on sRGB code values."""
    base = crop.of(reference)
    amplified = [base + np.float64(factor) * (crop.of(test).astype(np.float64) - base) for test in tests]
    outside = [float(((values < 0) | (values > 255)).mean()) for values in amplified]
    first, second = (np.rint(values).clip(0, 255).astype(np.uint8) for values in amplified)
    return Boosted(np.ascontiguousarray(base), (first, second), sum(outside) / 2)


def degrade(reference: Pixels) -> Pixels:
    """The reference as a mosaic of MOSAIC tiles a side whose lightness alternates by LIFT: far above any threshold."""
    height, width, _ = reference.shape
    made = np.empty_like(reference)
    rows = np.linspace(0, height, MOSAIC + 1).astype(int)
    columns = np.linspace(0, width, MOSAIC + 1).astype(int)
    for i in range(MOSAIC):
        for j in range(MOSAIC):
            tile = (slice(rows[i], rows[i + 1]), slice(columns[j], columns[j + 1]))
            if reference[tile].size:
                mean = reference[tile].mean(axis=(0, 1))
                made[tile] = np.clip(mean + (LIFT if (i + j) % 2 else -LIFT), 0, 255)
    return made

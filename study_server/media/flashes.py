"""Which parts of a flickering triplet are flashes in the sense of WCAG 2.2, success criterion 2.3.1, and how large.

A change between reference and test picture and back is a general flash where the relative luminance changes by 10 % of
the maximum or more and the darker state is below 0.80, and a red flash where one state is a saturated red
(R / (R + G + B) of at least 0.8) and the chromaticities differ by more than 0.2 in the CIE 1976 UCS diagram. Flashes
of more than three per second are allowed where they cover at most a quarter of every 10 degree field of vision, which
WCAG puts at 341 x 256 pixels. Both test pictures change at the same moment: their areas are added.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from study_server.media.difference import Pixels, box_means

FIELD = (341, 256)
LARGEST_AREA = FIELD[0] * FIELD[1] / 4
LUMINANCE_CHANGE, DARKER_BELOW = 0.10, 0.80
RED_SHARE, RED_CHANGE = 0.8, 0.2
#: Rows: X, Y, Z of linear sRGB; the second one is the relative luminance of WCAG.
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])

Mask = NDArray[np.bool_]


def flashing(reference: Pixels, test: Pixels) -> Mask:
    """The pixels whose change between the two pictures is a general or a red flash."""
    one, other = _linear(reference), _linear(test)
    before, after = one @ _XYZ[1], other @ _XYZ[1]
    general = (np.abs(before - after) >= LUMINANCE_CHANGE) & (np.minimum(before, after) < DARKER_BELOW)
    apart = np.linalg.norm(_chromaticity(one) - _chromaticity(other), axis=-1) > RED_CHANGE
    return np.asarray(general | ((_is_red(one) | _is_red(other)) & apart))


def flash_area(reference: Pixels, tests: tuple[Pixels, Pixels], *, zoom: int | None) -> float:
    """The largest area of flashes in a 10 degree field, in CSS pixels; without a `zoom`, which then depends on the
    window, 0 where nothing flashes and else the whole field."""
    masks = [flashing(reference, test) for test in tests]
    if zoom is None:
        return float(FIELD[0] * FIELD[1]) if any(mask.any() for mask in masks) else 0.0
    return float(sum(_in_a_field(mask, zoom) for mask in masks))


def is_small(area: float) -> bool:
    """Whether flashes of this area may come faster than three times per second."""
    return area <= LARGEST_AREA


def _in_a_field(mask: Mask, zoom: int) -> float:
    """CSS pixels of the mask in the fullest 341 x 256 rectangle; a pixel of the crop is at most `zoom` of them wide."""
    height, width = mask.shape
    rows, columns = min(height, -(-FIELD[1] // zoom)), min(width, -(-FIELD[0] // zoom))
    share = float(box_means(mask.astype(np.float32), height=rows, width=columns).max())
    return float(min(share * rows * columns * zoom**2, float(FIELD[0] * FIELD[1])))


def _linear(pixels: Pixels) -> NDArray[np.float64]:
    coded = pixels.astype(np.float64) / 255
    return np.asarray(np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4))


def _is_red(linear: NDArray[np.float64]) -> Mask:
    total = linear.sum(axis=-1)
    return np.asarray((total > 0) & (linear[..., 0] >= RED_SHARE * total))


def _chromaticity(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """u', v' of each pixel; of black that of white, so that black and grey have one chromaticity."""
    xyz = linear @ _XYZ.T
    xyz = np.where(linear.sum(axis=-1, keepdims=True) > 0, xyz, _XYZ.sum(axis=1))
    whole = xyz @ np.array([1.0, 15.0, 3.0])
    return np.asarray(np.stack([4 * xyz[..., 0], 9 * xyz[..., 1]], axis=-1) / whole[..., None])

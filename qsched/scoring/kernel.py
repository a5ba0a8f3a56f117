"""Kernel distances between two sets of pictures: KID and CMMD, unbiased at any number of pictures.

    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)

(Gretton et al. 2012, J. Mach. Learn. Res. 13, eq. 3: a U-statistic, so its expectation is the same for 25 pictures as
for 25,000. A Fréchet distance is mostly bias for so few.) It can be below 0: then nothing distinguishes the sets.

    KID    k = (x.y / D + 1)^3 on Inception features (Binkowski et al. 2018)
    CMMD   k = 1000 exp(-|x - y|^2 / (2 10^2)) on unit CLIP features (Jayasumana et al. 2024, who take ViT-L/14 at 336
           pixels and keep the diagonal, i = j, so that their values are biased upwards)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from qsched.errors import InputError
from qsched.locations import Location
from qsched.scoring.frechet import PICTURE_SUFFIXES, FeatureExtractor

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]
_CMMD_WIDTH, _CMMD_SCALE = 10.0, 1000.0


def kid_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The cubic kernel of every row of x with every row of y: [A, D], [B, D] -> [A, B]."""
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def cmmd_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The Gaussian kernel of every row of x with every row of y: [A, D], [B, D] -> [A, B]."""
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None, :] - 2 * x @ y.T
    return np.asarray(_CMMD_SCALE * np.exp(-squares.clip(min=0) / (2 * _CMMD_WIDTH**2)))


KERNELS: dict[str, Kernel] = {"kid": kid_kernel, "cmmd": cmmd_kernel}


def kernel_distance(x: np.ndarray, y: np.ndarray, kernel: Kernel) -> float:
    """Unbiased squared MMD of features [A, D] and [B, D]; InputError for fewer than two pictures on a side."""
    if x.shape[1:] != y.shape[1:]:
        raise InputError(f"features of {x.shape[1]} and of {y.shape[1]} dimensions cannot be compared")
    for features in (x, y):
        if len(features) < 2:
            raise InputError(f"{len(features)} picture(s) have no kernel distance; it needs two at the very least")
    return _off_diagonal_mean(kernel(x, x)) + _off_diagonal_mean(kernel(y, y)) - 2 * float(kernel(x, y).mean())


def measure_features(files: Sequence[Location], extractor: FeatureExtractor) -> np.ndarray:
    """Features [B, D] of the pictures; InputError names a picture whose features are not finite."""
    features = extractor.extract(files)
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        bad = files[int(np.argmin(finite))]
        raise InputError(f"{bad}: its features ({extractor.name}) are not finite; look at picture and weights")
    return features


def reference_pictures(reference: Path) -> list[Path]:
    """The pictures of a folder; InputError for anything else, as statistics do not hold what a kernel needs."""
    if not reference.is_dir():
        raise InputError(f"{reference} is not a folder of pictures; a kernel distance needs the pictures themselves")
    return sorted(file for file in reference.rglob("*") if file.suffix.lower() in PICTURE_SUFFIXES)


def _off_diagonal_mean(gram: np.ndarray) -> float:
    n = len(gram)
    return float((gram.sum() - np.trace(gram)) / (n * (n - 1)))

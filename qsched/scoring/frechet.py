"""Fréchet distance between two sets of pictures: FID on Inception features, or on the features of a CLIP.

    d^2 = |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))

Only Inception's features make it an FID (`fid`, through pyiqa). On CLIP features it is called `clip-frechet`:
another number, on another scale. Either is biased upwards for small sets: give the number of pictures with it.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from qsched.errors import InputError
from qsched.locations import Location
from qsched.scoring.clip_model import ClipModel, load_clip
from qsched.scoring.extra_packages import import_extra

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_UNUSABLE = "the Fréchet distance of these statistics cannot be computed; make them again from the pictures"


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean [D] and covariance [D, D] of the features of `count` pictures, and which features they are."""

    features: str
    count: int
    mu: np.ndarray
    sigma: np.ndarray


class FeatureExtractor(Protocol):
    """Pictures to feature vectors [B, D]; `name` says which features, weights included."""

    name: str

    def extract(self, files: Sequence[Location]) -> np.ndarray: ...


class ClipFeatures:
    """The unit image features of an open_clip model."""

    def __init__(self, weights: str | Path, *, device: str = "cpu", batch_size: int = 32) -> None:
        self._clip: ClipModel = load_clip(weights, device=device)
        self._batch_size = batch_size
        self.name = f"clip {self._clip.weights.name} {self._clip.weights.identity}"

    def extract(self, files: Sequence[Location]) -> np.ndarray:
        """Features [B, D] in the order of the files."""
        rows = []
        for start in range(0, len(files), self._batch_size):
            images = [_open(file) for file in files[start : start + self._batch_size]]
            rows.append(self._clip.image_features(images).double().cpu().numpy())
        return np.concatenate(rows)


class InceptionFeatures:
    """The 2048 pool features of the FID Inception, resized the clean-fid way, through pyiqa."""

    name = "inception-2048 (pyiqa, clean-fid resizing)"

    def __init__(self, *, device: str = "cpu", batch_size: int = 32) -> None:
        fid_arch = import_extra("pyiqa.archs.fid_arch", "pyiqa")
        try:
            self._model = fid_arch.FID().model.to(device)
        except (OSError, RuntimeError) as error:
            raise InputError(f"the FID Inception weights are fetched on first use, and that failed: {error}") from error
        self._device = device
        self._batch_size = batch_size
        self._folder_features = fid_arch.get_folder_features

    def extract(self, files: Sequence[Location]) -> np.ndarray:
        """Features [B, 2048]; pyiqa reads a folder, so the files are linked or copied into one."""
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            for index, file in enumerate(files):
                link = Path(folder) / f"{index:08d}{file.suffix}"
                if isinstance(file, Path):
                    link.symlink_to(file.resolve())
                else:
                    link.write_bytes(file.read_bytes())
            features: np.ndarray = self._folder_features(
                folder, self._model, num_workers=0, batch_size=self._batch_size, device=self._device, verbose=False
            )
        return features.astype(np.float64)


def measure_statistics(files: Sequence[Location], extractor: FeatureExtractor) -> FeatureStatistics:
    """Mean and covariance of the features of at least two pictures."""
    if len(files) < 2:
        raise InputError(f"{len(files)} picture(s) have no covariance; a Fréchet distance needs two at the very least")
    features_BD = extractor.extract(files)
    if not np.isfinite(features_BD).all():
        first = files[int(np.argmin(np.isfinite(features_BD).all(axis=1)))]
        raise InputError(f"{first}: its features ({extractor.name}) are not finite; look at picture and weights")
    return FeatureStatistics(
        extractor.name, len(files), features_BD.mean(axis=0), np.atleast_2d(np.cov(features_BD, rowvar=False))
    )


def frechet_distance(one: FeatureStatistics, two: FeatureStatistics) -> float:
    """Squared Fréchet distance of the two Gaussians, as FID reports it; InputError if it is not a finite number."""
    if one.features != two.features:
        raise InputError(f"statistics of different features cannot be compared: {one.features!r}, {two.features!r}")
    if one.mu.shape != two.mu.shape:
        raise InputError(
            f"statistics of {one.mu.size} and of {two.mu.size} features cannot be compared; both must be made with "
            f"{one.features}"
        )
    # tr (S1 S2)^(1/2) from the eigenvalues of the symmetric S1^(1/2) S2 S1^(1/2), which has the same ones:
    # no complex square root, and nothing negative but rounding.
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            values, vectors = np.linalg.eigh(one.sigma)
            root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
            eigenvalues = np.linalg.eigvalsh(root @ two.sigma @ root).clip(min=0)
            shift = float(((one.mu - two.mu) ** 2).sum())
            distance = shift + float(np.trace(one.sigma) + np.trace(two.sigma) - 2 * np.sqrt(eigenvalues).sum())
    except np.linalg.LinAlgError as error:
        raise InputError(f"{_UNUSABLE}: {error}") from error
    # Asked before max(): max(0.0, nan) is 0.0, the perfect score.
    if not math.isfinite(distance):
        raise InputError(f"{_UNUSABLE}: it comes out as {distance}")
    return max(0.0, distance)


def read_statistics(path: Path, *, features: str) -> FeatureStatistics:
    """Read .npz statistics. A file of another tool (mu, sigma only) is taken to be of `features`, count 0 (unknown)."""
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array, a .npy under another name")
        with stored:
            mu, sigma = stored["mu"], stored["sigma"]
            stated = str(stored["features"]) if "features" in stored else features
            count = int(stored["count"]) if "count" in stored else 0
    except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} holds no feature statistics (an .npz with mu and sigma): {error or type(error).__name__}; make it "
            "again, or give the folder of pictures"
        ) from error
    if mu.ndim != 1 or sigma.shape != (mu.size, mu.size):
        raise InputError(f"{path}: mu {mu.shape} and sigma {sigma.shape} do not belong together")
    for name, array in (("mu", mu), ("sigma", sigma)):
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise InputError(f"{path}: {name} holds something that is not a finite number; make the statistics again")
    if not np.allclose(sigma, sigma.T) or (np.diag(sigma) < 0).any():
        raise InputError(
            f"{path}: sigma is not a covariance (symmetric, no negative variance); make the statistics again"
        )
    return FeatureStatistics(stated, count, mu.astype(np.float64), sigma.astype(np.float64))


def reference_statistics(reference: Path, extractor: FeatureExtractor) -> FeatureStatistics:
    """Statistics of a folder of pictures, or those stored in an .npz file."""
    if reference.suffix == ".npz":
        return read_statistics(reference, features=extractor.name)
    if not reference.is_dir():
        raise InputError(f"{reference} is neither a folder of pictures nor an .npz file of statistics")
    files = sorted(file for file in reference.rglob("*") if file.suffix.lower() in PICTURE_SUFFIXES)
    return measure_statistics(files, extractor)


def _open(file: Location) -> Image.Image:
    try:
        with file.open("rb") as opened, Image.open(opened) as image:
            return image.convert("RGB")
    except OSError as error:
        raise InputError(f"{file} cannot be read as a picture: {error}") from error

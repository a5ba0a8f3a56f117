"""Damaged pictures with a known severity, for teaching tiny-clip what "Good photo." means.

Every damage takes a float32 picture [128,128,3] in 0..255 and a severity in (0, 1], from hardly visible
to gross; severity 0 is the picture itself.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Array = NDArray[np.float32]
Damage = Callable[[Array, float, np.random.Generator], Array]


def _image(picture: Array) -> Image.Image:
    return Image.fromarray(np.clip(picture + 0.5, 0, 255).astype(np.uint8))


def _array(image: Image.Image) -> Array:
    return np.asarray(image, dtype=np.float32)


def _smooth_noise(rng: np.random.Generator, side: int) -> Array:
    """float32 [128,128]: N(0,1) on a coarse lattice, interpolated."""
    coarse = Image.fromarray(rng.normal(size=(side, side)).astype(np.float32))
    return _array(coarse.resize((128, 128), Image.Resampling.BICUBIC))


def noise(picture: Array, severity: float, rng: np.random.Generator) -> Array:
    """Independent noise on every channel of every pixel."""
    return picture + rng.normal(size=picture.shape).astype(np.float32) * (2 + 38 * severity)


def blur(picture: Array, severity: float, _rng: np.random.Generator) -> Array:
    """Gaussian blur."""
    return _array(_image(picture).filter(ImageFilter.GaussianBlur(0.4 + 3.6 * severity)))


def ragged(picture: Array, severity: float, rng: np.random.Generator) -> Array:
    """Edges torn by a rough displacement of the pixels."""
    side = int(rng.integers(14, 40))
    strength = 0.4 + 4.6 * severity
    y, x = np.mgrid[0:128, 0:128]
    dy, dx = _smooth_noise(rng, side) * strength, _smooth_noise(rng, side) * strength
    torn: Array = picture[np.clip(y + dy, 0, 127).astype(np.int32), np.clip(x + dx, 0, 127).astype(np.int32)]
    return torn


def banding(picture: Array, severity: float, _rng: np.random.Generator) -> Array:
    """Too few levels in every channel."""
    width = 10 + 80 * severity
    banded: Array = (np.floor(picture / width) + 0.5) * width
    return banded


def colour_drift(picture: Array, severity: float, rng: np.random.Generator) -> Array:
    """All colours pushed the same way, or contrast lost."""
    if rng.random() < 0.35:
        keep = 1 - 0.75 * severity
        pale: Array = picture.mean() + (picture - picture.mean()) * np.float32(keep)
        return pale
    push = rng.normal(size=3)
    return picture + (push / np.linalg.norm(push) * (8 + 85 * severity)).astype(np.float32)


def blotches(picture: Array, severity: float, rng: np.random.Generator) -> Array:
    """Soft coloured stains, as small errors in a latent make them."""
    side = int(rng.integers(6, 24))
    stains = np.stack([_smooth_noise(rng, side) for _ in range(3)], axis=-1)
    return picture + stains * (3 + 37 * severity)


def jpeg(picture: Array, severity: float, _rng: np.random.Generator) -> Array:
    """Strong JPEG compression."""
    file = io.BytesIO()
    _image(picture).save(file, format="JPEG", quality=max(1, int(45 * (1 - severity) ** 1.5)))
    return _array(Image.open(file).convert("RGB"))


def holes(picture: Array, severity: float, rng: np.random.Generator) -> Array:
    """Pieces of the picture replaced by a mixture with another place of it: bites out of objects, ghosts."""
    shifted = np.roll(picture, tuple(rng.integers(-24, 25, size=2)), axis=(0, 1))
    mask = np.clip((_smooth_noise(rng, int(rng.integers(8, 20))) - 2.0 + 2.6 * severity) * 3, 0, 1)[..., None]
    mixed: Array = picture * (1 - mask) + shifted * mask
    return mixed


DAMAGES: dict[str, Damage] = {
    "noise": noise,
    "blur": blur,
    "ragged": ragged,
    "banding": banding,
    "colour drift": colour_drift,
    "blotches": blotches,
    "jpeg": jpeg,
    "holes": holes,
}


def damage(picture: Array, severity: float, rng: np.random.Generator, *, kind: str | None = None) -> Array:
    """One damage, random unless named; float32 in 0..255, rounded to whole levels."""
    if not 0.0 <= severity <= 1.0:
        raise ValueError(f"severity {severity!r} is outside [0, 1]: 0 is the picture itself, 1 is gross")
    if severity == 0.0:
        return picture
    name = kind or tuple(DAMAGES)[int(rng.integers(len(DAMAGES)))]
    return np.clip(np.rint(DAMAGES[name](picture, severity, rng)), 0, 255).astype(np.float32)

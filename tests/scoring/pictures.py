"""Fixed pictures and prompts."""

from __future__ import annotations

import numpy as np
from PIL import Image

PROMPTS = [
    f"a picture of {thing}" for thing in ("waves", "a red ring", "stripes", "a dog", "noise", "grass", "a house")
]


def picture(seed: int, size: tuple[int, int] = (40, 40)) -> Image.Image:
    """A smooth picture with some noise, fixed by its seed."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[: size[1], : size[0]]
    waves = [127 + 90 * np.sin(xx / (5 + c + seed) + yy / (7 + 2 * c)) for c in range(3)]
    pixels = np.stack(waves, -1) + rng.normal(0, 12, (size[1], size[0], 3))
    return Image.fromarray(pixels.clip(0, 255).astype("uint8"))

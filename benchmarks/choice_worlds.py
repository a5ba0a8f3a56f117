"""Planted surfaces for the choice of a candidate: a known gain over two coefficients, under noise of three kinds.

The table has a node every 0.0125 of 0.8 to 1.2, which holds every point that a race visits but its smooth optimum. The
best node gains 1 over (1, 1). The noise is that of a gain on one prompt, and its level a multiple of that best gain: on
tiny-sdxl W3A8 it is 1.7, on tiny-flux W4A4 about 8.

    each picture    independent for every candidate and prompt
    breaks          the same with heavy tails (Student's t with 2 degrees of freedom)
    each prompt     mostly a smooth surface of the prompt's own: neighbours err together
"""

from __future__ import annotations

import numpy as np

SIDE = np.round(np.linspace(0.8, 1.2, 33), 6)
SHAPES = ("hill", "valley", "slope")
NOISES = ("each picture", "breaks", "each prompt")
STOCK = 16  # the node of 1


def planted_gain(shape: str, rng: np.random.Generator) -> np.ndarray:
    """Gain over (1, 1) [model, sample]: 0 at stock, 1 at the best node."""
    x, y = np.meshgrid(SIDE - 1, SIDE - 1, indexing="ij")
    top = rng.uniform(0.05, 0.17, 2) * rng.choice((-1.0, 1.0), 2)
    u, v = x - top[0], y - top[1]
    if shape == "hill":
        height = -(u**2 + v**2)
    elif shape == "valley":
        turn = rng.uniform(0, np.pi)
        along, across = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
        height = -(along**2 + 50 * across**2)
    else:
        height = np.tanh(5 * (x * top[0] + y * top[1]) / np.hypot(*top))
    gain = height - height[STOCK, STOCK]
    return np.asarray(gain / gain.max())


def planted_values(gain: np.ndarray, noise: str, level: float, n_prompts: int, rng: np.random.Generator) -> np.ndarray:
    """Scores [model, sample, prompts]."""
    shape = (*gain.shape, n_prompts)
    single = level / np.sqrt(2)  # a gain is the difference of two pictures
    if noise == "each picture":
        error = single * rng.normal(size=shape)
    elif noise == "breaks":
        error = single / 2 * rng.standard_t(2, size=shape)
    else:
        x, y = np.meshgrid((SIDE - 1) / 0.2, (SIDE - 1) / 0.2, indexing="ij")
        forms = np.stack([x, y, x * y, x**2, y**2])
        own = np.tensordot(np.moveaxis(forms, 0, -1), rng.normal(size=(5, n_prompts)), axes=1)
        error = level * own / own.std() + single / 3 * rng.normal(size=shape)
    return np.asarray(gain[..., None] + error + 3 * rng.normal(size=n_prompts))

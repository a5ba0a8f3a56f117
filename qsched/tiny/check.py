"""Does a picture show what its prompt says? The ground truth of the domain, by measurement, no network.

Each object is looked for where the caption puts it: the pixels that differ from the fitted background
are the object's, their hue names the colour, their outline is compared with every shape's, their tones
with every texture's. `parts` holds one verdict (bool) for each word of the prompt, and one quality
(float in [0, 1]) for each visible fault; `passed` is the conjunction of the verdicts, `score` a weighted
geometric mean of the qualities, so it falls with noise, blur, ragged edges and drifting colours even
while every word is still true.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qsched.tiny.caption import parse
from qsched.tiny.render import (
    BACKGROUND_RGB,
    CHECK_PERIOD_PX,
    COLOUR_RGB,
    DOT_PITCH_PX,
    RADIUS_PX,
    SIDE,
    pixel_grid,
    shape_distance,
    texture_pattern,
    thing_centre,
    thing_radius,
)
from qsched.tiny.scene import BACKGROUNDS, COLOURS, SHAPES, Scene, Thing

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

POSITION_TOLERANCE_PX = 11.0
SHAPE_FLOOR = 0.72
"""Least overlap (intersection over union) with the best template of the right shape."""
TURNS_DEG = (-10.0, -5.0, 0.0, 5.0, 10.0)
PLAIN_DEPTH = 0.10
"""Relative depth of tone below which an object counts as plain."""


@dataclass(frozen=True)
class CheckResult:
    """Whether the picture shows its prompt, how well in [0, 1], and why."""

    passed: bool
    score: float
    parts: dict[str, bool | float]


@dataclass(frozen=True)
class _Ground:
    """The background without objects: float32 [128,128,3], its nearest word, its roughness in levels."""

    picture: Array
    word: str
    roughness: float
    drift: float


@lru_cache(maxsize=1)
def _surface() -> tuple[Array, Mask]:
    """The terms of a quadratic surface [128*128, 6], and which pixels lie at the border."""
    grid_x, grid_y = pixel_grid()
    u, v = ((grid_x - 64) / 64).ravel(), ((grid_y - 64) / 64).ravel()
    border = (np.abs(u) > 0.92) | (np.abs(v) > 0.92)
    return np.stack([np.ones_like(u), u, v, u * u, v * v, u * v], axis=1), border


def _largest(pixels_N3: Array) -> Array:
    """The largest of three channels; NumPy's own `max` over so short an axis takes ten times as long."""
    largest: Array = np.maximum(np.maximum(pixels_N3[..., 0], pixels_N3[..., 1]), pixels_N3[..., 2])
    return largest


def _fit_ground(pixels: Array, background: str) -> _Ground:
    """A quadratic surface per channel through the pixels that look like background, refitted twice."""
    basis, border = _surface()
    flat = pixels.reshape(-1, 3)
    expected = np.asarray(BACKGROUND_RGB[background], dtype=np.float32)
    start = np.median(flat[border], axis=0)
    near = _largest(np.abs(flat - start)) < 40
    fitted = np.broadcast_to(start, flat.shape)
    for limit in (14.0, 9.0):
        if near.sum() < 500:
            break
        thinned = np.flatnonzero(near)[::7]
        weights, *_ = np.linalg.lstsq(basis[thinned], flat[thinned], rcond=None)
        fitted = basis @ weights
        near = _largest(np.abs(flat - fitted)) < limit
    fitted = fitted.astype(np.float32).reshape(pixels.shape)
    centre = fitted.reshape(-1, 3).mean(axis=0)
    distances = {name: float(np.abs(centre - np.asarray(rgb)).mean()) for name, rgb in BACKGROUND_RGB.items()}
    word = min(BACKGROUNDS, key=lambda name: distances[name])
    ground = near.reshape(SIDE, SIDE)
    rough = np.abs(pixels - fitted)[ground]
    roughness = float(rough.mean()) if rough.size else 255.0
    return _Ground(fitted, word, roughness, float(np.abs(centre - expected).mean()))


def _difference(pixels: Array, ground: Array) -> Array:
    """[128,128]: distance of each pixel's chroma from the background's at the pixel's own brightness.

    A shadow scales all channels of the background alike, so it does not count as an object.
    """
    brightness = pixels.sum(axis=2) / np.maximum(ground.sum(axis=2), 1.0)
    scaled = ground * np.clip(brightness, 0.0, 1.0)[..., None]
    difference = pixels - scaled
    difference -= difference.mean(axis=2, keepdims=True)
    length: Array = np.sqrt((difference * difference).sum(axis=2))
    return length


def _hue_and_chroma(pixels_N3: Array) -> tuple[float, float]:
    """Mean hue in degrees (weighted by chroma) and mean chroma in levels of some pixels."""
    r, g, b = pixels_N3[:, 0], pixels_N3[:, 1], pixels_N3[:, 2]
    x, y = r - 0.5 * (g + b), np.sqrt(0.75) * (g - b)
    return float(np.rad2deg(np.arctan2(y.sum(), x.sum())) % 360), float(np.hypot(x, y).mean())


@lru_cache(maxsize=1)
def _hue_targets() -> dict[str, float]:
    """Each colour word's hue in the plane of `_hue_and_chroma`, which is not exactly that of HSV."""
    return {name: _hue_and_chroma(np.asarray([rgb], dtype=np.float32))[0] for name, rgb in COLOUR_RGB.items()}


def _turn_between(a: float, b: float) -> float:
    return abs((a - b + 180) % 360 - 180)


_TEMPLATE_SIDE = 48
_TEMPLATE_HALF = 1.45


@dataclass(frozen=True)
class _Templates:
    """Masks [n, 48*48] of every shape and turn, with the shape's index, area and centroid (radius 1)."""

    masks: Array
    shape_index: NDArray[np.int64]
    area: Array
    centroid: Array


@lru_cache(maxsize=1)
def _templates() -> _Templates:
    axis = (np.arange(_TEMPLATE_SIDE, dtype=np.float32) + 0.5) / _TEMPLATE_SIDE * 2 * _TEMPLATE_HALF - _TEMPLATE_HALF
    x, y = (grid.astype(np.float32) for grid in np.meshgrid(axis, axis))
    masks, owners, areas, centroids = [], [], [], []
    for owner, shape in enumerate(SHAPES):
        for degrees in TURNS_DEG:
            turn = np.deg2rad(degrees)
            cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
            inside = shape_distance(shape, cos * x + sin * y, cos * y - sin * x) < 0
            masks.append(inside.ravel())
            owners.append(owner)
            areas.append(inside.mean() * (2 * _TEMPLATE_HALF) ** 2)
            centroids.append((x[inside].mean(), y[inside].mean()))
    return _Templates(
        np.asarray(masks, dtype=np.float32),
        np.asarray(owners),
        np.asarray(areas, dtype=np.float32),
        np.asarray(centroids, dtype=np.float32),
    )


def _shape_overlaps(mask: Mask, centroid: tuple[float, float], area: float) -> tuple[Array, NDArray[np.int64], Array]:
    """Overlap (intersection over union) with each template laid on by centroid and area; owner; radius."""
    t = _templates()
    radius = np.sqrt(area / t.area)
    axis = (np.arange(_TEMPLATE_SIDE, dtype=np.float32) + 0.5) / _TEMPLATE_SIDE * 2 * _TEMPLATE_HALF - _TEMPLATE_HALF
    gx, gy = (grid.ravel() for grid in np.meshgrid(axis, axis))
    px = centroid[0] + (gx[None] - t.centroid[:, :1]) * radius[:, None]
    py = centroid[1] + (gy[None] - t.centroid[:, 1:]) * radius[:, None]
    ix, iy = np.floor(px).astype(np.int32), np.floor(py).astype(np.int32)
    valid = (ix >= 0) & (ix < SIDE) & (iy >= 0) & (iy < SIDE)
    seen = mask[np.clip(iy, 0, SIDE - 1), np.clip(ix, 0, SIDE - 1)] & valid
    both = np.einsum("ij,ij->i", seen, t.masks)
    # pixels of the object outside a template's window count against it too
    union = area / radius**2 * (_TEMPLATE_SIDE / (2 * _TEMPLATE_HALF)) ** 2 + t.masks.sum(axis=1) - both
    return both / np.maximum(union, 1.0), t.shape_index, radius


@lru_cache(maxsize=1)
def _texture_waves() -> dict[str, Array]:
    """For each texture, patterns [n_phases, 160, 160] on a pixel lattice, to be laid on at any centre."""
    axis = np.arange(160, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    waves = {"striped": [texture_pattern("striped", x, y, phase) for phase in np.arange(0, 1, 1 / 12)]}
    pitch = np.arange(0, DOT_PITCH_PX, 1.25)
    waves["dotted"] = [texture_pattern("dotted", x + a, y + b, 0.0) for a in pitch for b in pitch]
    half = np.arange(0, CHECK_PERIOD_PX, 1.75)
    waves["checkered"] = [texture_pattern("checkered", x + a, y + b, 0.0) for a in half for b in half]
    return {name: np.asarray(patterns, dtype=np.float32) for name, patterns in waves.items()}


@dataclass(frozen=True)
class _Tones:
    """The texture that explains an object's tones best, how deep, how well, and what it leaves over."""

    word: str
    explained: float
    grain: float


def _measure_tones(pixels: Array, mask: Mask) -> _Tones:
    """Compare the object's brightness, less its shading, with each texture in each phase."""
    grid_x, grid_y = pixel_grid()
    value = _largest(pixels[mask])
    x, y = grid_x[mask], grid_y[mask]
    basis = np.stack([np.ones_like(x), (x - x.mean()) / 32, (y - y.mean()) / 32], axis=1)
    level = float(value.mean())

    def residual_of(columns: Array) -> tuple[Array, Array]:
        weights, *_ = np.linalg.lstsq(columns, value, rcond=None)
        return weights, value - columns @ weights

    _, smooth = residual_of(basis)
    spread = float(np.sqrt((smooth * smooth).mean())) / max(level, 1.0)
    solver = np.linalg.pinv(basis)
    iy, ix = np.nonzero(mask)
    best_word, best_gain, best_pattern = "plain", 0.0, None
    for word, patterns in _texture_waves().items():
        p = patterns[:, iy, ix]
        p = p - (p @ solver.T) @ basis.T
        norm = np.sqrt((p * p).sum(axis=1)) + 1e-6
        gains = -(p @ smooth) / norm
        index = int(gains.argmax())
        if gains[index] > best_gain:
            best_word, best_gain, best_pattern = word, float(gains[index]), patterns[index][iy, ix]
    total = float((smooth * smooth).sum()) + 1e-6
    explained = best_gain**2 / total
    # few dots fit on a thin ring: a shallow pattern counts when it explains most of what there is
    textured = spread >= PLAIN_DEPTH or (spread >= PLAIN_DEPTH * 0.45 and explained >= 0.45)
    left = smooth
    if best_pattern is not None and textured:
        _, left = residual_of(np.column_stack([basis, best_pattern]))
    grain = float(np.abs(left).mean()) / max(level, 1.0)
    return _Tones(best_word if textured else "plain", float(explained), grain)


def _erode(mask: Mask, rounds: int) -> Mask:
    for _ in range(rounds):
        inner = mask.copy()
        inner[1:] &= mask[:-1]
        inner[:-1] &= mask[1:]
        inner[:, 1:] &= mask[:, :-1]
        inner[:, :-1] &= mask[:, 1:]
        mask = inner
    return mask


def _slot(scene: Scene, index: int) -> Mask:
    """Where object `index` may be: everywhere for one object, its half of the picture for two."""
    grid_x, grid_y = pixel_grid()
    if scene.second is None:
        return np.ones((SIDE, SIDE), dtype=bool)
    x, y = thing_centre(scene, index)
    if x != 64:
        return (grid_x < 64) if x < 64 else (grid_x > 64)
    return (grid_y < 64) if y < 64 else (grid_y > 64)


def _fall(value: float, good: float, bad: float) -> float:
    """1 up to `good`, then an exponential fall that reaches 1/e at `bad`."""
    return float(np.exp(-max(0.0, value - good) / (bad - good)))


def _check_thing(
    pixels: Array, scene: Scene, index: int, difference: Array
) -> tuple[dict[str, bool], dict[str, float]]:
    thing: Thing = scene.things[index]
    radius, (x0, y0) = thing_radius(scene, index), thing_centre(scene, index)
    background = np.asarray(BACKGROUND_RGB[scene.background], dtype=np.float32)
    tone = np.asarray(COLOUR_RGB[thing.colour], dtype=np.float32) * (1.0 if thing.texture == "plain" else 0.6)
    expected = float(_difference(tone[None, None], background[None, None])[0, 0])
    mask = (difference > max(16.0, 0.42 * expected)) & _slot(scene, index)
    area = float(mask.sum())
    nothing = {"present": False, "colour": False, "shape": False, "size": False, "place": False, "texture": False}
    if area < 60:
        return nothing, {"outline": 0.0, "hue": 0.0, "tone": 0.0, "edge": 0.0}
    grid_x, grid_y = pixel_grid()
    cx, cy = float(grid_x[mask].mean()), float(grid_y[mask].mean())
    overlaps, owners, radii = _shape_overlaps(mask, (cx, cy), area)
    best = int(overlaps.argmax())
    own = np.flatnonzero(owners == SHAPES.index(thing.shape))
    mine = int(own[overlaps[own].argmax()])
    inner = _erode(mask, 2)
    if inner.sum() < 40:
        inner = _erode(mask, 1) if _erode(mask, 1).sum() >= 40 else mask
    hue, chroma = _hue_and_chroma(pixels[inner])
    targets = _hue_targets()
    colour = min(COLOURS, key=lambda name: _turn_between(hue, targets[name]))
    tones = _measure_tones(pixels, inner)
    size = "small" if radii[mine] < np.sqrt(RADIUS_PX["small"] * RADIUS_PX["large"]) else "large"
    anchor = _templates().centroid[mine] * radii[mine]
    away = float(np.hypot(cx - anchor[0] - x0, cy - anchor[1] - y0))
    edge = (difference > 0.25 * expected) & (difference < 0.75 * expected) & _slot(scene, index)
    edge &= np.hypot(grid_x - cx, grid_y - cy) < 1.7 * radius
    rim = mask ^ _erode(mask, 1)
    width = float(edge.sum()) / max(1.0, float(rim.sum()))
    verdicts = {
        "present": True,
        "colour": colour == thing.colour and chroma > 0.45 * expected,
        "shape": bool(owners[best] == owners[mine] and overlaps[mine] >= SHAPE_FLOOR),
        "size": size == thing.size,
        "place": away <= POSITION_TOLERANCE_PX,
        "texture": tones.word == thing.texture,
    }
    textured = thing.texture != "plain"
    qualities = {
        "outline": float(np.clip((overlaps[mine] - 0.5) / 0.42, 0, 1)),
        "hue": _fall(_turn_between(hue, targets[thing.colour]), 7.0, 22.0),
        "tone": float(np.clip(tones.explained / 0.8, 0, 1)) if textured else _fall(tones.grain, 0.025, 0.12),
        "edge": _fall(width, 1.1, 3.0),
    }
    return verdicts, qualities


WEIGHTS = {"outline": 3.0, "hue": 1.5, "tone": 1.5, "edge": 1.0, "ground_flat": 1.5, "ground_colour": 1.0, "clean": 1.0}


def check(image: Image.Image, prompt: str) -> CheckResult:
    """Measure a 128x128 RGB picture against a prompt of the grammar.

    Raises `PromptError` for a prompt outside the grammar and `ValueError` for another picture size.
    """
    scene = parse(prompt)
    if image.size != (SIDE, SIDE):
        raise ValueError(f"picture of {image.size[0]}x{image.size[1]}: the check needs {SIDE}x{SIDE}; resize it first")
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    ground = _fit_ground(pixels, scene.background)
    difference = _difference(pixels, ground.picture)
    parts: dict[str, bool | float] = {"background": ground.word == scene.background}
    pooled: dict[str, list[float]] = {}
    for index in range(len(scene.things)):
        verdicts, qualities = _check_thing(pixels, scene, index, difference)
        prefix = "" if scene.second is None else ("first_", "second_")[index]
        parts.update({prefix + name: verdict for name, verdict in verdicts.items()})
        parts.update({prefix + name: round(value, 4) for name, value in qualities.items()})
        for name, value in qualities.items():
            pooled.setdefault(name, []).append(value)
    quality = {name: float(np.mean(values)) for name, values in pooled.items()}
    quality["ground_flat"] = _fall(ground.roughness, 1.2, 7.0)
    quality["ground_colour"] = _fall(ground.drift, 10.0, 30.0)
    verdict_values = [value for value in parts.values() if isinstance(value, bool)]
    parts["ground_flat"], parts["ground_colour"] = round(quality["ground_flat"], 4), round(quality["ground_colour"], 4)
    passed = all(verdict_values)
    total = sum(WEIGHTS[name] for name in quality)
    mean = float(np.exp(sum(WEIGHTS[name] * np.log(max(value, 1e-3)) for name, value in quality.items()) / total))
    right = sum(verdict_values) / len(verdict_values)
    return CheckResult(passed=passed, score=round(mean * right, 5), parts=parts)

"""Scenes to pixels: antialiased shapes with texture, light, a soft shadow and a shaded background.

Shapes are signed distance fields (negative inside, in units of the shape's radius), so antialiasing,
the dark rim and the soft shadow are functions of one distance. `Nuisance` is everything a prompt leaves
open, as numbers in (0, 1); training couples them to the noise (`tools.train_tiny.coupling`).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qsched.tiny.scene import POSITIONS, SHAPES, Scene, Thing

Array = NDArray[np.float32]

SIDE = 128
"""Pixels along each side of a picture."""

COLOUR_RGB = {
    "red": (222, 38, 42),
    "orange": (246, 134, 28),
    "yellow": (250, 222, 48),
    "green": (44, 168, 72),
    "cyan": (38, 196, 208),
    "blue": (40, 92, 226),
    "purple": (134, 58, 196),
    "pink": (246, 112, 182),
}
BACKGROUND_RGB = {
    "white": (236, 236, 234),
    "gray": (150, 150, 152),
    "black": (40, 40, 42),
    "sand": (220, 202, 166),
    "mint": (184, 218, 200),
    "navy": (34, 42, 82),
}
GRID_PX = 32.0
"""Distance between positions: four latents, two tokens, so a shape looks alike to the models everywhere."""
RADIUS_PX = {"small": 15.0, "large": 24.5}
JITTER_PX = 1.5
SCALE_SPREAD = 0.06
TURN_SPREAD_DEG = 8.0
HUE_SPREAD_DEG = 8.0
PHASE_SPREAD = 0.2
DARK_TONE = 0.56
"""A texture's second tone is the colour times this: the hue stays, so the colour word stays true."""
STRIPE_PERIOD_PX = 11.0
DOT_PITCH_PX = 10.0
DOT_RADIUS_PX = 2.9
CHECK_PERIOD_PX = 14.0


@dataclass(frozen=True)
class Nuisance:
    """What the prompt does not say, each a number in (0, 1); 0.5 is the middle of its range."""

    dx_first: float = 0.5
    dy_first: float = 0.5
    dx_second: float = 0.5
    dy_second: float = 0.5
    scale_first: float = 0.5
    scale_second: float = 0.5
    turn_first: float = 0.5
    turn_second: float = 0.5
    hue_first: float = 0.5
    hue_second: float = 0.5
    phase_first: float = 0.5
    phase_second: float = 0.5
    light: float = 0.5
    ground_tilt: float = 0.5
    ground_value: float = 0.5
    ground_hue: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"nuisance {field.name}={value!r} is outside [0, 1]: draw it uniformly there")


NUISANCE_DIM = len(fields(Nuisance))


def sample_nuisance(rng: np.random.Generator) -> Nuisance:
    """Every nuisance uniform in (0, 1)."""
    return Nuisance(*(float(u) for u in rng.random(NUISANCE_DIM)))


def nuisance_vector(nuisance: Nuisance) -> Array:
    """float32 [NUISANCE_DIM], in the order of the dataclass's fields."""
    return np.asarray(astuple(nuisance), dtype=np.float32)


# --- signed distance fields -----------------------------------------------------------------------

_TABLE_HALF = 1.6
_TABLE_SIDE = 257


def _polygon_sdf(points: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exact distance to a closed polygon [P,2], negative inside (even-odd rule)."""
    distance = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
        ex, ey = bx - ax, by - ay
        t = np.clip(((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey), 0.0, 1.0)
        distance = np.minimum(distance, np.hypot(x - ax - t * ex, y - ay - t * ey))
        if ay != by:
            crosses = (y >= min(ay, by)) & (y < max(ay, by)) & (x < ax + (y - ay) / (by - ay) * ex)
            inside ^= crosses
    return np.where(inside, -distance, distance)


def _regular(count: int, start: float, radii: tuple[float, ...]) -> NDArray[np.float64]:
    angle = start + 2 * np.pi * np.arange(count) / count
    radius = np.resize(np.asarray(radii), count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _heart_points() -> NDArray[np.float64]:
    t = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y + 2.5], axis=1) / 15.8


@lru_cache(maxsize=len(SHAPES))
def _sdf_table(shape: str) -> Array:
    """float32 [257,257]: the distance of `shape` with radius 1 on [-1.6, 1.6]^2, y down."""
    axis = np.linspace(-_TABLE_HALF, _TABLE_HALF, _TABLE_SIDE)
    x, y = np.meshgrid(axis, axis)
    if shape == "circle":
        table = np.hypot(x, y) - 0.95
    elif shape == "ring":
        table = np.abs(np.hypot(x, y) - 0.78) - 0.24
    elif shape == "square":
        table = _polygon_sdf(_regular(4, np.pi / 4, (1.17,)), x, y)
    elif shape == "diamond":
        table = _polygon_sdf(_regular(4, 0.0, (0.86, 1.18)), x, y)
    elif shape == "triangle":
        table = _polygon_sdf(_regular(3, -np.pi / 2, (1.2,)) + np.array([0.0, 0.2]), x, y)
    elif shape == "star":
        table = _polygon_sdf(_regular(10, -np.pi / 2, (1.2, 0.53)) + np.array([0.0, 0.06]), x, y)
    elif shape == "cross":
        a, b = 1.0, 0.34
        points = [(-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b), (b, a), (-b, a), (-b, b), (-a, b)]
        table = _polygon_sdf(np.asarray([*points, (-a, -b), (-b, -b)]), x, y)
    elif shape == "heart":
        table = _polygon_sdf(_heart_points(), x, y)
    else:
        raise ValueError(f"shape {shape!r} has no outline: choose one of {', '.join(SHAPES)}")
    distance: Array = table.astype(np.float32)
    return distance


def shape_distance(shape: str, x: Array, y: Array) -> Array:
    """Signed distance of a radius-1 `shape` at points (x, y), bilinear in the table, any array shape."""
    table = _sdf_table(shape)
    scale = (_TABLE_SIDE - 1) / (2 * _TABLE_HALF)
    fx = np.clip((x + _TABLE_HALF) * scale, 0, _TABLE_SIDE - 1.001)
    fy = np.clip((y + _TABLE_HALF) * scale, 0, _TABLE_SIDE - 1.001)
    ix, iy = fx.astype(np.int32), fy.astype(np.int32)
    tx, ty = fx - ix, fy - iy
    flat, base = table.ravel(), iy * _TABLE_SIDE + ix
    top = flat[base] * (1 - tx) + flat[base + 1] * tx
    bottom = flat[base + _TABLE_SIDE] * (1 - tx) + flat[base + _TABLE_SIDE + 1] * tx
    outside = np.hypot(np.maximum(np.abs(x) - _TABLE_HALF, 0.0), np.maximum(np.abs(y) - _TABLE_HALF, 0.0))
    distance: Array = (top * (1 - ty) + bottom * ty + outside).astype(np.float32)
    return distance


# --- textures -------------------------------------------------------------------------------------


def _clipped(values: NDArray[np.floating], top: float) -> Array:
    clipped: Array = np.clip(values, 0, top).astype(np.float32)
    return clipped


def texture_pattern(texture: str, x: Array, y: Array, phase: float) -> Array:
    """The share of the dark tone in [0, 1] at pixel offsets (x, y) from the object's centre."""
    if texture == "plain":
        return np.zeros_like(x)
    if texture == "striped":
        wave = np.cos(2 * np.pi * ((x + y) / (np.sqrt(2.0) * STRIPE_PERIOD_PX) + phase))
        return _clipped(0.5 + 1.9 * wave, 1)
    if texture == "dotted":
        shift = phase * DOT_PITCH_PX
        px = np.mod(x + shift, DOT_PITCH_PX) - DOT_PITCH_PX / 2
        py = np.mod(y + shift, DOT_PITCH_PX) - DOT_PITCH_PX / 2
        return _clipped(DOT_RADIUS_PX - np.hypot(px, py) + 0.5, 1)
    if texture == "checkered":
        k = 2 * np.pi / CHECK_PERIOD_PX
        shift = phase * CHECK_PERIOD_PX
        return _clipped(0.5 + 2.6 * np.sin(k * (x + shift)) * np.sin(k * y), 1)
    raise ValueError(f"texture {texture!r} has no pattern: choose plain, striped, dotted or checkered")


# --- composition ----------------------------------------------------------------------------------


def thing_centre(scene: Scene, index: int) -> tuple[float, float]:
    """The centre (x, y) in pixels that the caption gives to object `index`, before jitter."""
    if scene.second is None:
        row, column = divmod(POSITIONS.index(str(scene.position)), 3)
        return 64.0 + GRID_PX * (column - 1), 64.0 + GRID_PX * (row - 1)
    axis = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}[str(scene.relation)]
    sign = GRID_PX if index == 0 else -GRID_PX
    return 64.0 + sign * axis[0], 64.0 + sign * axis[1]


def thing_radius(scene: Scene, index: int) -> float:
    """The radius in pixels that the caption gives to object `index`, before jitter."""
    return RADIUS_PX[scene.things[index].size]


@lru_cache(maxsize=1)
def pixel_grid() -> tuple[Array, Array]:
    """Two float32 [128,128]: x and y of the pixel centres."""
    axis = np.arange(SIDE, dtype=np.float32) + 0.5
    x, y = np.meshgrid(axis, axis)
    return x, y


def _rotate_hue(rgb: Array, degrees: float) -> Array:
    """Turn a colour around the gray axis: hue moves, mean brightness stays."""
    angle = np.deg2rad(degrees)
    axis = np.full(3, 1 / np.sqrt(3.0))
    turned = rgb * np.cos(angle) + np.cross(axis, rgb) * np.sin(angle) + axis * (axis @ rgb) * (1 - np.cos(angle))
    return _clipped(turned, 255)


def _paint_thing(
    canvas: Array,
    thing: Thing,
    centre: tuple[float, float],
    radius: float,
    *,
    turn: float,
    hue: float,
    phase: float,
    light: tuple[float, float],
) -> None:
    """Draw shadow and object into `canvas` (float32 [128,128,3], 0..255), in place."""
    reach = radius * 1.9 + 4
    x0, x1 = max(0, int(centre[0] - reach)), min(SIDE, int(centre[0] + reach) + 1)
    y0, y1 = max(0, int(centre[1] - reach)), min(SIDE, int(centre[1] + reach) + 1)
    grid_x, grid_y = pixel_grid()
    x, y = grid_x[y0:y1, x0:x1] - centre[0], grid_y[y0:y1, x0:x1] - centre[1]
    cos, sin = np.cos(turn) / radius, np.sin(turn) / radius
    window = canvas[y0:y1, x0:x1]

    ox, oy = -0.2 * radius * light[0], -0.2 * radius * light[1]
    shadow = shape_distance(thing.shape, cos * (x - ox) + sin * (y - oy), cos * (y - oy) - sin * (x - ox))
    softness = np.clip(0.5 - shadow / 0.5, 0, 1)
    window *= 1 - 0.42 * (softness * softness * (3 - 2 * softness))[..., None]

    distance = shape_distance(thing.shape, cos * x + sin * y, cos * y - sin * x) * radius
    cover = np.clip(0.5 - distance, 0, 1)
    tone = 1 - (1 - DARK_TONE) * texture_pattern(thing.texture, x, y, phase)
    shade = 1 + 0.17 * (x * light[0] + y * light[1]) / radius
    rim = 1 - 0.28 * np.exp(np.minimum(distance, 0) / 1.6)
    base = _rotate_hue(np.asarray(COLOUR_RGB[thing.colour], dtype=np.float32), hue)
    paint = np.clip(base * (tone * shade * rim)[..., None], 0, 255)
    window += cover[..., None] * (paint - window)


def render_array(scene: Scene, nuisance: Nuisance) -> NDArray[np.uint8]:
    """The picture as uint8 [128,128,3]; the same arguments always give the same bytes."""
    n = nuisance
    grid_x, grid_y = pixel_grid()
    u, v = (grid_x - 64) / 64, (grid_y - 64) / 64
    angle = np.deg2rad(-90 + 120 * (n.light - 0.5))
    light = (float(np.cos(angle)), float(np.sin(angle)))

    tilt = 1.6 * (n.ground_tilt - 0.5)
    ground = 1 + 0.08 * (light[0] * u + light[1] * v) + 0.05 * tilt * u - 0.07 * (u * u + v * v) / 2
    ground = ground * (1 + 0.08 * (n.ground_value - 0.5))
    colour = _rotate_hue(np.asarray(BACKGROUND_RGB[scene.background], dtype=np.float32), 12 * (n.ground_hue - 0.5))
    canvas = np.clip(ground[..., None] * colour, 0, 255).astype(np.float32)

    jitters = (
        (n.dx_first, n.dy_first, n.scale_first, n.turn_first, n.hue_first, n.phase_first),
        (n.dx_second, n.dy_second, n.scale_second, n.turn_second, n.hue_second, n.phase_second),
    )
    for index, (thing, (dx, dy, scale, turn, hue, phase)) in enumerate(zip(scene.things, jitters, strict=False)):
        x, y = thing_centre(scene, index)
        _paint_thing(
            canvas,
            thing,
            (x + 2 * JITTER_PX * (dx - 0.5), y + 2 * JITTER_PX * (dy - 0.5)),
            thing_radius(scene, index) * (1 + SCALE_SPREAD * (scale - 0.5)),
            turn=float(np.deg2rad(TURN_SPREAD_DEG * (turn - 0.5))),
            hue=HUE_SPREAD_DEG * (hue - 0.5),
            phase=PHASE_SPREAD * (phase - 0.5),
            light=light,
        )
    levels: NDArray[np.uint8] = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return levels


def render(scene: Scene, nuisance: Nuisance) -> Image.Image:
    """The picture of a scene as a 128x128 RGB image."""
    return Image.fromarray(render_array(scene, nuisance), mode="RGB")

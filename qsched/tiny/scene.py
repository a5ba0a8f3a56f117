"""What a picture of the procedural domain shows: words only, no pixels.

A `Scene` is exactly what a prompt says: one object at one of nine positions, or two objects and a
relation, on a named background. Everything that a prompt does not say (jitter, light, exact hue) is
nuisance and lives in `qsched.tiny.render`.

The held-out split tests composition: a scene is held out when an object combines a shape with the one
colour that this shape never has in training, or when two objects form a pairing of shapes that training
never shows. Every shape, colour, texture, position and relation by itself is trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from qsched.errors import InputError

Split = Literal["train", "held_out"]

SHAPES = ("circle", "square", "triangle", "ring", "star", "cross", "heart", "diamond")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SIZES = ("small", "large")
TEXTURES = ("plain", "striped", "dotted", "checkered")
BACKGROUNDS = ("white", "gray", "black", "sand", "mint", "navy")
POSITIONS = (
    "in the top left",
    "at the top",
    "in the top right",
    "on the left",
    "in the center",
    "on the right",
    "in the bottom left",
    "at the bottom",
    "in the bottom right",
)
RELATIONS = ("left of", "right of", "above", "below")
CATEGORIES = ("single", "texture", "relation", "relation-texture")

RELATION_SHARE = 0.5
TEXTURED_SHARE_SINGLE = 0.5
TEXTURED_SHARE_RELATION = 0.3


class SceneError(InputError, ValueError):
    """A scene that the domain does not contain; the message names the value, the rule and the choices."""


def _require(value: str | None, choices: tuple[str, ...], name: str) -> None:
    if value not in choices:
        raise SceneError(f"{name} {value!r} is not in the domain: choose one of {', '.join(choices)}")


@dataclass(frozen=True)
class Thing:
    """One object: size, colour, texture and shape, each one of the module's words."""

    size: str
    colour: str
    texture: str
    shape: str

    def __post_init__(self) -> None:
        _require(self.size, SIZES, "size")
        _require(self.colour, COLOURS, "colour")
        _require(self.texture, TEXTURES, "texture")
        _require(self.shape, SHAPES, "shape")


@dataclass(frozen=True)
class Scene:
    """One object at a `position`, or two objects where `first` is in `relation` to `second`."""

    first: Thing
    background: str
    position: str | None = None
    relation: str | None = None
    second: Thing | None = None

    def __post_init__(self) -> None:
        _require(self.background, BACKGROUNDS, "background")
        if self.second is None:
            _require(self.position, POSITIONS, "position")
            if self.relation is not None:
                raise SceneError(f"relation {self.relation!r} needs a second object: give second=Thing(...)")
        else:
            _require(self.relation, RELATIONS, "relation")
            if self.position is not None:
                raise SceneError(f"position {self.position!r} is for one object: drop it or drop the second")
            if self.second.colour == self.first.colour:
                raise SceneError(
                    f"both objects are {self.first.colour!r}: the two objects of a relation differ in colour"
                )

    @property
    def things(self) -> tuple[Thing, ...]:
        """The objects, in the order in which the caption names them."""
        return (self.first,) if self.second is None else (self.first, self.second)


def is_reserved_combination(shape: str, colour: str) -> bool:
    """True for the one colour of each shape (and one shape of each colour) that training never shows."""
    return (3 * SHAPES.index(shape) + 1) % len(COLOURS) == COLOURS.index(colour)


def is_reserved_pairing(shape_a: str, shape_b: str) -> bool:
    """True for the pairings of shapes, in either order, that training never shows side by side."""
    return shape_a != shape_b and (SHAPES.index(shape_a) + SHAPES.index(shape_b)) % len(SHAPES) == 3


def split_of(scene: Scene) -> Split:
    """The split that a scene belongs to: a function of the scene alone, so the two are disjoint."""
    if any(is_reserved_combination(thing.shape, thing.colour) for thing in scene.things):
        return "held_out"
    if scene.second is not None and is_reserved_pairing(scene.first.shape, scene.second.shape):
        return "held_out"
    return "train"


def category(scene: Scene) -> str:
    """The stratum of a scene, one of `CATEGORIES`: number of objects, and whether any is textured."""
    textured = any(thing.texture != "plain" for thing in scene.things)
    if scene.second is None:
        return "texture" if textured else "single"
    return "relation-texture" if textured else "relation"


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _sample_thing(rng: np.random.Generator, textured_share: float) -> Thing:
    texture = _pick(rng, TEXTURES[1:]) if rng.random() < textured_share else "plain"
    return Thing(size=_pick(rng, SIZES), colour=_pick(rng, COLOURS), texture=texture, shape=_pick(rng, SHAPES))


def _sample_any(rng: np.random.Generator) -> Scene:
    if rng.random() >= RELATION_SHARE:
        thing = _sample_thing(rng, TEXTURED_SHARE_SINGLE)
        return Scene(first=thing, position=_pick(rng, POSITIONS), background=_pick(rng, BACKGROUNDS))
    first = _sample_thing(rng, TEXTURED_SHARE_RELATION)
    second = _sample_thing(rng, TEXTURED_SHARE_RELATION)
    while second.colour == first.colour:
        second = _sample_thing(rng, TEXTURED_SHARE_RELATION)
    return Scene(first=first, second=second, relation=_pick(rng, RELATIONS), background=_pick(rng, BACKGROUNDS))


def sample_scene(rng: np.random.Generator, *, split: Split) -> Scene:
    """A random scene of one split: half of them one object, half two objects and a relation.

    The number of objects is drawn before the split is asked for, so both splits have the same shares.
    """
    if split not in ("train", "held_out"):
        raise SceneError(f"split {split!r} does not exist: choose train or held_out")
    scene = _sample_any(rng)
    want_relation = scene.second is not None
    while split_of(scene) != split or (scene.second is not None) != want_relation:
        scene = _sample_any(rng)
    return scene

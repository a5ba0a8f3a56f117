"""The grammar between scenes and English: `parse(caption(scene)) == scene` for every scene.

a <size> <colour> [texture] <shape> <position> on a <background> background
a <size> <colour> [texture] <shape> <relation> a <size> <colour> [texture] <shape> on a <bg> background
"""

from __future__ import annotations

import re

from qsched.errors import InputError
from qsched.tiny.scene import (
    BACKGROUNDS,
    COLOURS,
    POSITIONS,
    RELATIONS,
    SHAPES,
    SIZES,
    TEXTURES,
    Scene,
    SceneError,
    Thing,
)


class PromptError(InputError, ValueError):
    """A prompt outside the grammar; the message shows the prompt, the rule and an example."""


EXAMPLE = "a small red striped ring in the top left on a white background"

_THING = (
    r"an? (?P<size{n}>" + "|".join(SIZES) + r") (?P<colour{n}>" + "|".join(COLOURS) + r")"
    r"(?: (?P<texture{n}>" + "|".join(TEXTURES) + r"))? (?P<shape{n}>" + "|".join(SHAPES) + r")"
)
_GROUND = r" on an? (?P<background>" + "|".join(BACKGROUNDS) + r") background\.?"
_SINGLE = re.compile(_THING.replace("{n}", "1") + r" (?P<position>" + "|".join(POSITIONS) + r")" + _GROUND)
_PAIR = re.compile(
    _THING.replace("{n}", "1") + r" (?P<relation>" + "|".join(RELATIONS) + r") " + _THING.replace("{n}", "2") + _GROUND
)


def _describe(thing: Thing) -> str:
    words = [thing.size, thing.colour, *([] if thing.texture == "plain" else [thing.texture]), thing.shape]
    return "a " + " ".join(words)


def caption(scene: Scene) -> str:
    """The prompt of a scene: lower case, one fixed wording, so equal scenes have equal captions."""
    where = scene.position if scene.second is None else f"{scene.relation} {_describe(scene.second)}"
    return f"{_describe(scene.first)} {where} on a {scene.background} background"


def _thing(match: re.Match[str], n: int) -> Thing:
    return Thing(
        size=match[f"size{n}"],
        colour=match[f"colour{n}"],
        texture=match[f"texture{n}"] or "plain",
        shape=match[f"shape{n}"],
    )


def parse(prompt: str) -> Scene:
    """The scene that a prompt asks for; `PromptError` for a prompt outside the grammar.

    Case, repeated spaces and a final full stop do not matter; every other difference is an error.
    """
    text = " ".join(prompt.lower().split())
    try:
        if match := _SINGLE.fullmatch(text):
            return Scene(first=_thing(match, 1), position=match["position"], background=match["background"])
        if match := _PAIR.fullmatch(text):
            return Scene(
                first=_thing(match, 1),
                second=_thing(match, 2),
                relation=match["relation"],
                background=match["background"],
            )
    except SceneError as error:
        raise PromptError(f"prompt {prompt!r} is grammatical but outside the domain: {error}") from error
    raise PromptError(
        f"prompt {prompt!r} is outside the grammar of the tiny models: "
        f"write 'a <size> <colour> [texture] <shape> <position | relation a <size> ... <shape>> on a "
        f"<background> background', for example {EXAMPLE!r}"
    )

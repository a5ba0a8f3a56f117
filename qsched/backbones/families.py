"""What a pipeline class has different from the others, in a few values a class. No torch.

A class that is not listed is driven like the others: it takes `latents`, a list of generators and
`num_inference_steps`, and its denoiser is `transformer` or `unet`. A family of your own is an entry point of the group
`qsched.backbones` (a Family, a BackboneSpec, or a list of them), or the key "family" of a folder's qsched.json.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from qsched.backbones.errors import BackboneError

ENTRY_POINTS = "qsched.backbones"
# Set in every class that has them: a size is the size asked for, and a prompt is the text that was given.
PLAIN_OPTIONS: Mapping[str, object] = {"use_resolution_binning": False, "clean_caption": False}


@dataclass(frozen=True)
class Family:
    """How one pipeline class differs.

    module            where the class is imported from
    denoiser          component that predicts noise or velocity; None: the one named transformer or unet
    guidance          argument of the call that the guidance scale is given to
    guidance_scale    its value if neither model nor user states one; 0: no guidance
    options           further keywords of the call
    by_steps          keywords that depend on the number of steps
    one_at_a_time     why pictures of this class cannot share a batch; None or empty: they can
    note              what a reader of the table of classes should know
    """

    pipeline: str
    module: str = "diffusers"
    denoiser: str | None = None
    guidance: str = "guidance_scale"
    guidance_scale: float = 0.0
    options: Mapping[str, object] = field(default_factory=dict)
    by_steps: Callable[[int], Mapping[str, object]] | None = None
    one_at_a_time: str | None = None
    note: str = ""

    def options_at(self, steps: int) -> dict[str, object]:
        """The keywords of a call with so many steps."""
        return {**self.options, **(self.by_steps(steps) if self.by_steps is not None else {})}


_PADS = "it pads prompts to the longest of a batch, and the padding enters the picture"

_UNTESTED = (
    "no test has shown that a picture of this class does not depend on the others in its batch (if you know it, put "
    '{"family": {"one_at_a_time": ""}} into qsched.json in the model\'s folder)'
)

_OWN: tuple[Family, ...] = (
    # Like the others; tests/backbones/zoo.py drives them.
    *map(Family, ("FluxPipeline", "Flux2KleinPipeline", "ZImagePipeline", "StableDiffusion3Pipeline", "SanaPipeline")),
    *map(
        Family, ("PixArtAlphaPipeline", "PixArtSigmaPipeline", "StableDiffusionXLPipeline", "StableDiffusionPipeline")
    ),
    *map(Family, ("Lumina2Pipeline", "LuminaPipeline", "ChromaPipeline", "HiDreamImagePipeline", "AuraFlowPipeline")),
    *map(Family, ("OvisImagePipeline", "HunyuanDiTPipeline")),
    Family("LatentConsistencyModelPipeline", guidance_scale=8.0),
    Family("QwenImagePipeline", guidance="true_cfg_scale", guidance_scale=1.0),
    Family("QwenImage21Pipeline", guidance="true_cfg_scale", guidance_scale=1.0, one_at_a_time=_UNTESTED),
    Family("HunyuanImagePipeline", guidance="distilled_guidance_scale", guidance_scale=3.25),
    Family(
        "SanaSprintPipeline",
        guidance_scale=4.5,
        # The class has a default for two steps, and refuses it for any other number.
        by_steps=lambda steps: {} if steps == 2 else {"intermediate_timesteps": None},
    ),
    Family("PRXPipeline", guidance_scale=1.0),
    Family("CogView4Pipeline", one_at_a_time=_PADS),
    Family("Kandinsky5T2IPipeline", one_at_a_time=_PADS),
    Family("ErnieImagePipeline", options={"use_pe": False}, note="no prompt enhancer"),
    Family("LongCatImagePipeline", options={"enable_prompt_rewrite": False}, note="no prompt rewriting"),
)


def family_of(pipeline: str) -> Family:
    """The family of a pipeline class; a class that no test drives makes one picture at a time."""
    return _families().get(pipeline, Family(pipeline, one_at_a_time=_UNTESTED))


def registered(kind: type[Any]) -> list[Any]:
    """The objects of a kind that other packages register under the entry point group `qsched.backbones`."""
    found: list[Any] = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            loaded = point.load()
        except Exception as error:
            raise BackboneError(
                f"entry point {point.name} = {point.value} of the group {ENTRY_POINTS} cannot be loaded: {error}; "
                "repair or uninstall the package that registers it"
            ) from error
        found += list(loaded) if isinstance(loaded, list | tuple) else [loaded]
    return [item for item in found if isinstance(item, kind)]


@functools.cache
def _families() -> dict[str, Family]:
    families = {family.pipeline: family for family in _OWN}
    for family in registered(Family):
        if family.pipeline in families:
            raise BackboneError(
                f"two families of the class {family.pipeline}; uninstall one of the packages that register them"
            )
        families[family.pipeline] = family
    return families

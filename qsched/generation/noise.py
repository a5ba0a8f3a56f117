"""Seeds and initial noise: a function of (set seed, prompt id, sample index) and of nothing else.

An image owns one CPU generator. Its initial latents are drawn from it first, in float32, and cast; its step
noise (ancestral schedulers, LCM, TCD) comes from the same generator, further on. Order, batch, arm, worker
and resume do not enter, so the two images of a pair start from the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from qsched.backbones.backbone import Backbone


def initial_latents(backbone: Backbone, seeds: Sequence[int]) -> tuple[Tensor, list[Generator]]:
    """(latents in the pipeline's layout and dtype, the generators in the state after drawing them, one per image).

    Latents are standard normal; a pipeline that wants them scaled (`init_noise_sigma`) does so itself. Their shape is
    what the pipeline asked for (`backbone.layout`): packed [B, (H/2)(W/2), 4C] for FLUX, [B, C, H, W] for most.
    """
    import torch

    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    latents = backbone.layout.draw(backbone.pipeline, generators)
    return latents.to(device=backbone.device, dtype=backbone.layout.dtype), generators

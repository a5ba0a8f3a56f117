"""Seeds and initial noise: a function of (set seed, prompt id, sample index) and of nothing else.

An image owns one CPU generator. Its initial latents are drawn from it first, in float32, and cast; its step
noise (ancestral schedulers, LCM, TCD) comes from the same generator, further on. Order, batch, arm, worker
and resume do not enter, so the two images of a pair start from the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from qsched.backbones.load import Backbone


def initial_latents(backbone: Backbone, seeds: Sequence[int]) -> tuple[Tensor, list[Generator]]:
    """(latents in the pipeline's layout and dtype, the generators in the state after drawing them, one per image).

    Latents are standard normal; a pipeline that wants them scaled (`init_noise_sigma`) does so itself.
    Packed (FLUX): [B, (H/2)(W/2), 4C]; plain: [B, C, H, W], with H and W in latent pixels.
    """
    import torch

    pipeline = backbone.pipeline
    scale = pipeline.vae_scale_factor
    config: Any = backbone.denoiser.config
    channels: int = config.in_channels
    packed = backbone.layout == "packed"
    if packed:
        channels //= 4
    shape = (1, channels, backbone.height // scale, backbone.width // scale)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    rows = [torch.randn(shape, generator=g, dtype=torch.float32, device="cpu") for g in generators]
    latents = torch.cat(rows)
    if packed:
        # The pipeline has no public way to pack latents that were drawn outside.
        latents = pipeline._pack_latents(latents, len(seeds), channels, shape[2], shape[3])  # noqa: SLF001
    return latents.to(device=backbone.device, dtype=backbone.dtype), generators

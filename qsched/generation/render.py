"""The one path from prompts and seeds to pictures: the diffusers pipeline's own call, with our noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qsched.generation.noise import initial_latents
from qsched.generation.prompts import Prompt
from qsched.scheduling import Coefficients

if TYPE_CHECKING:
    from PIL.Image import Image

    from qsched.backbones.load import Backbone


def render_batch(
    backbone: Backbone,
    prompts: Sequence[str | Prompt],
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    coefficients: Coefficients | None = None,
) -> list[Image]:
    """One RGB picture for each prompt and seed, in order; generation, scoring and calibration all use it.

    steps         inference steps; None: the backbone's
    coefficients  Q-Sched coefficients; None: the pipeline's scheduler as it was loaded
    A picture's noise depends on its seed alone. On a CPU its last bits may also depend on which pictures
    share the batch, because BLAS rounds differently at other sizes: equal batches give equal bytes.
    """
    import torch

    if len(prompts) != len(seeds) or not prompts:
        raise ValueError(f"{len(prompts)} prompts and {len(seeds)} seeds: give one seed a prompt, and at least one")
    texts = [p.prompt if isinstance(p, Prompt) else p for p in prompts]
    latents, generators = initial_latents(backbone, seeds)
    with with_coefficients(backbone, coefficients), torch.inference_mode():
        result = backbone.pipeline(
            prompt=texts,
            latents=latents,
            generator=generators,
            num_inference_steps=backbone.steps if steps is None else steps,
            guidance_scale=backbone.guidance_scale,
            width=backbone.width,
            height=backbone.height,
            output_type="pil",
            **backbone.call_options,
        )
    return [image.convert("RGB") for image in result.images]


@contextmanager
def with_coefficients(backbone: Backbone, coefficients: Coefficients | None) -> Iterator[Any]:
    """The pipeline's scheduler carries the coefficients inside the block, and is itself again after it."""
    pipeline = backbone.pipeline
    if coefficients is None:
        yield pipeline.scheduler
        return
    from qsched.scheduling import apply_coefficients

    stock = pipeline.scheduler
    pipeline.scheduler = apply_coefficients(stock, coefficients)
    try:
        yield pipeline.scheduler
    finally:
        pipeline.scheduler = stock

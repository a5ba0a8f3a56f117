"""The one path from prompts and seeds to pictures: the diffusers pipeline's own call, with our noise."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qsched.errors import QschedError
from qsched.generation.noise import initial_latents
from qsched.generation.prompts import Prompt
from qsched.scheduling import Coefficients

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from qsched.backbones.load import Backbone


class RenderError(QschedError):
    """The model made no pictures, or something that is not a picture."""


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
        raise ValueError(f"{len(prompts)} prompts and {len(seeds)} seeds: give one seed per prompt, and at least one")
    texts = [p.prompt if isinstance(p, Prompt) else p for p in prompts]
    latents, generators = initial_latents(backbone, seeds)
    try:
        with with_coefficients(backbone, coefficients), torch.inference_mode():
            result = backbone.pipeline(
                prompt=texts,
                latents=latents,
                generator=generators,
                num_inference_steps=backbone.steps if steps is None else steps,
                guidance_scale=backbone.guidance_scale,
                width=backbone.width,
                height=backbone.height,
                # Not "pil": diffusers would turn a NaN into a black pixel without a word.
                output_type="pt",
                **backbone.call_options,
            )
    except torch.OutOfMemoryError as error:
        raise RenderError(
            f"a batch of {len(texts)} pictures of {backbone.width}x{backbone.height} does not fit into the memory of "
            f"{backbone.device}; make the batch smaller (--batch-size of generate-pairs, --batch of calibrate)"
        ) from error
    return to_pictures(backbone, result.images, texts)


def to_pictures(backbone: Backbone, pixels_BCHW: Tensor, prompts: Sequence[str]) -> list[Image]:
    """Pixels from 0 to 1 as diffusers itself makes pictures of them; RenderError if one is not finite."""
    broken = [i for i, pixels in enumerate(pixels_BCHW) if not bool(pixels.isfinite().all())]
    if broken:
        raise RenderError(
            f"{backbone.name} in {backbone.dtype} made NaN or infinite pixels for {prompts[broken[0]]!r} "
            f"({len(broken)} of {len(prompts)} in the batch); half precision overflows in some models: use another "
            "--dtype"
        )
    processor = backbone.pipeline.image_processor
    pictures: list[Image] = processor.numpy_to_pil(processor.pt_to_numpy(pixels_BCHW))
    return [picture.convert("RGB") for picture in pictures]


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


def encode_png(image: Image) -> bytes:
    """RGB pixels and nothing else: no text, profile, time or resolution chunk."""
    bare = image.convert("RGB")
    bare.info.clear()
    buffer = io.BytesIO()
    bare.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()

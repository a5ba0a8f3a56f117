"""The one path from prompts and seeds to pictures: the diffusers pipeline's own call, with our noise."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qsched.errors import InputError, QschedError
from qsched.generation.noise import initial_latents
from qsched.generation.prompts import Prompt
from qsched.scheduling import Coefficients

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from qsched.backbones.backbone import Backbone
    from qsched.backbones.families import Family


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
    check_company(backbone.family, len(prompts), name=backbone.name)
    texts = [p.prompt if isinstance(p, Prompt) else p for p in prompts]
    latents, generators = initial_latents(backbone, seeds)
    drawn_before = _global_noise(backbone)
    try:
        with with_coefficients(backbone, coefficients), torch.inference_mode():
            result = backbone.call(texts, generators, latents, steps=steps)
    except torch.OutOfMemoryError as error:
        n = len(texts)
        remedy = (
            f"try --batch-size {n // 2} (--batch {n // 2} of calibrate)"
            if n > 1
            else "use a smaller --width and --height, or a precision that takes less memory"
        )
        raise RenderError(
            f"a batch of {n} picture{'s' if n > 1 else ''} of {backbone.width}x{backbone.height} does not fit into the "
            f"memory of {backbone.device}; {remedy}"
        ) from error
    if not all(torch.equal(a, b) for a, b in zip(drawn_before, _global_noise(backbone), strict=True)):
        raise RenderError(
            f"{type(backbone.pipeline).__name__} with {type(backbone.pipeline.scheduler).__name__} drew noise that is "
            "not of the picture's own generator, so the pictures of a pair would not share it; use another scheduler, "
            "or set its option that samples stochastically to false"
        )
    return to_pictures(backbone, _pixels(backbone, result, len(texts)), texts)


def check_company(family: Family, n: int, *, name: str) -> None:
    """InputError for several pictures of a class in which a picture depends on the others in its batch."""
    if n > 1 and family.one_at_a_time:
        raise InputError(
            f"a batch of {n} pictures of {name}: pictures of {family.pipeline} cannot share one, because "
            f"{family.one_at_a_time}; use --batch-size 1 (--batch 1 of calibrate)"
        )


def to_pictures(backbone: Backbone, pixels_BCHW: Tensor, prompts: Sequence[str]) -> list[Image]:
    """Pixels from 0 to 1 as diffusers itself makes pictures of them; RenderError if one is not finite."""
    from diffusers.image_processor import VaeImageProcessor

    broken = [i for i, pixels in enumerate(pixels_BCHW) if not bool(pixels.isfinite().all())]
    if broken:
        raise RenderError(
            f"{backbone.name} in {backbone.dtype} made NaN or infinite pixels for {prompts[broken[0]]!r} "
            f"({len(broken)} of {len(prompts)} in the batch); half precision overflows in some models: use another "
            "--dtype"
        )
    pictures: list[Image] = VaeImageProcessor.numpy_to_pil(VaeImageProcessor.pt_to_numpy(pixels_BCHW))
    return [picture.convert("RGB") for picture in pictures]


def _pixels(backbone: Backbone, result: Any, n: int) -> Tensor:
    """The pictures of a pipeline's result, (n, 3, height, width); RenderError if they are anything else."""
    import torch

    kind = type(backbone.pipeline).__name__
    images = getattr(result, "images", None)
    images = getattr(result, "image", None) if images is None else images
    if not isinstance(images, torch.Tensor):
        raise RenderError(f"{kind} returned {type(images).__name__} for output_type='pt', not a tensor of pictures")
    wanted = (n, 3, backbone.height, backbone.width)
    if tuple(images.shape) != wanted:
        raise RenderError(
            f"{kind} returned pictures of shape {tuple(images.shape)}, asked for were {wanted}; give a --width and "
            "--height that the model makes"
        )
    return images


def _global_noise(backbone: Backbone) -> list[Tensor]:
    """The state of the generators that belong to no picture."""
    import torch

    states = [torch.get_rng_state()]
    if backbone.device.type == "cuda":
        states.append(torch.cuda.get_rng_state(backbone.device))
    return states


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

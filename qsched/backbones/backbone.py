"""A loaded pipeline and how it is called: its sizes, its options, its noise layout."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from qsched.backbones.errors import BackboneError
from qsched.backbones.families import PLAIN_OPTIONS, Family, family_of
from qsched.backbones.layout import NoiseLayout, ask_layout
from qsched.backbones.lora import check_no_adapter
from qsched.backbones.slot import DenoiserSlot
from qsched.backbones.spec import DEFAULT_STEPS, BackboneSpec
from qsched.backbones.standin import Reached
from qsched.backbones.texts import RememberedTexts

DENOISERS = ("transformer", "unet")


@dataclass(frozen=True)
class Backbone:
    """A loaded pipeline and how it is called.

    dtype          base dtype of every component
    call_options   further keywords of the pipeline's call
    dropped        components left out on purpose (a safety checker would blacken images of one arm)
    assumed        'steps 4' and the like: what neither the folder nor the caller states
    identity       hash of every tensor and of the configuration; None for a pipeline that was made in memory
    layout         how its initial noise is drawn and given
    slot           the denoiser's place, from which another one can be had; None for a pipeline that was made in memory
    texts          what its text encoders made, so that they need not stay; None: they stay
    """

    name: str
    pipeline: Any
    denoiser_name: str
    steps: int
    guidance_scale: float
    width: int
    height: int
    call_options: dict[str, Any]
    dtype: torch.dtype
    device: torch.device
    spec: BackboneSpec
    family: Family
    layout: NoiseLayout
    dropped: tuple[str, ...] = ()
    identity: str | None = None
    assumed: tuple[str, ...] = ()
    slot: DenoiserSlot | None = None
    texts: RememberedTexts | None = None

    @property
    def denoiser(self) -> nn.Module:
        """The module that predicts noise or velocity: the only one that a precision touches."""
        module: nn.Module = getattr(self.pipeline, self.denoiser_name) if self.slot is None else self.slot.module
        return module

    @property
    def is_complete(self) -> bool:
        """False until the denoiser is in memory."""
        return self.slot is None or self.slot.complete

    def complete(self) -> None:
        """Have the whole denoiser in memory, as it is in its files."""
        if self.slot is not None:
            self.slot.fill_whole()

    def call(
        self, prompt: list[str], generator: list[Generator], latents: Tensor | None, *, steps: int | None = None
    ) -> Any:
        """The pipeline's result for these prompts, its pictures as tensors from 0 to 1."""
        arguments = call_arguments(
            self.pipeline,
            self.family,
            steps=self.steps if steps is None else steps,
            guidance_scale=self.guidance_scale,
            size=(self.width, self.height),
            options=self.call_options,
        )
        return call_pipeline(self.pipeline, arguments, prompt=prompt, generator=generator, latents=latents)

    def read_texts(self, batches: Iterable[Sequence[str]]) -> None:
        """Let the text encoders read all prompts, batch by batch, and then leave memory; the denoiser is not there yet.

        Nothing for a pipeline whose encoders cannot be separated from the rest of its call.
        """
        if self.texts is None or self.is_complete:
            return
        for batch in batches:
            generators = [Generator("cpu").manual_seed(0) for _ in batch]
            with contextlib.suppress(Reached), torch.inference_mode():
                self.call(list(batch), generators, None)
            if not len(self.texts):
                return  # this class reads its prompts in another way
        self.texts.let_encoders_go()


def call_pipeline(
    pipeline: Any,
    arguments: Mapping[str, Any],
    *,
    prompt: list[str],
    generator: list[Generator],
    latents: Tensor | None,
) -> Any:
    """The pipeline's result; a negative prompt is the same for every prompt."""
    negative = arguments.get("negative_prompt")
    more = {} if negative is None else {"negative_prompt": [negative] * len(prompt)}
    return pipeline(**{**arguments, **more}, prompt=list(prompt), generator=generator, latents=latents)


def call_arguments(
    pipeline: Any,
    family: Family,
    *,
    steps: int,
    guidance_scale: float,
    size: tuple[int, int],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Keywords of the pipeline's call beside prompt, generator and latents."""
    known = call_parameters(pipeline)
    wanted = {family.guidance: guidance_scale, "width": size[0], "height": size[1]}
    if guidance_scale and family.guidance not in known:
        raise BackboneError(f"guidance scale {guidance_scale:g}: {type(pipeline).__name__} has no {family.guidance}")
    return {
        "num_inference_steps": steps,
        # Not "pil": diffusers would turn a NaN into a black pixel without a word.
        "output_type": "pt",
        **{name: value for name, value in wanted.items() if name in known},
        **{name: value for name, value in PLAIN_OPTIONS.items() if name in known},
        **family.options_at(steps),
        **options,
    }


def call_parameters(pipeline: Any) -> frozenset[str]:
    """Names of the arguments of the pipeline's call."""
    return frozenset(inspect.signature(type(pipeline).__call__).parameters) - {"self"}


def denoiser_of(pipeline: Any, family: Family | None = None) -> tuple[str, nn.Module]:
    """(attribute name, module) of the denoiser."""
    named = None if family is None else family.denoiser
    for name in (named,) if named is not None else DENOISERS:
        module = getattr(pipeline, name, None)
        if isinstance(module, nn.Module):
            return name, module
    raise BackboneError(
        f"{type(pipeline).__name__} has no {named}; correct the denoiser of its family"
        if named is not None
        else f"{type(pipeline).__name__} has neither a transformer nor a unet; name its denoiser in a family "
        '({"family": {"denoiser": "..."}} in qsched.json)'
    )


def backbone_from_pipeline(pipeline: Any, *, name: str, **overrides: Any) -> Backbone:
    """Describe a pipeline that is already in memory, so that it can be rendered like a loaded one."""
    dtype = next(denoiser_of(pipeline, family_of(type(pipeline).__name__))[1].parameters()).dtype
    spec = BackboneSpec(name, source=name)
    return describe(pipeline, spec, dtype=dtype, device=pipeline.device, overrides=overrides)


def describe(
    pipeline: Any,
    spec: BackboneSpec,
    *,
    dtype: torch.dtype,
    device: torch.device,
    overrides: Mapping[str, Any],
    dropped: Sequence[str] = (),
    identity: str | None = None,
    slot: DenoiserSlot | None = None,
    texts: RememberedTexts | None = None,
) -> Backbone:
    """How a pipeline is called, from its spec, what was asked for, and what the pipeline itself states."""
    kind = type(pipeline).__name__
    family = spec.family or family_of(kind)
    name, module = denoiser_of(pipeline, family) if slot is None else (slot.name, slot.module)
    module.eval()
    check_no_adapter(pipeline)
    options = _checked_options(pipeline, {**spec.call_options, **overrides.get("call_options", {})})
    if "max_sequence_length" in call_parameters(pipeline) and kind == "FluxPipeline":
        # A short T5 tokenizer would otherwise be padded past its own length.
        options.setdefault("max_sequence_length", min(512, int(pipeline.tokenizer_2.model_max_length)))
    stated = {key: getattr(spec, key) for key in ("steps", "guidance_scale", "width", "height")}
    stated |= {key: overrides[key] for key in stated if overrides.get(key) is not None}
    defaults: dict[str, Any] = {"steps": DEFAULT_STEPS, "guidance_scale": family.guidance_scale}
    if stated["width"] is None or stated["height"] is None:
        defaults |= dict.fromkeys(("width", "height"), native_size(pipeline, module, spec.name))
    chosen: dict[str, Any] = {key: defaults[key] if value is None else value for key, value in stated.items()}
    # The native size is the model's own; steps and guidance are a guess.
    assumed = tuple(f"{key} {chosen[key]:g}" for key in ("steps", "guidance_scale") if stated[key] is None)
    _check_choices(pipeline, spec, chosen, options)
    arguments = call_arguments(
        pipeline,
        family,
        steps=chosen["steps"],
        guidance_scale=chosen["guidance_scale"],
        size=(chosen["width"], chosen["height"]),
        options=options,
    )
    with torch.inference_mode():
        layout = ask_layout(pipeline, module, lambda **given: call_pipeline(pipeline, arguments, **given))
    return Backbone(
        name=spec.name,
        pipeline=pipeline,
        denoiser_name=name,
        call_options=options,
        dtype=dtype,
        device=torch.device(device),
        spec=spec,
        family=family,
        layout=layout,
        dropped=tuple(dropped),
        identity=identity,
        assumed=assumed,
        slot=slot,
        texts=texts,
        **chosen,
    )


def native_size(pipeline: Any, denoiser: Any, name: str) -> int:
    """Pixels of a side as the model states them: its denoiser, its VAE, or its pipeline."""
    scale = getattr(pipeline, "vae_scale_factor", 8)
    vae = getattr(pipeline, "vae", None)
    found = getattr(denoiser.config, "sample_size", None)
    if isinstance(found, int):
        return found * int(scale)
    found = getattr(getattr(vae, "config", None), "sample_size", None)
    if isinstance(found, int):
        return found
    found = getattr(pipeline, "default_sample_size", None)
    if isinstance(found, int):
        return found * int(scale)
    raise BackboneError(f"{name} does not state the size of its pictures; give --width and --height")


def _checked_options(pipeline: Any, options: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(options) - call_parameters(pipeline))
    if unknown:
        raise BackboneError(
            f"{type(pipeline).__name__} has no {unknown[0]}; its call takes "
            f"{', '.join(sorted(call_parameters(pipeline)))}"
        )
    return options


def _check_choices(pipeline: Any, spec: BackboneSpec, chosen: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    processor = getattr(pipeline, "image_processor", None)
    multiple = int(processor.config.vae_scale_factor) if processor is not None else 1
    for side in ("width", "height"):
        if chosen[side] < multiple or chosen[side] % multiple:
            raise BackboneError(f"{side} {chosen[side]}: {spec.name} makes pictures in multiples of {multiple} pixels")
    if chosen["steps"] < 1:
        raise BackboneError(f"steps {chosen['steps']}: a picture needs at least one step")
    if options.get("negative_prompt") and chosen["guidance_scale"] <= 1:
        raise BackboneError(
            f"a negative prompt acts through guidance, and the guidance scale is {chosen['guidance_scale']:g}; give "
            "--guidance-scale above 1, or leave the negative prompt out"
        )
    scheduler = type(pipeline.scheduler)
    if options.get("eta") and "eta" not in inspect.signature(scheduler.step).parameters:
        raise BackboneError(f"eta {options['eta']:g}: {scheduler.__name__} has no eta; leave it out")
    if getattr(pipeline.scheduler.config, "stochastic_sampling", False) and not hasattr(
        pipeline, "prepare_extra_step_kwargs"
    ):
        raise BackboneError(
            f"{spec.name} samples stochastically, and {type(pipeline).__name__} hands its scheduler no generator: the "
            "noise could not be paired. Set stochastic_sampling to false in scheduler_config.json."
        )

"""One small random-weight pipeline for each text-to-image class that the tests drive, all of them diffusers classes.

`ZOO` says how each is built and called; `save` writes it as a folder. The text encoders are of the real classes with a
few small layers, the tokenizer is one of words.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from tests.backbones.zoo_llm import (
    ernie,
    flux2_klein,
    hidream,
    hunyuan_image,
    kandinsky5,
    longcat,
    lumina,
    lumina2,
    ovis,
    qwen_image,
    sana,
    z_image,
)
from tests.backbones.zoo_parts import (
    FLOW,
    WIDTH,
    flow_vae,
    small,
    t5,
    t5_wide,
    t5gemma_config,
    vae8,
    words,
)
from tests.pipelines import SIZE, clip, clip_tokenizer, flux, loud, sd15, sdxl, vae


@dataclass(frozen=True)
class Member:
    """How a class is built and called: steps, guidance, and the picture's size in pixels."""

    build: Callable[[], Any]
    steps: int = 2
    guidance_scale: float = 0.0
    size: int = SIZE
    options: dict[str, Any] = field(default_factory=dict)


def save(name: str, root: Path) -> Path:
    """Write the pipeline `name` and its defaults below `root`, with the same weights each time."""
    member = ZOO[name]
    torch.manual_seed(sum(name.encode()))
    member.build().save_pretrained(root / name)
    defaults = {"steps": member.steps, "guidance_scale": member.guidance_scale}
    defaults |= {"width": member.size, "height": member.size, "call_options": member.options}
    if name == "PRXPipeline":  # diffusers expects the whole T5Gemma's configuration beside the encoder
        t5gemma_config().save_pretrained(root / name / "text_encoder")
    (root / name / "qsched.json").write_text(json.dumps(defaults), encoding="utf-8")
    return root / name


def sd3() -> Any:
    return diffusers.StableDiffusion3Pipeline(
        scheduler=FLOW(),
        vae=flow_vae(),
        text_encoder=clip(projected=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(projected=True),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5_wide(),
        tokenizer_3=words(),
        transformer=loud(
            diffusers.SD3Transformer2DModel(
                sample_size=16,
                patch_size=1,
                in_channels=4,
                out_channels=4,
                num_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=64,
                caption_projection_dim=32,
                pooled_projection_dim=64,
                pos_embed_max_size=32,
            )
        ),
    )


def pixart(cls: Any) -> Any:
    return cls(
        tokenizer=words(),
        text_encoder=t5(),
        vae=vae(4),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
        transformer=loud(
            diffusers.PixArtTransformer2DModel(
                num_attention_heads=2,
                attention_head_dim=16,
                in_channels=4,
                out_channels=8,
                num_layers=1,
                cross_attention_dim=32,
                sample_size=16,
                caption_channels=WIDTH,
                use_additional_conditions=False,
            )
        ),
    )


def sd_tcd() -> Any:
    pipeline = sd15()
    pipeline.scheduler = diffusers.TCDScheduler()
    return pipeline


def lcm() -> Any:
    parts = sd15(time_cond_proj_dim=32).components
    return diffusers.LatentConsistencyModelPipeline(
        **{name: part for name, part in parts.items() if name not in ("scheduler", "image_encoder")},
        scheduler=diffusers.LCMScheduler(),
        requires_safety_checker=False,
    )


def chroma() -> Any:
    return diffusers.ChromaPipeline(
        scheduler=FLOW(),
        vae=flow_vae(),
        text_encoder=t5(),
        tokenizer=words(),
        transformer=loud(
            diffusers.ChromaTransformer2DModel(
                in_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=WIDTH,
                axes_dims_rope=(4, 6, 6),
                approximator_num_channels=8,
                approximator_hidden_dim=32,
                approximator_layers=1,
            )
        ),
    )


def prx() -> Any:
    from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

    return diffusers.PRXPipeline(
        scheduler=FLOW(),
        vae=flow_vae(),
        text_encoder=T5GemmaEncoder(t5gemma_config().encoder),
        tokenizer=words(),
        transformer=loud(
            diffusers.PRXTransformer2DModel(
                in_channels=4, context_in_dim=WIDTH, hidden_size=32, num_heads=2, depth=1, axes_dim=[8, 8]
            )
        ),
    )


def aura_flow() -> Any:
    return diffusers.AuraFlowPipeline(
        scheduler=FLOW(),
        vae=vae(4),
        text_encoder=t5(transformers.UMT5EncoderModel, transformers.UMT5Config),
        tokenizer=words(),
        transformer=loud(
            diffusers.AuraFlowTransformer2DModel(
                sample_size=16,
                in_channels=4,
                out_channels=4,
                num_mmdit_layers=1,
                num_single_dit_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=WIDTH,
                caption_projection_dim=32,
                pos_embed_max_size=64,
            )
        ),
    )


def cogview4() -> Any:
    return diffusers.CogView4Pipeline(
        scheduler=FLOW(use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75, base_image_seq_len=256),
        vae=flow_vae(),
        text_encoder=transformers.GlmModel(small(transformers.GlmConfig)),
        tokenizer=words(),
        transformer=loud(
            diffusers.CogView4Transformer2DModel(
                in_channels=4,
                out_channels=4,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                text_embed_dim=WIDTH,
                time_embed_dim=16,
                condition_dim=8,
                sample_size=16,
                rope_axes_dim=(32, 32),
            )
        ),
    )


def hunyuan_dit() -> Any:
    bert = transformers.BertConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    return diffusers.HunyuanDiTPipeline(
        scheduler=diffusers.DDPMScheduler(),
        vae=vae8(),
        text_encoder=transformers.BertModel(bert),
        tokenizer=words(),
        text_encoder_2=t5(),
        tokenizer_2=words(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        transformer=loud(
            diffusers.HunyuanDiT2DModel(
                num_attention_heads=2,
                attention_head_dim=16,
                in_channels=4,
                patch_size=2,
                sample_size=16,
                hidden_size=32,
                num_layers=2,
                cross_attention_dim=32,
                cross_attention_dim_t5=WIDTH,
                pooled_projection_dim=16,
            )
        ),
    )


ZOO: dict[str, Member] = {
    "FluxPipeline": Member(flux, options={"max_sequence_length": 16}),
    "Flux2KleinPipeline": Member(
        flux2_klein, options={"text_encoder_out_layers": [0, 1, 2], "max_sequence_length": 48}
    ),
    "ZImagePipeline": Member(z_image, options={"max_sequence_length": 48}),
    "QwenImagePipeline": Member(qwen_image),
    "StableDiffusion3Pipeline": Member(sd3, options={"max_sequence_length": 48}),
    "SanaSprintPipeline": Member(
        lambda: sana(diffusers.SanaSprintPipeline, diffusers.SCMScheduler(), guidance_embeds=True),
        guidance_scale=4.5,
    ),
    "SanaPipeline": Member(lambda: sana(diffusers.SanaPipeline, diffusers.DPMSolverMultistepScheduler())),
    "PixArtAlphaPipeline": Member(lambda: pixart(diffusers.PixArtAlphaPipeline)),
    "PixArtSigmaPipeline": Member(lambda: pixart(diffusers.PixArtSigmaPipeline)),
    "StableDiffusionXLPipeline": Member(sdxl),
    "StableDiffusionPipeline": Member(sd15),
    "StableDiffusionPipeline, TCD": Member(sd_tcd),
    "LatentConsistencyModelPipeline": Member(lcm, guidance_scale=8.0),
    "Lumina2Pipeline": Member(lumina2, size=64),
    "LuminaPipeline": Member(lumina, size=64),
    "ChromaPipeline": Member(chroma, options={"max_sequence_length": 48}),
    "HiDreamImagePipeline": Member(hidream, size=128, options={"max_sequence_length": 16}),
    "HunyuanImagePipeline": Member(hunyuan_image, guidance_scale=3.25),
    "Kandinsky5T2IPipeline": Member(kandinsky5, steps=1, size=1024),
    "PRXPipeline": Member(prx, guidance_scale=1.0),
    "AuraFlowPipeline": Member(aura_flow),
    "OvisImagePipeline": Member(ovis, options={"max_sequence_length": 48}),
    "LongCatImagePipeline": Member(longcat),
    "ErnieImagePipeline": Member(ernie),
    "CogView4Pipeline": Member(cogview4),
    "HunyuanDiTPipeline": Member(hunyuan_dit, size=64),
}

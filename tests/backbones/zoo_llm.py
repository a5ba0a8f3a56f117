"""The zoo's pipelines whose text encoder is a language model."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from tests.backbones.zoo_parts import (
    FLOW,
    WIDTH,
    dc_vae,
    flat_vae,
    flow_vae,
    flux2_vae,
    gemma2,
    qwen3,
    qwen_vae,
    qwen_vl,
    small,
    t5,
    vae8,
    vl_processor,
    words,
)
from tests.pipelines import SIZE, clip, clip_tokenizer, loud


def flux2_klein() -> Any:
    return diffusers.Flux2KleinPipeline(
        scheduler=FLOW(),
        vae=flux2_vae(),
        text_encoder=qwen3(transformers.Qwen3ForCausalLM, num_hidden_layers=3),
        tokenizer=words(),
        is_distilled=True,
        transformer=loud(
            diffusers.Flux2Transformer2DModel(
                in_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=3 * WIDTH,
                timestep_guidance_channels=16,
                axes_dims_rope=(4, 4, 4, 4),
                guidance_embeds=False,
            )
        ),
    )


def z_image() -> Any:
    return diffusers.ZImagePipeline(
        scheduler=FLOW(),
        vae=flow_vae(),
        text_encoder=qwen3(),
        tokenizer=words(),
        transformer=loud(
            diffusers.ZImageTransformer2DModel(
                in_channels=4,
                dim=32,
                n_layers=1,
                n_refiner_layers=1,
                n_heads=2,
                n_kv_heads=2,
                cap_feat_dim=WIDTH,
                axes_dims=[4, 6, 6],
                axes_lens=[600, 64, 64],
            )
        ),
    )


def qwen_image() -> Any:
    return diffusers.QwenImagePipeline(
        scheduler=FLOW(),
        vae=qwen_vae(),
        text_encoder=qwen_vl(),
        tokenizer=words(),
        transformer=loud(
            diffusers.QwenImageTransformer2DModel(
                in_channels=16,
                out_channels=4,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=WIDTH,
                axes_dims_rope=(4, 6, 6),
            )
        ),
    )


def sana(cls: Any, scheduler: Any, **more: Any) -> Any:
    return cls(
        tokenizer=words(),
        text_encoder=gemma2(),
        vae=dc_vae(),
        scheduler=scheduler,
        transformer=loud(
            diffusers.SanaTransformer2DModel(
                in_channels=4,
                out_channels=4,
                num_attention_heads=2,
                attention_head_dim=16,
                num_layers=1,
                num_cross_attention_heads=2,
                cross_attention_head_dim=16,
                cross_attention_dim=32,
                caption_channels=WIDTH,
                sample_size=16,
                **more,
            )
        ),
    )


def lumina2() -> Any:
    return diffusers.Lumina2Pipeline(
        scheduler=FLOW(),
        vae=vae8(),
        text_encoder=gemma2(),
        tokenizer=words(),
        transformer=loud(
            diffusers.Lumina2Transformer2DModel(
                sample_size=16,
                in_channels=4,
                hidden_size=32,
                num_layers=1,
                num_refiner_layers=1,
                num_attention_heads=2,
                num_kv_heads=1,
                multiple_of=16,
                axes_dim_rope=(4, 6, 6),
                axes_lens=(300, 64, 64),
                cap_feat_dim=WIDTH,
            )
        ),
    )


def lumina() -> Any:
    return diffusers.LuminaPipeline(
        scheduler=FLOW(),
        vae=vae8(),
        text_encoder=gemma2(),
        tokenizer=words(),
        transformer=loud(
            diffusers.LuminaNextDiT2DModel(
                sample_size=16,
                in_channels=4,
                hidden_size=32,
                num_layers=1,
                num_attention_heads=2,
                num_kv_heads=1,
                multiple_of=16,
                cross_attention_dim=WIDTH,
            )
        ),
    )


def hidream() -> Any:
    llama = small(transformers.LlamaConfig)
    llama._attn_implementation = "eager"
    return diffusers.HiDreamImagePipeline(
        scheduler=FLOW(),
        vae=flat_vae(),
        text_encoder=clip(projected=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(projected=True),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(),
        tokenizer_3=words(),
        text_encoder_4=transformers.LlamaForCausalLM(llama),
        tokenizer_4=words(),
        transformer=loud(
            diffusers.HiDreamImageTransformer2DModel(
                patch_size=4,  # a quarter of the tokens: this class makes pictures of one area only
                in_channels=4,
                out_channels=4,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                caption_channels=[WIDTH, WIDTH],
                text_emb_dim=64,
                axes_dims_rope=(4, 6, 6),
                max_resolution=(128, 128),
                llama_layers=[0, 1],
            )
        ),
    )


def hunyuan_image() -> Any:
    return diffusers.HunyuanImagePipeline(
        scheduler=FLOW(),
        vae=diffusers.AutoencoderKLHunyuanImage(
            in_channels=3,
            out_channels=3,
            latent_channels=4,
            block_out_channels=(32, 32),
            layers_per_block=1,
            spatial_compression_ratio=2,
            sample_size=SIZE,
            scaling_factor=0.5,
        ),
        text_encoder=qwen_vl(),
        tokenizer=words(),
        text_encoder_2=t5(),
        tokenizer_2=transformers.ByT5Tokenizer(),
        transformer=loud(
            diffusers.HunyuanImageTransformer2DModel(
                in_channels=4,
                out_channels=4,
                num_attention_heads=2,
                attention_head_dim=16,
                num_layers=1,
                num_single_layers=1,
                num_refiner_layers=1,
                text_embed_dim=WIDTH,
                text_embed_2_dim=WIDTH,
                rope_axes_dim=(8, 8),
                guidance_embeds=True,
            )
        ),
    )


def kandinsky5() -> Any:
    return diffusers.Kandinsky5T2IPipeline(
        scheduler=FLOW(),
        vae=vae8(),
        text_encoder=qwen_vl(),
        tokenizer=vl_processor(),
        text_encoder_2=clip(projected=False, longest=77),
        tokenizer_2=clip_tokenizer(77),
        transformer=loud(
            diffusers.Kandinsky5Transformer3DModel(
                in_visual_dim=4,
                in_text_dim=WIDTH,
                in_text_dim2=32,
                time_dim=16,
                out_visual_dim=4,
                model_dim=32,
                ff_dim=64,
                num_text_blocks=1,
                num_visual_blocks=1,
                axes_dims=(4, 6, 6),
            )
        ),
    )


def ovis() -> Any:
    return diffusers.OvisImagePipeline(
        scheduler=FLOW(),
        vae=flow_vae(),
        text_encoder=qwen3(),
        tokenizer=words(),
        transformer=loud(
            diffusers.OvisImageTransformer2DModel(
                in_channels=16,
                out_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=WIDTH,
                axes_dims_rope=(4, 6, 6),
            )
        ),
    )


def longcat() -> Any:
    return diffusers.LongCatImagePipeline(
        scheduler=FLOW(),
        vae=flow_vae(16),
        text_encoder=qwen_vl(),
        tokenizer=words(),
        text_processor=vl_processor(),
        transformer=loud(
            diffusers.LongCatImageTransformer2DModel(
                in_channels=64,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=WIDTH,
                pooled_projection_dim=WIDTH,
                axes_dims_rope=[4, 6, 6],
            )
        ),
    )


def ernie() -> Any:
    return diffusers.ErnieImagePipeline(
        scheduler=FLOW(),
        vae=flux2_vae(),
        text_encoder=qwen3(),
        tokenizer=words(),
        transformer=loud(
            diffusers.ErnieImageTransformer2DModel(
                hidden_size=32,
                num_attention_heads=2,
                num_layers=1,
                ffn_hidden_size=64,
                in_channels=16,
                out_channels=16,
                text_in_dim=WIDTH,
                rope_axes_dim=(4, 6, 6),
            )
        ),
    )

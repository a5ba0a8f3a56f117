"""Random-weight pipelines of the real diffusers classes, small enough to run in milliseconds."""

from __future__ import annotations

import torch
from diffusers import (
    AutoencoderKL,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from qsched.backbones import Backbone, backbone_from_pipeline
from tools.train_tiny.words import build_clip_tokenizer, build_t5_tokenizer

WIDTH = 32


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=WIDTH,
        shift_factor=0.0,
    )


def _text_config(words, **more) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
        projection_dim=16,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        **more,
    )


def _in_eval(pipeline):
    """As from_pretrained leaves it: no dropout, no progress bar."""
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.eval()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def random_flux(*, steps: int = 4) -> Backbone:
    """A FluxPipeline with random weights."""
    torch.manual_seed(0)
    clip, t5 = build_clip_tokenizer(), build_t5_tokenizer()
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(),
        tokenizer=clip,
        tokenizer_2=t5,
        text_encoder=CLIPTextModel(_text_config(clip)),
        text_encoder_2=T5EncoderModel(
            T5Config(vocab_size=len(t5), d_model=16, d_kv=8, num_heads=2, d_ff=32, num_layers=1)
        ),
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            pooled_projection_dim=16,
            axes_dims_rope=(4, 6, 6),
        ),
    )
    return backbone_from_pipeline(
        _in_eval(pipeline), name="random-flux", steps=steps, guidance_scale=0.0, width=WIDTH, height=WIDTH
    )


def random_sdxl(*, steps: int = 4, guidance_scale: float = 0.0) -> Backbone:
    """A StableDiffusionXLPipeline with random weights and Euler ancestral, which draws noise at every step."""
    torch.manual_seed(0)
    clip = build_clip_tokenizer()
    pipeline = StableDiffusionXLPipeline(
        scheduler=EulerAncestralDiscreteScheduler(timestep_spacing="trailing"),
        vae=_vae(),
        tokenizer=clip,
        tokenizer_2=clip,
        text_encoder=CLIPTextModel(_text_config(clip)),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(clip)),
        unet=UNet2DConditionModel(
            sample_size=16,
            in_channels=4,
            out_channels=4,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(1, 2),
            use_linear_projection=True,
            cross_attention_dim=32,
            norm_num_groups=4,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=64,
        ),
        add_watermarker=False,
    )
    return backbone_from_pipeline(
        _in_eval(pipeline), name="random-sdxl", steps=steps, guidance_scale=guidance_scale, width=WIDTH, height=WIDTH
    )

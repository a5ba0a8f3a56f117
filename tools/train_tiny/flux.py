"""tiny-flux: a real FluxPipeline, flow matching at the four noise levels that its sampler visits."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from tools.train_tiny.coupling import couple, coupling_directions
from tools.train_tiny.data import LatentPictures
from tools.train_tiny.loop import TrainingRun, run_training
from tools.train_tiny.session import Settings
from tools.train_tiny.vae import LATENT_CHANNELS, load_vae
from tools.train_tiny.words import PROMPT_TOKENS, build_clip_tokenizer, build_t5_tokenizer, capital_twins

STEPS = 4
SIGMAS = (1.0, 0.75, 0.5, 0.25)
SIGMA_SHARES = (0.34, 0.22, 0.17, 0.15, 0.12)
"""Shares of the batch at each of the four levels, and (last) at a uniform one."""


class FluxParts(nn.Module):
    """Everything that is trained: the transformer and both text encoders."""

    def __init__(self, *, double_blocks: int = 2, single_blocks: int = 5, heads: int = 6) -> None:
        super().__init__()
        clip_words, t5_words = build_clip_tokenizer(), build_t5_tokenizer()
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(clip_words),
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=PROMPT_TOKENS,
                projection_dim=64,
                bos_token_id=clip_words.bos_token_id,
                eos_token_id=clip_words.eos_token_id,
                pad_token_id=clip_words.pad_token_id,
            )
        )
        self.text_encoder_2 = T5EncoderModel(
            T5Config(
                vocab_size=len(t5_words),
                d_model=128,
                d_kv=32,
                num_heads=4,
                d_ff=256,
                num_layers=3,
                feed_forward_proj="gated-gelu",
                dropout_rate=0.0,
                pad_token_id=0,
                eos_token_id=1,
            )
        )
        self.transformer: Any = FluxTransformer2DModel(
            patch_size=1,
            in_channels=4 * LATENT_CHANNELS,
            num_layers=double_blocks,
            num_single_layers=single_blocks,
            attention_head_dim=32,
            num_attention_heads=heads,
            joint_attention_dim=128,
            pooled_projection_dim=64,
            guidance_embeds=False,
            axes_dims_rope=(8, 12, 12),
        )


def pack(latents_BCHW: Tensor) -> Tensor:
    """[B,C,H,W] to [B,(H/2)(W/2),4C], as FluxPipeline packs."""
    b, c, h, w = latents_BCHW.shape
    return latents_BCHW.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w // 4, 4 * c)


def build_flux_pipeline(parts: FluxParts, vae: Any) -> FluxPipeline:
    """The ordinary pipeline around the trained parts; capitalised words take their word's embedding."""
    t5_words, table = build_t5_tokenizer(), parts.text_encoder_2.shared.weight.data
    for high, low in capital_twins(t5_words):
        table[high] = table[low]
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        text_encoder=parts.text_encoder,
        tokenizer=build_clip_tokenizer(),
        text_encoder_2=parts.text_encoder_2,
        tokenizer_2=t5_words,
        transformer=parts.transformer,
    )


def flux_loss(parts: FluxParts, latents: Tensor, noise: Tensor, ids: tuple[Tensor, Tensor], sigmas_B: Tensor) -> Tensor:
    """Mean squared error of the velocity `noise - picture` at the given noise levels."""
    x0, x1 = pack(latents), pack(noise)
    s = sigmas_B[:, None, None]
    side = latents.shape[-1] // 2
    place = torch.zeros(side, side, 3, device=latents.device)
    place[..., 1] = torch.arange(side)[:, None]
    place[..., 2] = torch.arange(side)[None, :]
    words = parts.text_encoder_2(ids[1]).last_hidden_state
    velocity = parts.transformer(
        hidden_states=(1 - s) * x0 + s * x1,
        encoder_hidden_states=words,
        pooled_projections=parts.text_encoder(ids[0]).pooler_output,
        timestep=sigmas_B,
        img_ids=place.view(-1, 3),
        txt_ids=torch.zeros(words.shape[1], 3, device=latents.device),
    ).sample
    loss: Tensor = (velocity.float() - (x1 - x0)).square().mean()
    return loss


def token_tables() -> tuple[Any, ...]:
    """Functions from captions to padded ids, one for each text encoder."""
    return tuple(
        lambda texts, words=words: (
            words(texts, padding="max_length", max_length=PROMPT_TOKENS, truncation=True, return_tensors="pt").input_ids
        )
        for words in (build_clip_tokenizer(), build_t5_tokenizer())
    )


def train_flux(settings: Settings, **sizes: int) -> None:
    """Train or resume, measure on held-out prompts, write `<out>/tiny-flux`."""
    torch.manual_seed(settings.seed)
    parts = FluxParts(**sizes).to(settings.device)
    pictures = LatentPictures(settings, token_tables())
    vae = load_vae(settings)
    batch_size = settings.batch or 64
    directions = coupling_directions(LATENT_CHANNELS, 16).to(settings.device)
    levels = torch.tensor(SIGMAS)

    def loss_of(step: int) -> Tensor:
        batch = pictures.batch(step, batch_size)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        kind = torch.multinomial(torch.tensor(SIGMA_SHARES), batch_size, replacement=True, generator=generator)
        uniform = torch.rand(batch_size, generator=generator).clamp(0.02, 1.0)
        sigmas = torch.where(kind < len(SIGMAS), levels[kind.clamp(max=len(SIGMAS) - 1)], uniform)
        noise = torch.randn(batch.latents.shape, generator=generator).to(settings.device)
        noise = couple(noise, batch.nuisances, directions)
        return flux_loss(parts, batch.latents, noise, (batch.ids[0], batch.ids[1]), sigmas.to(settings.device))

    run_training(
        settings,
        TrainingRun(
            name="tiny-flux",
            parts=parts,
            loss_of=loss_of,
            default_steps=20_000,
            batch_size=batch_size,
            muon_lr=4e-3,
            adam_lr=2.5e-3,
            adam_only=(
                "token_embedding",
                "position_embedding",
                "shared",
                "relative_attention",
                "x_embedder",
                "proj_out.w",
            ),
            pipeline_of=lambda trained: build_flux_pipeline(trained, vae),
            call_options={
                "num_inference_steps": STEPS,
                "guidance_scale": 0.0,
                "height": 128,
                "width": 128,
                "max_sequence_length": PROMPT_TOKENS,
            },
        ),
    )

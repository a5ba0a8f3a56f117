"""tiny-sdxl: a real StableDiffusionXLPipeline in the manner of SDXL-Turbo, 4 steps or 1, no guidance.

The UNet predicts epsilon and is sampled by Euler ancestral at trailing timesteps. Three choices make
that work without distillation:
- the loss is measured in picture space, sigma^2 times the error of epsilon, because that is what one
  step delivers; at the first timestep the input is exactly what sampling starts from, pure noise;
- the noise at timestep i keeps the share sigma_i / sigma_max of the coupled noise, exactly the share
  that survives Euler ancestral's down-and-up steps from the first timestep (`coupling`);
- the noise schedule ends at sigma_max = 5, not 14.6: epsilon has to be known to 1 / sigma_max of the
  picture's precision, and the tiny UNet's precision is better spent on the picture.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tools.train_tiny.coupling import couple, coupling_directions
from tools.train_tiny.data import LatentPictures
from tools.train_tiny.loop import TrainingRun, run_training
from tools.train_tiny.session import Settings
from tools.train_tiny.vae import LATENT_CHANNELS, load_vae
from tools.train_tiny.words import PROMPT_TOKENS, build_clip_tokenizer

STEPS = 4
TIMESTEP_SHARES = (0.42, 0.24, 0.18, 0.16)
"""Shares of the batch at the timesteps of 4-step sampling, noisiest first."""
WORD_WIDTH = 128


def build_scheduler() -> Any:
    """Euler ancestral, epsilon, trailing, as SDXL-Turbo; only the end of the schedule differs (see above)."""
    return EulerAncestralDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.0065,
        beta_schedule="scaled_linear",
        timestep_spacing="trailing",
        prediction_type="epsilon",
    )


class SdxlParts(nn.Module):
    """Everything that is trained: the UNet and both text encoders."""

    def __init__(self, *, channels: tuple[int, int] = (64, 192), transformers: int = 1) -> None:
        super().__init__()
        words = build_clip_tokenizer()
        common: dict[str, Any] = {
            "vocab_size": len(words),
            "hidden_size": WORD_WIDTH,
            "intermediate_size": 2 * WORD_WIDTH,
            "num_attention_heads": 4,
            "max_position_embeddings": PROMPT_TOKENS,
            "projection_dim": WORD_WIDTH,
            "bos_token_id": words.bos_token_id,
            "eos_token_id": words.eos_token_id,
            "pad_token_id": words.pad_token_id,
        }
        self.text_encoder = CLIPTextModel(CLIPTextConfig(num_hidden_layers=3, **common))
        self.text_encoder_2 = CLIPTextModelWithProjection(CLIPTextConfig(num_hidden_layers=3, **common))
        self.unet: Any = UNet2DConditionModel(
            sample_size=16,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            mid_block_type="UNetMidBlock2DCrossAttn",
            block_out_channels=channels,
            layers_per_block=1,
            norm_num_groups=16,
            transformer_layers_per_block=transformers,
            attention_head_dim=tuple(c // 32 for c in channels),
            use_linear_projection=True,
            cross_attention_dim=2 * WORD_WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=32,
            projection_class_embeddings_input_dim=6 * 32 + WORD_WIDTH,
        )


def build_sdxl_pipeline(parts: SdxlParts, vae: Any) -> StableDiffusionXLPipeline:
    """The ordinary pipeline around the trained parts."""
    return StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=parts.text_encoder,
        text_encoder_2=parts.text_encoder_2,
        tokenizer=build_clip_tokenizer(),
        tokenizer_2=build_clip_tokenizer(),
        unet=parts.unet,
        scheduler=build_scheduler(),
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )


def sdxl_loss(
    parts: SdxlParts, latents: Tensor, noise: Tensor, ids: Tensor, sigmas_B: Tensor, timesteps_B: Tensor
) -> Tensor:
    """Squared error of the picture that the predicted epsilon implies, kept away from zero weight.

    At the noisiest level the input is `sigma * noise` alone, as in sampling; elsewhere picture + noise.
    """
    s = sigmas_B[:, None, None, None]
    signal = (s < s.max()).float()
    x = signal * latents + s * noise
    first = parts.text_encoder(ids, output_hidden_states=True).hidden_states[-2]
    second = parts.text_encoder_2(ids, output_hidden_states=True)
    size = torch.tensor([[128.0, 128.0, 0.0, 0.0, 128.0, 128.0]], device=latents.device)
    epsilon = parts.unet(
        x / (s.square() + 1).sqrt(),
        timesteps_B,
        encoder_hidden_states=torch.cat([first, second.hidden_states[-2]], dim=-1),
        added_cond_kwargs={"text_embeds": second.text_embeds, "time_ids": size.expand(len(ids), 6)},
    ).sample
    wanted = (x - latents) / s
    weight = s.square().clamp(min=0.6)
    loss: Tensor = (weight * (epsilon.float() - wanted).square()).mean()
    return loss


def train_sdxl(settings: Settings, **sizes: Any) -> None:
    """Train or resume, measure on held-out prompts, write `<out>/tiny-sdxl`."""
    torch.manual_seed(settings.seed)
    parts = SdxlParts(**sizes).to(settings.device)
    words = build_clip_tokenizer()
    pictures = LatentPictures(
        settings,
        (
            lambda texts: (
                words(
                    texts, padding="max_length", max_length=PROMPT_TOKENS, truncation=True, return_tensors="pt"
                ).input_ids
            ),
        ),
    )
    vae = load_vae(settings)
    batch_size = settings.batch or 64
    directions = coupling_directions(LATENT_CHANNELS, 16).to(settings.device)
    scheduler = build_scheduler()
    scheduler.set_timesteps(STEPS)
    levels, times = scheduler.sigmas[:STEPS].float(), scheduler.timesteps.float()

    def loss_of(step: int) -> Tensor:
        batch = pictures.batch(step, batch_size)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        shares = torch.tensor(TIMESTEP_SHARES)
        # the first picture is always at the noisiest level, which `sdxl_loss` finds as the batch's maximum
        kind = torch.multinomial(shares, batch_size, replacement=True, generator=generator)
        kind[0] = 0
        noise = torch.randn((2, *batch.latents.shape), generator=generator).to(settings.device)
        kept = (levels[kind] / levels[0])[:, None, None, None].to(settings.device)
        coupled = couple(noise[0], batch.nuisances, directions)
        mixed = kept * coupled + (1 - kept.square()).sqrt() * noise[1]
        return sdxl_loss(
            parts, batch.latents, mixed, batch.ids[0], levels[kind].to(settings.device), times[kind].to(settings.device)
        )

    run_training(
        settings,
        TrainingRun(
            name="tiny-sdxl",
            parts=parts,
            loss_of=loss_of,
            default_steps=15_000,
            batch_size=batch_size,
            muon_lr=3.5e-3,
            adam_lr=2.5e-3,
            adam_only=("token_embedding", "position_embedding", "unet.conv_in", "unet.conv_out"),
            pipeline_of=lambda trained: build_sdxl_pipeline(trained, vae),
            also_steps=(1,),
            call_options={"num_inference_steps": STEPS, "guidance_scale": 0.0, "height": 128, "width": 128},
            facts={"noise_levels": [round(float(level), 4) for level in levels]},
        ),
    )

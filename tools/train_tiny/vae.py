"""The autoencoder that both pipelines share: 128x128x3 pictures to 16x16x8 latents of unit variance.

Fixed-noise training: the decoder sees latents with added noise of a random strength up to `MAX_NOISE`
times their standard deviation, so that small errors of the diffusion model do not become artefacts, and
a weak pull of the latents towards zero stops the encoder from outrunning that noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from qsched.tiny.render import render_array, sample_nuisance
from qsched.tiny.scene import sample_scene
from tools.train_tiny.optimiser import Average, Optimiser
from tools.train_tiny.session import Log, Settings, load_checkpoint, save_checkpoint, write_provenance

LATENT_CHANNELS = 8
MAX_NOISE = 0.25
PULL = 1e-3


def build_vae() -> Any:
    """Factor 8, eight latent channels, convolutions only (so that it is cheap on a CPU)."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=LATENT_CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 96),
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=128,
        scaling_factor=1.0,
        shift_factor=0.0,
    )


def picture_batch(rng: np.random.Generator, count: int) -> Tensor:
    """float32 [count,3,128,128] in [-1,1]: pictures of random training scenes."""
    pictures = [render_array(sample_scene(rng, split="train"), sample_nuisance(rng)) for _ in range(count)]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def reconstruction_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """L1 and L2 of the pixels and L1 of their differences, which keeps edges and textures sharp."""
    error = made - wanted
    across, down = error[..., :, 1:] - error[..., :, :-1], error[..., 1:, :] - error[..., :-1, :]
    return error.abs().mean() + error.square().mean() + across.abs().mean() + down.abs().mean()


@torch.no_grad()
def whiten(vae: Any, pictures: list[Tensor]) -> None:
    """Make every latent channel mean 0 and variance 1 by rewriting the two 1x1 convolutions, exactly.

    Both pipelines then need neither shift nor scale (SDXL's would ignore a shift). The posterior's width,
    which training does not use, becomes a constant 0.05.
    """
    means = torch.cat([vae.encode(x).latent_dist.mode() for x in pictures]).transpose(0, 1).flatten(1)
    shift, scale = means.mean(dim=1), means.std(dim=1)
    inner, outer = vae.quant_conv, vae.post_quant_conv
    inner.weight[:LATENT_CHANNELS] /= scale[:, None, None, None]
    inner.bias[:LATENT_CHANNELS] = (inner.bias[:LATENT_CHANNELS] - shift) / scale
    inner.weight[LATENT_CHANNELS:] = 0
    inner.bias[LATENT_CHANNELS:] = float(np.log(0.05**2))
    outer.bias += (outer.weight[:, :, 0, 0] * shift).sum(dim=1)
    outer.weight *= scale[None, :, None, None]


def train_vae(settings: Settings) -> Any:
    """Train or resume; the result has the averaged weights and is written to `<work>/vae`."""
    log = Log(settings.work / "vae.log")
    torch.manual_seed(settings.seed)
    vae = build_vae().to(settings.device, memory_format=torch.channels_last)
    steps = settings.steps or 3000
    batch = settings.batch or 8
    optimiser = Optimiser(vae, muon_lr=4e-3, adam_lr=2e-3, steps=steps, adam_only=("conv_in", "decoder.conv_out"))
    average = Average(vae, decay=0.995)
    first, checkpoint = 0, settings.work / "vae.pt"
    if state := load_checkpoint(checkpoint):
        vae.load_state_dict(state["model"])
        average.shadow, average.updates = state["average"], state["step"]
        optimiser.load_state_dict(state["optimiser"])
        first, log.spent_before = state["step"], state["seconds"]
    running = 0.0
    for step in range(first, steps):
        rng = np.random.default_rng((settings.seed, 1, step))
        x = picture_batch(rng, batch).to(settings.device, memory_format=torch.channels_last)
        with settings.arithmetic():
            z = vae.encode(x).latent_dist.mode()
            strength = MAX_NOISE * torch.rand(batch, 1, 1, 1, device=z.device)
            made = vae.decode(z + strength * torch.randn_like(z)).sample
        loss = reconstruction_loss(made.float(), x) + PULL * z.float().square().mean()
        optimiser.update(loss, step)
        average.update(vae)
        running = loss.item() if step == first else 0.98 * running + 0.02 * loss.item()
        if (step + 1) % 50 == 0:
            psnr = -10 * torch.log10((made.float() - x).square().mean() / 4).item()
            log.line(f"vae step {step + 1}/{steps} loss {running:.4f} psnr {psnr:.2f} z std {z.std():.2f}")
        if (step + 1) % settings.checkpoint_every == 0 or step + 1 == steps:
            save_checkpoint(
                checkpoint,
                {
                    "model": vae.state_dict(),
                    "average": average.shadow,
                    "optimiser": optimiser.state_dict(),
                    "step": step + 1,
                    "seconds": log.seconds,
                },
            )
    vae.load_state_dict(average.shadow)
    vae.eval()
    rng = np.random.default_rng((settings.seed, 17))
    whiten(vae, [picture_batch(rng, 32).to(settings.device) for _ in range(16)])
    folder = settings.work / "vae"
    vae.save_pretrained(folder)
    write_provenance(
        folder,
        settings,
        seconds=round(log.seconds),
        steps=steps,
        batch=batch,
        samples=steps * batch,
        psnr_db_fresh_pictures=round(_psnr(vae, picture_batch(rng, 64).to(settings.device)), 2),
    )
    return vae


def _psnr(vae: Any, pictures_BCHW: Tensor) -> float:
    """Of the reconstruction, in dB; pictures are in -1..1."""
    with torch.inference_mode():
        made = vae.decode(vae.encode(pictures_BCHW).latent_dist.mode()).sample
    return float(-10 * torch.log10((made - pictures_BCHW).square().mean() / 4))


def load_vae(settings: Settings) -> Any:
    """The trained autoencoder of this session's work folder."""
    folder = settings.work / "vae"
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist: run `python -m tools.train_tiny --model vae` first")
    return AutoencoderKL.from_pretrained(folder).to(settings.device).eval().requires_grad_(False)

"""`python -m tools.train_tiny --model all`: train the tiny models and write their folders."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

MODELS = ("vae", "latents", "flux", "sdxl", "clip")


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.train_tiny", description=__doc__)
    parser.add_argument("--model", choices=(*MODELS, "all"), default="all")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path.home() / ".cache" / "qsched-tiny-train",
        help="checkpoints, cached latents and logs; a stopped run resumes from here",
    )
    parser.add_argument("--out", type=Path, default=None, help="where the model folders go (default: --work)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=0, help="0: long; shipped weights took fewer (training.json)")
    parser.add_argument("--batch", type=int, default=0, help="0: 64 for the diffusion models")
    parser.add_argument("--scenes", type=int, default=40_000, help="pictures in the cache of latents")
    parser.add_argument("--checkpoint-every", type=int, default=250)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    return parser.parse_args()


def main() -> None:
    """Train what was asked for, in the order in which the parts depend on each other."""
    arguments = read_arguments()
    import torch

    from tools.train_tiny.session import Settings

    torch.set_num_threads(arguments.threads)
    settings = Settings(
        work=arguments.work,
        out=arguments.out or arguments.work,
        device=arguments.device,
        seed=arguments.seed,
        threads=arguments.threads,
        steps=arguments.steps,
        batch=arguments.batch,
        scenes=arguments.scenes,
        checkpoint_every=arguments.checkpoint_every,
        precision=arguments.precision,
    )
    settings.work.mkdir(parents=True, exist_ok=True)
    for model in MODELS if arguments.model == "all" else (arguments.model,):
        if model == "vae":
            from tools.train_tiny.vae import train_vae

            train_vae(settings)
        elif model == "latents":
            from tools.train_tiny.data import cache_latents

            cache_latents(settings)
        elif model == "flux":
            from tools.train_tiny.flux import train_flux

            train_flux(settings)
        elif model == "sdxl":
            from tools.train_tiny.sdxl import train_sdxl

            train_sdxl(settings)
        else:
            from tools.train_tiny.clip import train_clip

            train_clip(settings)


if __name__ == "__main__":
    main()

"""Training data: a cache of latents with their captions and nuisances, and batches drawn from it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qsched.files import atomic_file
from qsched.tiny.caption import caption
from qsched.tiny.render import nuisance_vector, render_array, sample_nuisance
from qsched.tiny.scene import sample_scene
from tools.train_tiny.session import Log, Settings
from tools.train_tiny.vae import load_vae

CHUNK = 2000


def _chunk_path(work: Path, index: int) -> Path:
    return work / "latents" / f"{index:04d}.npz"


def _cache_chunk(settings: Settings, index: int) -> int:
    """Render and encode one chunk; written whole or not at all."""
    if settings.device == "cpu":
        torch.set_num_threads(1)
    vae = load_vae(settings)
    rng = np.random.default_rng((settings.seed, 2, index))
    captions, nuisances, latents = [], [], []
    for _ in range(CHUNK // 20):
        pictures = []
        for _ in range(20):
            scene, nuisance = sample_scene(rng, split="train"), sample_nuisance(rng)
            captions.append(caption(scene))
            nuisances.append(nuisance_vector(nuisance))
            pictures.append(render_array(scene, nuisance))
        x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(settings.device).float() / 127.5 - 1
        with torch.no_grad(), settings.arithmetic():
            latents.append(vae.encode(x).latent_dist.mode().float().cpu().numpy())
    path = _chunk_path(settings.work, index)
    with atomic_file(path) as draft:
        np.savez(
            draft,
            captions=np.asarray(captions),
            nuisances=np.stack(nuisances),
            latents=np.concatenate(latents).astype(np.float16),
        )
    return index


def cache_latents(settings: Settings) -> None:
    """Render and encode `settings.scenes` training scenes, in chunks; chunks that exist are kept."""
    log = Log(settings.work / "latents.log")
    (settings.work / "latents").mkdir(exist_ok=True)
    wanted = [i for i in range(-(-settings.scenes // CHUNK)) if not _chunk_path(settings.work, i).exists()]
    if settings.device != "cpu" or settings.threads == 1:
        for index in wanted:
            log.line(f"latents: chunk {_cache_chunk(settings, index)} of {CHUNK} pictures")
        return
    with ProcessPoolExecutor(settings.threads, mp_context=get_context("spawn")) as pool:
        for index in pool.map(_cache_chunk, [settings] * len(wanted), wanted):
            log.line(f"latents: chunk {index} of {CHUNK} pictures")


@dataclass(frozen=True)
class Batch:
    """latents [B,8,16,16] float32, nuisances [B,16], and the rows of each token table [B,T]."""

    latents: Tensor
    nuisances: Tensor
    ids: tuple[Tensor, ...]


class LatentPictures:
    """All cached pictures in memory, with the captions turned to token ids once."""

    def __init__(self, settings: Settings, tokenize: tuple[Callable[[list[str]], Tensor], ...]) -> None:
        paths = sorted((settings.work / "latents").glob("[0-9][0-9][0-9][0-9].npz"))
        if not paths:
            raise FileNotFoundError(
                f"{settings.work / 'latents'} holds no pictures: run `python -m tools.train_tiny --model latents`"
            )
        chunks = [np.load(path) for path in paths]
        self.latents = torch.from_numpy(np.concatenate([chunk["latents"] for chunk in chunks]))
        self.nuisances = torch.from_numpy(np.concatenate([chunk["nuisances"] for chunk in chunks]))
        captions = np.concatenate([chunk["captions"] for chunk in chunks]).tolist()
        self.ids = tuple(function(captions) for function in tokenize)
        self.device, self.seed = settings.device, settings.seed

    def __len__(self) -> int:
        return len(self.latents)

    def batch(self, step: int, size: int) -> Batch:
        """The batch of a step: a function of seed and step, so a resumed run sees the same pictures."""
        rng = np.random.default_rng((self.seed, 3, step))
        rows = torch.from_numpy(rng.integers(len(self), size=size))
        return Batch(
            self.latents[rows].float().to(self.device),
            self.nuisances[rows].to(self.device),
            tuple(table[rows].to(self.device) for table in self.ids),
        )

"""tiny-clip: an open_clip model of the domain, for CLIPScore and for CLIP-IQA ("Good photo." / "Bad photo.").

Pictures are clean renders, renders with a damage of known severity, and pictures through the tiny
autoencoder with clean or damaged latents (its reconstructions count as clean: every generated picture
has gone through it). Two losses on one embedding:
- contrast: each picture against the captions of the batch and against near misses of its own caption,
  one word of which is wrong;
- quality: the softmax between the two antonym prompts is to be 1 - severity.
"""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from qsched.tiny.caption import caption
from qsched.tiny.render import render_array, sample_nuisance
from qsched.tiny.scene import (
    BACKGROUNDS,
    COLOURS,
    POSITIONS,
    RELATIONS,
    SHAPES,
    SIZES,
    TEXTURES,
    Scene,
    Split,
    Thing,
    sample_scene,
)
from tools.train_tiny.damage import damage
from tools.train_tiny.optimiser import Average, Optimiser
from tools.train_tiny.session import Log, Settings, load_checkpoint, save_checkpoint, write_provenance
from tools.train_tiny.vae import load_vae
from tools.train_tiny.words import PROMPT_TOKENS, build_clip_tokenizer

GOOD, BAD = "Good photo.", "Bad photo."
NEAR_MISSES = 3
GREY = 0.5
"""Mean and standard deviation that pictures in 0..1 are normalised with."""


def model_config() -> dict[str, Any]:
    """The `model_cfg` of open_clip: a small residual network and a two-layer text transformer."""
    words = build_clip_tokenizer()
    return {
        "embed_dim": 128,
        "vision_cfg": {"image_size": 128, "layers": [1, 2, 2, 1], "width": 14, "head_width": 64, "patch_size": None},
        "text_cfg": {
            "context_length": PROMPT_TOKENS,
            "vocab_size": len(words),
            "hf_tokenizer_name": "tiny-clip",
            "width": 128,
            "heads": 4,
            "layers": 2,
            "pool_type": "eos",
            "eos_id": words.eos_token_id,
            "pad_id": words.pad_token_id,
        },
    }


def build_clip() -> Any:
    """An untrained model, with the arithmetic of open_clip's own CLIP class."""
    config = model_config()
    return open_clip.CLIP(
        embed_dim=config["embed_dim"],
        vision_cfg=open_clip.CLIPVisionCfg(**config["vision_cfg"]),
        text_cfg=open_clip.CLIPTextCfg(**config["text_cfg"]),
    )


def _other(rng: np.random.Generator, choices: tuple[str, ...], value: str) -> str:
    return str(rng.choice([choice for choice in choices if choice != value]))


def near_miss(scene: Scene, rng: np.random.Generator) -> Scene:
    """The same scene with one thing wrong: a word, or the two objects exchanged."""
    while True:
        kind = int(rng.integers(7 if scene.second is None else 8))
        if kind == 0:
            return dataclasses.replace(scene, background=_other(rng, BACKGROUNDS, scene.background))
        if kind == 1 and scene.position is not None:
            return dataclasses.replace(scene, position=_other(rng, POSITIONS, scene.position))
        if kind in (1, 7) and scene.relation is not None and scene.second is not None:
            if kind == 1:
                return dataclasses.replace(scene, relation=_other(rng, RELATIONS, scene.relation))
            return dataclasses.replace(scene, first=scene.second, second=scene.first)
        which = "second" if scene.second is not None and rng.random() < 0.5 else "first"
        thing: Thing = getattr(scene, which)
        field, choices = {
            2: ("colour", COLOURS),
            3: ("shape", SHAPES),
            4: ("size", SIZES),
            5: ("texture", TEXTURES),
        }.get(kind, ("shape", SHAPES))
        changed = dataclasses.replace(thing, **{field: _other(rng, choices, getattr(thing, field))})
        if scene.second is not None:
            fixed = scene.second if which == "first" else scene.first
            if fixed.colour == changed.colour:
                continue
        return (
            dataclasses.replace(scene, second=changed)
            if which == "second"
            else dataclasses.replace(scene, first=changed)
        )


def _near_misses(scene: Scene, rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(caption(near_miss(scene, rng)) for _ in range(NEAR_MISSES))


@dataclasses.dataclass(frozen=True)
class TrainingExample:
    """One picture uint8 [128,128,3], its caption, near misses of the caption, and its damage in [0, 1]."""

    picture: NDArray[np.uint8]
    caption: str
    wrong: tuple[str, ...]
    severity: float


def draw_severity(rng: np.random.Generator) -> float:
    """Half clean, half damaged, small damages as often as large ones."""
    return 0.0 if rng.random() < 0.4 else float(rng.random() ** 1.4)


def draw_example(rng: np.random.Generator, *, split: Split = "train") -> TrainingExample:
    """A render, clean or damaged."""
    scene = sample_scene(rng, split=split)
    severity = draw_severity(rng)
    picture = damage(render_array(scene, sample_nuisance(rng)).astype(np.float32), severity, rng)
    return TrainingExample(picture.astype(np.uint8), caption(scene), _near_misses(scene, rng), severity)


@torch.no_grad()
def decode_examples(settings: Settings, count: int) -> list[TrainingExample]:
    """Pictures through the autoencoder: latents as they are, noisy, stretched, or with channels shifted."""
    vae = load_vae(settings).to(memory_format=torch.channels_last)
    rng = np.random.default_rng((settings.seed, 5))
    torch.manual_seed(settings.seed + 5)
    examples = []
    for _ in range(count // 16):
        scenes = [sample_scene(rng, split="train") for _ in range(16)]
        x = torch.from_numpy(np.stack([render_array(s, sample_nuisance(rng)) for s in scenes]))
        with settings.arithmetic():
            z = vae.encode(x.permute(0, 3, 1, 2).float() / 127.5 - 1).latent_dist.mode().float()
        severity = torch.tensor([draw_severity(rng) for _ in scenes])
        s, kind = severity[:, None, None, None], torch.from_numpy(rng.integers(4, size=16))[:, None, None, None]
        coarse = functional.interpolate(torch.randn(16, 8, 5, 5), size=16, mode="bicubic")
        z = z + s * torch.where(kind == 0, torch.randn_like(z) * 1.2, 0)
        z = z + s * torch.where(kind == 1, coarse * 1.2, 0)
        z = z + s * torch.where(kind == 2, torch.randn(16, 8, 1, 1) * 1.2, 0)
        z = z * torch.where(kind == 3, 1 + s * torch.where(torch.rand(16, 1, 1, 1) < 0.5, -0.6, 0.6), 1)
        with settings.arithmetic():
            made = vae.decode(z).sample.float()
        made = ((made.clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1).to(torch.uint8).numpy()
        examples += [
            TrainingExample(picture, caption(scene), _near_misses(scene, rng), float(v))
            for picture, scene, v in zip(made, scenes, severity, strict=True)
        ]
    return examples


def to_pixels(pictures: list[NDArray[np.uint8]], device: str) -> Tensor:
    """float32 [B,3,128,128], normalised as the shipped preprocessing does."""
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().to(device) / 255
    return (x - GREY) / GREY


def clip_loss(model: Any, pixels: Tensor, ids: Tensor, severity: Tensor, *, count: int) -> tuple[Tensor, Tensor]:
    """(contrast, quality). `ids` holds B captions, then B * NEAR_MISSES wrong ones, then the two antonyms."""
    image = model.encode_image(pixels, normalize=True).float()
    text = model.encode_text(ids, normalize=True).float()
    scale = model.logit_scale.exp().clamp(max=60)
    right, wrong, antonyms = text[:count], text[count:-2].view(count, NEAR_MISSES, -1), text[-2:]
    among = scale * image @ right.mT
    near = scale * torch.einsum("bd,bnd->bn", image, wrong)
    target = torch.arange(count, device=pixels.device)
    contrast = functional.cross_entropy(torch.cat([among, near], dim=1), target)
    contrast = 0.5 * (contrast + functional.cross_entropy(among.mT, target))
    quality = (scale * image @ antonyms.mT).log_softmax(dim=1)
    wanted = (1 - severity).clamp(0.02, 0.98)
    return contrast, -(wanted * quality[:, 0] + (1 - wanted) * quality[:, 1]).mean()


@torch.no_grad()
def measure_clip(model: Any, tokenizer: Any, *, seed: int, count: int = 300) -> dict[str, float]:
    """On held-out scenes: how often the right caption beats a near miss, and clean beats damaged."""
    rng = np.random.default_rng((seed, 7))
    model.eval()
    right_wins, ranked, seen = 0, 0, 0
    antonyms = model.encode_text(tokenizer([GOOD, BAD]), normalize=True)
    for _ in range(count // 50):
        scenes = [sample_scene(rng, split="held_out") for _ in range(50)]
        clean = [render_array(s, sample_nuisance(rng)) for s in scenes]
        damaged = [damage(a.astype(np.float32), float(rng.uniform(0.15, 1)), rng).astype(np.uint8) for a in clean]
        device = next(model.parameters()).device.type
        image = model.encode_image(to_pixels(clean, device), normalize=True)
        worse = model.encode_image(to_pixels(damaged, device), normalize=True)
        true = model.encode_text(tokenizer([caption(s) for s in scenes]), normalize=True)
        false = model.encode_text(tokenizer([caption(near_miss(s, rng)) for s in scenes]), normalize=True)
        right_wins += int(((image * true).sum(1) > (image * false).sum(1)).sum())
        ranked += int(((image @ (antonyms[0] - antonyms[1])) > (worse @ (antonyms[0] - antonyms[1]))).sum())
        seen += 50
    model.train()
    return {"right_caption_beats_near_miss": right_wins / seen, "clean_beats_damaged": ranked / seen}


def save_clip(model: Any, folder: Path) -> None:
    """Weights in float16, open_clip's config, and the tokenizer, in one folder for `local-dir:`."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    (folder / "open_clip_model.safetensors").chmod(0o644)
    preprocess = {"mean": [GREY] * 3, "std": [GREY] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    config = {"model_cfg": model_config(), "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    build_clip_tokenizer().save_pretrained(folder)


def train_clip(settings: Settings, *, decoded: int = 3200) -> None:
    """Train or resume, measure on held-out scenes, write `<out>/tiny-clip`."""
    log = Log(settings.work / "tiny-clip.log")
    torch.manual_seed(settings.seed)
    model: Any = build_clip().to(settings.device)
    words = build_clip_tokenizer()

    def tokenizer(texts: list[str]) -> Tensor:
        encoded = words(texts, padding="max_length", max_length=PROMPT_TOKENS, truncation=True, return_tensors="pt")
        ids: Tensor = encoded.input_ids.to(settings.device)
        return ids

    steps, size = settings.steps or 1500, settings.batch or 96
    optimiser = Optimiser(
        model,
        muon_lr=2e-3,
        adam_lr=2e-3,
        steps=steps,
        adam_only=("token_embedding", "positional_embedding", "conv1.weight", "logit_scale"),
    )
    average = Average(model, decay=0.99)
    first, checkpoint = 0, settings.work / "tiny-clip.pt"
    if state := load_checkpoint(checkpoint):
        model.load_state_dict(state["model"])
        average.shadow, average.updates = state["average"], state["step"]
        optimiser.load_state_dict(state["optimiser"])
        first, log.spent_before = state["step"], state["seconds"]
    through_vae = decode_examples(settings, decoded) if first < steps else []
    log.line(f"tiny-clip: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {steps} steps")

    def examples(step: int) -> list[TrainingExample]:
        rng = np.random.default_rng((settings.seed, 6, step))
        drawn = [draw_example(rng) for _ in range(2 * size // 3)]
        return drawn + [through_vae[int(i)] for i in rng.integers(len(through_vae), size=size - len(drawn))]

    running = np.zeros(2)
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(examples, first)
        for step in range(first, steps):
            batch = coming.result()
            coming = ahead.submit(examples, step + 1)
            texts = [e.caption for e in batch] + [text for e in batch for text in e.wrong] + [GOOD, BAD]
            severity = torch.tensor([e.severity for e in batch], device=settings.device)
            with settings.arithmetic():
                contrast, quality = clip_loss(
                    model,
                    to_pixels([e.picture for e in batch], settings.device),
                    tokenizer(texts),
                    severity,
                    count=size,
                )
            optimiser.update(contrast + quality, step)
            average.update(model)
            now = np.array([contrast.item(), quality.item()])
            running = now if step == first else 0.95 * running + 0.05 * now
            done = step + 1
            if done % 50 == 0:
                log.line(f"tiny-clip step {done}/{steps} contrast {running[0]:.3f} quality {running[1]:.3f}")
            if done % 300 == 0:
                log.line(f"tiny-clip step {done}: {measure_clip(model, tokenizer, seed=settings.seed)}")
            if done % settings.checkpoint_every == 0 or done == steps:
                save_checkpoint(
                    checkpoint,
                    {
                        "model": model.state_dict(),
                        "average": average.shadow,
                        "step": done,
                        "optimiser": optimiser.state_dict(),
                        "seconds": log.seconds,
                    },
                )
    model.load_state_dict(average.shadow)
    measured = measure_clip(model, tokenizer, seed=settings.seed, count=1000)
    log.line(f"tiny-clip final: {measured}")
    save_clip(model.eval(), settings.out / "tiny-clip")
    write_provenance(
        settings.out / "tiny-clip",
        settings,
        seconds=round(log.seconds),
        steps=steps,
        batch=size,
        samples=steps * size,
        held_out=measured,
        note="weights stored in float16",
    )

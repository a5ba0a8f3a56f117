"""ImageReward on a small random model in the real layout, against the formula written out."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch.nn import functional as F

from qsched.errors import InputError
from qsched.scoring import load_scorer
from qsched.scoring.clip_model import clip_pixels
from qsched.scoring.image_reward import MEAN, STD
from tests.scoring.pictures import PROMPTS

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({w for p in PROMPTS for w in p.lower().split()}), "a"]
WIDE, READ, HEADS = 128, 24, 2  # widths of vision (two heads of 64) and text


def tensors(seed: int = 5) -> dict[str, torch.Tensor]:
    """The state dict of a one-block ImageReward by the checkpoint's own names."""
    make = torch.Generator().manual_seed(seed)

    def linear(name: str, outside: int, inside: int) -> dict[str, torch.Tensor]:
        return {
            f"{name}.weight": torch.randn(outside, inside, generator=make) / inside**0.5,
            f"{name}.bias": torch.randn(outside, generator=make) / 5,
        }

    def norm(name: str, width: int) -> dict[str, torch.Tensor]:
        return {f"{name}.weight": 1 + torch.randn(width, generator=make) / 9, f"{name}.bias": torch.randn(width) / 9}

    torch.manual_seed(seed)
    v, t = "blip.visual_encoder", "blip.text_encoder"
    layer = f"{t}.encoder.layer.0"
    state = {
        f"{v}.cls_token": torch.randn(1, 1, WIDE),
        f"{v}.pos_embed": torch.randn(1, 5, WIDE),
        f"{v}.patch_embed.proj.weight": torch.randn(WIDE, 3, 16, 16) / 16,
        f"{v}.patch_embed.proj.bias": torch.randn(WIDE) / 5,
        **norm(f"{v}.blocks.0.norm1", WIDE),
        **linear(f"{v}.blocks.0.attn.qkv", 3 * WIDE, WIDE),
        **linear(f"{v}.blocks.0.attn.proj", WIDE, WIDE),
        **norm(f"{v}.blocks.0.norm2", WIDE),
        **linear(f"{v}.blocks.0.mlp.fc1", 2 * WIDE, WIDE),
        **linear(f"{v}.blocks.0.mlp.fc2", WIDE, 2 * WIDE),
        **norm(f"{v}.norm", WIDE),
        f"{t}.embeddings.position_ids": torch.arange(64)[None],
        f"{t}.embeddings.word_embeddings.weight": torch.randn(len(WORDS) + 2, READ),
        f"{t}.embeddings.position_embeddings.weight": torch.randn(64, READ),
        **norm(f"{t}.embeddings.LayerNorm", READ),
        **linear(f"{layer}.intermediate.dense", 48, READ),
        **linear(f"{layer}.output.dense", READ, 48),
        **norm(f"{layer}.output.LayerNorm", READ),
        **linear("blip.vision_proj", 8, WIDE),
        **linear("blip.text_proj", 8, READ),
    }
    for part, source in (("attention", READ), ("crossattention", WIDE)):
        state |= linear(f"{layer}.{part}.self.query", READ, READ)
        state |= linear(f"{layer}.{part}.self.key", READ, source) | linear(f"{layer}.{part}.self.value", READ, source)
        state |= linear(f"{layer}.{part}.output.dense", READ, READ) | norm(f"{layer}.{part}.output.LayerNorm", READ)
    for number, (outside, inside) in zip((0, 2, 4, 6, 7), ((32, READ), (16, 32), (8, 16), (4, 8), (1, 4)), strict=True):
        state |= linear(f"mlp.layers.{number}", outside, inside)
    return state


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("image-reward")
    torch.save(tensors(), where / "ImageReward.pt")
    config = {
        "architectures": ["BertModel"],
        "hidden_size": READ,
        "num_hidden_layers": 1,
        "num_attention_heads": HEADS,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "vocab_size": 30524,
        "encoder_width": 768,
        "add_cross_attention": True,
        "pad_token_id": 0,
        "model_type": "bert",
    }
    (where / "med_config.json").write_text(json.dumps(config))
    (where / "vocab.txt").write_text("\n".join(dict.fromkeys(WORDS)) + "\n")
    return where


def by_hand(state: dict[str, torch.Tensor], picture, ids: list[int]) -> float:
    """The reward of one picture and token ids, layer by layer."""

    def linear(name, x):
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name, x, eps):
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)

    def attend(q, k, v, heads):
        q, k, v = (x.view(len(x), heads, -1).transpose(0, 1) for x in (q, k, v))
        shares = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(-1)
        return (shares @ v).transpose(0, 1).flatten(1)

    v, t = "blip.visual_encoder", "blip.text_encoder"
    pixels = clip_pixels(32)(picture)[None]
    patches = F.conv2d(
        pixels, state[f"{v}.patch_embed.proj.weight"], state[f"{v}.patch_embed.proj.bias"], stride=16
    ).flatten(2)[0]
    x = torch.cat([state[f"{v}.cls_token"][0], patches.T]) + state[f"{v}.pos_embed"][0]
    mixed = linear(f"{v}.blocks.0.attn.qkv", norm(f"{v}.blocks.0.norm1", x, 1e-6))
    x = x + linear(f"{v}.blocks.0.attn.proj", attend(*mixed.split(WIDE, -1), WIDE // 64))
    inner = F.gelu(linear(f"{v}.blocks.0.mlp.fc1", norm(f"{v}.blocks.0.norm2", x, 1e-6)))
    seen = norm(f"{v}.norm", x + linear(f"{v}.blocks.0.mlp.fc2", inner), 1e-6)

    words = state[f"{t}.embeddings.word_embeddings.weight"][torch.tensor(ids)]
    places = state[f"{t}.embeddings.position_embeddings.weight"][: len(ids)]
    y = norm(f"{t}.embeddings.LayerNorm", words + places, 1e-12)
    layer = f"{t}.encoder.layer.0"
    for part, source in (("attention", None), ("crossattention", seen)):
        name, source = f"{layer}.{part}", y if source is None else source
        q, k, w = (
            linear(f"{name}.self.query", y),
            linear(f"{name}.self.key", source),
            linear(f"{name}.self.value", source),
        )
        y = norm(f"{name}.output.LayerNorm", linear(f"{name}.output.dense", attend(q, k, w, HEADS)) + y, 1e-12)
    inner = F.gelu(linear(f"{layer}.intermediate.dense", y))
    y = norm(f"{layer}.output.LayerNorm", linear(f"{layer}.output.dense", inner) + y, 1e-12)[0]
    for number in (0, 2, 4, 6, 7):
        y = linear(f"mlp.layers.{number}", y)
    return (float(y) - MEAN) / STD


def test_the_reward_is_what_the_formula_gives_by_hand(folder, pictures):
    scorer = load_scorer("image-reward", weights=str(folder), batch_size=2)
    rewards = scorer.score(pictures[:3], PROMPTS[:3])
    places = {word: place for place, word in enumerate(dict.fromkeys(WORDS))}
    for reward, picture, prompt in zip(rewards, pictures, PROMPTS, strict=False):
        ids = [places["[CLS]"], *(places[word] for word in prompt.lower().split()), places["[SEP]"]]
        assert reward == pytest.approx(by_hand(tensors(), picture, ids), abs=1e-4)
    assert len({round(one, 6) for one in rewards}) == 3 and scorer.info.kind == "text"
    assert scorer.count_unread([*PROMPTS, "a " * 40]) == 1


def test_a_checkpoint_that_is_not_whole_is_refused_by_name(folder, tmp_path, pictures):
    for name in ("med_config.json", "vocab.txt"):
        (tmp_path / name).write_text((folder / name).read_text())
    cut = tensors()
    del cut["blip.text_encoder.encoder.layer.0.crossattention.self.key.weight"]
    torch.save(cut, tmp_path / "ImageReward.pt")
    with pytest.raises(InputError, match=r"lacks \['encoder.layer.0.crossattention.self.key.weight'\]"):
        load_scorer("image-reward", weights=str(tmp_path))
    torch.save({**tensors(), "head.weight": torch.ones(2)}, tmp_path / "ImageReward.pt")
    with pytest.raises(InputError, match=r"holds \['head.weight'\]"):
        load_scorer("image-reward", weights=f"{tmp_path}/")
    with pytest.raises(InputError, match=r"an ImageReward folder has ImageReward.pt"):
        load_scorer("image-reward", weights=str(tmp_path.parent))

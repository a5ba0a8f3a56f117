"""MPS on a small random model in the real layout, against the layers written out with loops over heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

from qsched.errors import InputError
from qsched.scoring import load_scorer
from qsched.scoring.clip_model import clip_pixels
from qsched.scoring.mps import CONDITION
from tests.scoring.pictures import PROMPTS
from tests.scoring.words import save_tokenizer

WIDTH, HEAD, HEADS = 32, 64, 2
LENGTH = 24
NEAR = 0.6  # instead of 0.01, which hides none of the words of a random model


def layer_state(number: int) -> dict[str, torch.Tensor]:
    """One layer by the checkpoint's own names."""
    a, b = f"cross_model.layers.{number}.0.fn", f"cross_model.layers.{number}.1.fn"
    scale = WIDTH**-0.5
    return {
        f"{a}.norm.weight": 1 + torch.randn(WIDTH) / 9,
        f"{a}.norm.bias": torch.zeros(WIDTH),
        f"{a}.to_q.weight": scale * torch.randn(HEADS * HEAD, WIDTH),
        f"{a}.to_kv.weight": scale * torch.randn(2 * HEAD, WIDTH),
        f"{a}.to_out.weight": scale * torch.randn(WIDTH, HEADS * HEAD),
        f"{a}.ff.0.weight": scale * torch.randn(8 * WIDTH, WIDTH),
        f"{a}.ff.2.weight": scale * torch.randn(WIDTH, 4 * WIDTH),
        f"{b}.norm.weight": 1 + torch.randn(WIDTH) / 9,
        f"{b}.norm.bias": torch.zeros(WIDTH),
        f"{b}.rotary_emb.inv_freq": 1 / 10000 ** (torch.arange(0, HEAD, 2).float() / HEAD),
        f"{b}.fused_attn_ff_proj.weight": scale * torch.randn(HEADS * HEAD + 2 * HEAD + 8 * WIDTH, WIDTH),
        f"{b}.attn_out.weight": scale * torch.randn(WIDTH, HEADS * HEAD),
        f"{b}.ff_out.1.weight": scale * torch.randn(WIDTH, 4 * WIDTH),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("mps")
    words = [word for text in (CONDITION, *PROMPTS) for word in text.split()]
    save_tokenizer(where, words, end="<end>", start="<start>")
    torch.manual_seed(6)
    tower = {"num_attention_heads": 2, "num_hidden_layers": 2, "hidden_act": "gelu", "intermediate_size": 64}
    config = CLIPConfig(
        text_config={
            **tower,
            "hidden_size": 16,
            "max_position_embeddings": LENGTH,
            "vocab_size": 64,
            "eos_token_id": 0,
        },
        vision_config={**tower, "hidden_size": 32, "image_size": 28, "patch_size": 14},
        projection_dim=WIDTH,
    )
    clip = CLIPModel(config).eval()
    config.save_pretrained(where)
    state = {f"model.{name}": tensor.clone() for name, tensor in clip.state_dict().items()}
    state["model.text_model.embeddings.token_embedding.weight"] *= 50
    for number in range(2):
        state |= layer_state(number)
    save_file(state, where / "mps.safetensors")
    return where


def by_hand(folder, picture, prompt: str) -> tuple[float, int]:
    """(the score, how many tokens of the prompt are read), in float64, head by head."""
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    state = load_file(folder / "mps.safetensors")
    clip = CLIPModel(CLIPConfig.from_pretrained(folder)).eval()
    clip.load_state_dict({name[6:]: one for name, one in state.items() if name.startswith("model.")})
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def read(text):
        ids = tokenizer(text, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt").input_ids
        out = clip.text_model(ids)
        return clip.text_projection(out[0])[0].double().numpy(), clip.text_projection(out[1])[0].double().numpy()

    with torch.no_grad():
        (words, whole), (condition, _) = read(prompt), read(CONDITION)
        x = clip.visual_projection(clip.vision_model(clip_pixels(28)(picture)[None])[0])[0].double().numpy()
        temperature = float(clip.logit_scale.exp())
    near = (words @ condition.T).max(axis=1)
    hidden = np.where(near / near.max() > NEAR, 0.0, -np.inf)
    part = {name: one.double().numpy() for name, one in state.items() if name.startswith("cross_")}

    def norm(y, name):
        y = (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + 1e-5)
        return y * part[f"{name}.norm.weight"]

    def gated(wide):
        value, gate = np.split(wide, 2, axis=1)
        return gate / (1 + np.exp(-gate)) * value

    def attend(q, k, v, mask):
        found = []
        for head in range(HEADS):
            logits = q[:, head * HEAD : (head + 1) * HEAD] @ k.T / 8 + mask
            shares = np.exp(logits - logits.max(1, keepdims=True))
            found.append(shares / shares.sum(1, keepdims=True) @ v)
        return np.concatenate(found, axis=1)

    def turned(y):
        for place in range(len(y)):
            for head in range(y.shape[1] // HEAD):
                row = y[place, head * HEAD : (head + 1) * HEAD]
                angle = place / 10000 ** (np.arange(0, HEAD, 2) / HEAD)
                a, b = row[:32].copy(), row[32:].copy()
                row[:32], row[32:] = a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)
        return y

    for number in range(2):
        name = f"cross_model.layers.{number}.0.fn"
        y = norm(x, name)
        k, v = np.split(words @ part[f"{name}.to_kv.weight"].T, 2, axis=1)
        read_words = attend(y @ part[f"{name}.to_q.weight"].T, k, v, hidden)
        x = x + read_words @ part[f"{name}.to_out.weight"].T
        x = x + gated(y @ part[f"{name}.ff.0.weight"].T) @ part[f"{name}.ff.2.weight"].T
        name = f"cross_model.layers.{number}.1.fn"
        fused = norm(x, name) @ part[f"{name}.fused_attn_ff_proj.weight"].T
        q, k, v, wide = np.split(fused, np.cumsum([HEADS * HEAD, HEAD, HEAD]), axis=1)
        x = x + attend(turned(q), turned(k), v, 0.0) @ part[f"{name}.attn_out.weight"].T
        x = x + gated(wide) @ part[f"{name}.ff_out.1.weight"].T
    cosine = x[0] @ whole / np.linalg.norm(x[0]) / np.linalg.norm(whole)
    return temperature * cosine, int(np.isfinite(hidden).sum())


def test_the_score_is_what_the_layers_give_by_hand(folder, pictures, monkeypatch):
    monkeypatch.setattr("qsched.scoring.mps.NEAR", NEAR)
    scorer = load_scorer("mps", weights=str(folder))
    found = scorer.score(pictures[:3], PROMPTS[:3])
    read = []
    for score, picture, prompt in zip(found, pictures, PROMPTS, strict=False):
        expected, count = by_hand(folder, picture, prompt)
        assert score == pytest.approx(expected, abs=2e-4)
        read.append(count)
    assert any(count < LENGTH for count in read), "the mask hides something"
    assert scorer.info.batch_size == 1 and scorer.count_unread(["wave " * 30]) == 1


def test_a_pickled_program_is_not_opened_and_missing_layers_are_named(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "mps.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no mps.safetensors; an MPS folder has"):
        load_scorer("mps", weights=str(tmp_path))
    state = {"model.x": torch.ones(2), **layer_state(0)}
    save_file(state, tmp_path / "mps.safetensors")
    with pytest.raises(InputError, match="lacks"):
        load_scorer("mps", weights=f"{tmp_path}/")

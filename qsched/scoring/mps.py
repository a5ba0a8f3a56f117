"""MPS (Zhang et al. 2024): what people prefer, by CLIP ViT-H/14 and four layers in which the picture reads the prompt.

    MPS = exp(temperature) <prompt, picture>      both unit vectors

The picture's vector is that of its first token after the layers. They read only words of the prompt that are near the
condition: their largest inner product with a word of it, over the largest of the prompt, is above 0.01. (The original
takes that largest over the whole batch; here a picture is scored alone.)

A folder has the files of laion/CLIP-ViT-H-14-laion2B-s32B-b79K without its weights, and `mps.safetensors`. The released
`MPS_overall_checkpoint.pth` is a pickled program and is not opened; docs/scoring.md says how its tensors are taken out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.nn import functional as F

from qsched.errors import InputError
from qsched.scoring.checkpoints import find_file, load_whole, read_json, read_tensors, taken
from qsched.scoring.clip_model import clip_pixels
from qsched.scoring.extra_packages import import_extra
from qsched.scoring.protocol import BatchedScorer, ScorerInfo
from qsched.scoring.weights import UNREADABLE, reason_of, resolve_weights

CONDITION = (  # of the overall preference; the only one whose checkpoint was released
    "light, color, clarity, tone, style, ambiance, artistry, shape, face, hair, hands, limbs, structure, instance, "
    "texture, quantity, attributes, position, number, location, word, things."
)
NEAR = 0.01
HEAD_WIDTH = 64
WHAT = "an MPS folder has the files of laion/CLIP-ViT-H-14-laion2B-s32B-b79K (without its weights) and mps.safetensors"


class Mps(BatchedScorer):
    """Human preference for the picture given its prompt."""

    def __init__(self, weights: str | Path | None = None, *, device: str = "cpu") -> None:
        if weights is None:
            raise InputError(f"mps has no default weights: --weights mps=FOLDER; {WHAT}")
        found = resolve_weights(weights)
        self._clip, self._layers, self._tokenize = _load(found.path, device)
        self._pixels = clip_pixels(self._clip.config.vision_config.image_size)
        version = import_extra("transformers", "reward").__version__
        with torch.inference_mode():
            self._condition_LD = self._read(CONDITION)[0]
        super().__init__(
            ScorerInfo(
                name="mps",
                kind="text",
                version=f"transformers {version}, weights {found.identity}",
                scale=f"{float(self._clip.logit_scale.exp()):.4g} * cosine",
                higher_is_better=True,
                weights=found.name,
                batch_size=1,  # the original's mask depends on the batch
                device=device,
            )
        )

    def _count_unread(self, prompts: list[str]) -> int:
        most = self._clip.config.text_config.max_position_embeddings
        return sum(len(self._tokenize(prompt).input_ids) > most for prompt in prompts)

    def _read(self, text: str) -> tuple[torch.Tensor, torch.Tensor]:
        """(every token of the text [L, D], the whole text [D]) in the joint space."""
        most = self._clip.config.text_config.max_position_embeddings
        tokens = self._tokenize(text, padding="max_length", truncation=True, max_length=most, return_tensors="pt")
        read = self._clip.text_model(input_ids=tokens.input_ids.to(self._clip.device))
        return self._clip.text_projection(read.last_hidden_state)[0], self._clip.text_projection(read.pooler_output)[0]

    def _score_batch(self, images: list[Image.Image], prompts: list[str]) -> list[float]:
        return [self._score_one(image, prompt) for image, prompt in zip(images, prompts, strict=True)]

    def _score_one(self, image: Image.Image, prompt: str) -> float:
        words_LD, whole_D = self._read(prompt)
        nearest_L = (words_LD @ self._condition_LD.T).amax(dim=1)
        hidden_L = torch.where(nearest_L / nearest_L.max() > NEAR, 0.0, -torch.inf)
        pixels = self._pixels(image)[None].to(self._clip.device)
        seen_ND = self._clip.visual_projection(self._clip.vision_model(pixel_values=pixels).last_hidden_state)[0]
        for layer in self._layers:
            seen_ND = layer(seen_ND, words_LD, hidden_L)
        cosine = F.cosine_similarity(seen_ND[0], whole_D, dim=0)
        return float(self._clip.logit_scale.exp() * cosine)


class Layer(torch.nn.Module):
    """The picture's tokens read the prompt's, then each other; keys and values have one head, queries several.

    Norms have no bias. Attention and feed-forward are side by side, and the gate is x silu(gate).
    """

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for name, tensor in state.items():
            self.register_buffer(name.replace(".", "_"), tensor)

    def forward(self, x_ND: torch.Tensor, words_LD: torch.Tensor, hidden_L: torch.Tensor) -> torch.Tensor:
        """The picture's tokens after the layer; `hidden_L` is -inf for words that are not read."""
        y = self._norm(x_ND, "0_fn_norm")
        keys, values = (words_LD @ self._of("0_fn_to_kv_weight").T).chunk(2, dim=-1)
        read = _attend(y @ self._of("0_fn_to_q_weight").T, keys, values, hidden_L)
        wide = _gated(y @ self._of("0_fn_ff_0_weight").T)
        x_ND = x_ND + read @ self._of("0_fn_to_out_weight").T + wide @ self._of("0_fn_ff_2_weight").T
        y = self._norm(x_ND, "1_fn_norm")
        out = self._of("1_fn_attn_out_weight")
        fused = y @ self._of("1_fn_fused_attn_ff_proj_weight").T
        queries, keys, values, wide = fused.split((out.shape[1], HEAD_WIDTH, HEAD_WIDTH, 8 * x_ND.shape[1]), dim=-1)
        angles = _angles(len(y), self._of("1_fn_rotary_emb_inv_freq"))
        read = _attend(_turned(queries, angles), _turned(keys, angles), values)
        return x_ND + read @ out.T + _gated(wide) @ self._of("1_fn_ff_out_1_weight").T

    def _of(self, name: str) -> torch.Tensor:
        return self.get_buffer(name)

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self._of(f"{name}_weight"), self._of(f"{name}_bias"))


def _attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, hidden: torch.Tensor | float = 0.0
) -> torch.Tensor:
    queries_NHE = queries.view(len(queries), -1, HEAD_WIDTH) * HEAD_WIDTH**-0.5
    shares = (queries_NHE @ keys.T + hidden).softmax(dim=-1)
    read: torch.Tensor = (shares @ values).flatten(1)
    return read


def _gated(wide: torch.Tensor) -> torch.Tensor:
    x, gate = wide.chunk(2, dim=-1)
    return F.silu(gate) * x


def _angles(count: int, frequencies: torch.Tensor) -> torch.Tensor:
    angles = torch.outer(torch.arange(count, device=frequencies.device, dtype=frequencies.dtype), frequencies)
    return torch.cat((angles, angles), dim=-1)


def _turned(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Rotary positions (Su et al. 2021), head by head."""
    heads = x.view(len(x), -1, HEAD_WIDTH)
    first, second = heads.chunk(2, dim=-1)
    turned = heads * angles.cos()[:, None] + torch.cat((-second, first), dim=-1) * angles.sin()[:, None]
    return turned.flatten(1)


def _load(folder: Path, device: str) -> tuple[Any, torch.nn.ModuleList, Any]:
    """(CLIP, the layers, the tokenizer)."""
    transformers = import_extra("transformers", "reward")
    path = find_file(folder, "mps.safetensors", what=WHAT)
    config = read_json(find_file(folder, "config.json", what=WHAT))
    state = read_tensors(path)
    clip_state, layers_state = taken(state, "model."), taken(state, "cross_model.layers.")
    for buffer in ("vision_model.embeddings.position_ids", "text_model.embeddings.position_ids"):
        clip_state.pop(buffer, None)
    if state:
        raise InputError(f"{path} holds {sorted(state)[:3]}, which this architecture does not have")
    try:
        clip = transformers.CLIPModel(transformers.CLIPConfig.from_dict(config))
        tokenize = transformers.AutoTokenizer.from_pretrained(folder)
        numbers = sorted({int(name.split(".")[0]) for name in layers_state})
    except UNREADABLE as error:
        raise InputError(f"{folder} does not load as MPS ({reason_of(error)}); {WHAT}") from error
    load_whole(clip, clip_state, where=path)
    layers = torch.nn.ModuleList(Layer(taken(layers_state, f"{number}.")) for number in numbers)
    _check_layers(layers, path)
    return clip.to(device).eval().requires_grad_(False), layers.to(device), tokenize


def _check_layers(layers: torch.nn.ModuleList, path: Path) -> None:
    wanted = {
        *(f"0_fn_{part}" for part in ("norm_weight", "norm_bias", "to_q_weight", "to_kv_weight", "to_out_weight")),
        *("0_fn_ff_0_weight", "0_fn_ff_2_weight", "1_fn_norm_weight", "1_fn_norm_bias", "1_fn_rotary_emb_inv_freq"),
        *(f"1_fn_{part}_weight" for part in ("fused_attn_ff_proj", "attn_out", "ff_out_1")),
    }
    if not len(layers):
        raise InputError(f"{path} lacks cross_model.layers; {WHAT}")
    for number, layer in enumerate(layers):
        found = set(dict(layer.named_buffers()))
        if found != wanted:
            raise InputError(f"{path}: layer {number} lacks {sorted(wanted - found)}, and has {sorted(found - wanted)}")

"""VQAScore (Lin et al. 2024): the chance that a model answers "Yes" to "Does this figure show the prompt?".

    VQAScore = exp(mean log probability of the tokens of "Yes" and the end),   0..1

The model is CLIP-FlanT5: the patches of CLIP ViT-L/14-336 before its last block, through two linear layers, stand in a
Flan-T5's input where the picture belongs. The package `t2v-metrics` pins torch 2.5.1 and transformers 4.49 and cannot
be installed beside ours; transformers has both networks.

A folder has three folders: `model` (hub: zhiqiulin/clip-flant5-xl or -xxl), `tokenizer` (google/flan-t5-xl) and
`vision` (openai/clip-vit-large-patch14-336). The original runs in bfloat16; ours does so on a GPU, and in float32 on a
CPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps

from qsched.errors import InputError
from qsched.scoring.checkpoints import find_file, load_whole, read_json, read_shards, taken
from qsched.scoring.extra_packages import import_extra
from qsched.scoring.protocol import BatchedScorer, ScorerInfo
from qsched.scoring.weights import UNREADABLE, reason_of, resolve_weights

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
BEFORE, AFTER = f"{SYSTEM} USER: ", '\nDoes this figure show "{}"? Please answer yes or no. ASSISTANT: '
ANSWER = "Yes"
CONTEXT = 2048
WHAT = (
    "a VQAScore folder has the folders model (zhiqiulin/clip-flant5-xl), tokenizer (google/flan-t5-xl) and vision "
    "(openai/clip-vit-large-patch14-336)"
)


class VqaScore(BatchedScorer):
    """How sure CLIP-FlanT5 is that the picture shows the prompt, 0..1."""

    def __init__(self, weights: str | Path | None = None, *, device: str = "cpu") -> None:
        if weights is None:
            raise InputError(f"vqascore has no default weights: --weights vqascore=FOLDER; {WHAT}")
        found = resolve_weights(weights)
        self._dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        self._vision, self._project, self._t5, self._tokenize, self._pixels = _load(found.path, device, self._dtype)
        self._answer = torch.tensor([self._tokenize(ANSWER).input_ids], device=device)
        start = torch.full((1, 1), self._t5.config.pad_token_id, device=device)  # T5 starts with its padding token
        self._given = torch.cat([start, self._answer[:, :-1]], dim=1)
        version = import_extra("transformers", "reward").__version__
        super().__init__(
            ScorerInfo(
                name="vqascore",
                kind="text",
                version=f"transformers {version}, {str(self._dtype)[6:]}, weights {found.identity}",
                scale='probability of "Yes": 0..1',
                higher_is_better=True,
                weights=found.name,
                batch_size=1,  # prompts of other lengths would be padded, and the last bits would depend on it
                device=device,
            )
        )

    def _count_unread(self, prompts: list[str]) -> int:
        return sum(sum(len(part) for part in self._question(prompt)) > CONTEXT for prompt in prompts)

    def _question(self, prompt: str) -> tuple[list[int], list[int]]:
        """The tokens before and after the picture; each part ends in an end token, as in the original."""
        return self._tokenize(BEFORE).input_ids, self._tokenize(AFTER.format(prompt)).input_ids

    def _score_batch(self, images: list[Image.Image], prompts: list[str]) -> list[float]:
        return [self._score_one(image, prompt) for image, prompt in zip(images, prompts, strict=True)]

    def _score_one(self, image: Image.Image, prompt: str) -> float:
        mean = tuple(int(255 * value) for value in self._pixels.image_mean)
        side = max(image.size)
        square = ImageOps.pad(image, (side, side), color=mean) if image.width != image.height else image
        pixels = self._pixels(square, return_tensors="pt")["pixel_values"].to(self.info.device, self._dtype)
        hidden = self._vision(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        before, after = (torch.tensor([part], device=self.info.device) for part in self._question(prompt))
        embed = self._t5.get_input_embeddings()
        inputs_1LD = torch.cat([embed(before), self._project(hidden), embed(after)], dim=1)
        mask_1L = torch.ones(inputs_1LD.shape[:2], dtype=torch.long, device=self.info.device)
        logits = self._t5(
            inputs_embeds=inputs_1LD, attention_mask=mask_1L, decoder_input_ids=self._given
        ).logits.float()
        loss = torch.nn.functional.cross_entropy(logits[0], self._answer[0])
        return float((-loss).exp())


def _load(folder: Path, device: str, dtype: torch.dtype) -> tuple[Any, Any, Any, Any, Any]:
    """(vision network, projection, T5, tokenizer, image processor)."""
    transformers = import_extra("transformers", "reward")
    config = read_json(find_file(folder, "model/config.json", what=WHAT))
    find_file(folder, "vision/config.json", what=WHAT)
    find_file(folder, "tokenizer/tokenizer.json", "tokenizer/spiece.model", what=WHAT)
    state = read_shards(folder / "model", what=WHAT)
    where = folder / "model"
    projection, seen = taken(state, "mm_projector."), taken(state, "vision_tower.vision_tower.")
    state.pop("embed_tokens.weight", None)  # the encoder's, once more
    for kind in ("model_type", "architectures"):
        config.pop(kind, None)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer")
        processor = transformers.CLIPImageProcessor.from_pretrained(folder / "vision")
        vision = transformers.CLIPVisionModel.from_pretrained(folder / "vision", dtype=dtype)
        rows = state["shared.weight"].shape[0]
        t5 = transformers.T5ForConditionalGeneration(transformers.T5Config(**{**config, "vocab_size": rows}))
        if "lm_head.weight" in state:
            # transformers makes head and embedding one tensor for every T5; in Flan-T5 they are two.
            t5.lm_head.weight = torch.nn.Parameter(torch.empty_like(t5.lm_head.weight))
        width = t5.config.d_model
        project = torch.nn.Sequential(
            torch.nn.Linear(vision.config.hidden_size, width), torch.nn.GELU(), torch.nn.Linear(width, width)
        )
    except UNREADABLE as error:
        raise InputError(f"{folder} does not load as VQAScore ({reason_of(error)}); {WHAT}") from error
    tied = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    if config.get("tie_word_embeddings", True):  # Flan-T5's head is not its embedding: without it there is no answer
        tied.add("lm_head.weight")
    state |= dict.fromkeys(tied & set(t5.state_dict()) - set(state), state["shared.weight"])
    load_whole(t5, state, where=where)
    load_whole(project, projection, where=where)
    if seen:  # frozen in training, so these should be the same; the checkpoint's count
        strip = {name.removeprefix("vision_model."): tensor for name, tensor in seen.items()}
        strip.pop("embeddings.position_ids", None)
        load_whole(vision, _like(vision, strip), where=where)
    t5, project, vision = (part.to(device, dtype).eval().requires_grad_(False) for part in (t5, project, vision))
    return vision, project, t5, tokenizer, processor


def _like(vision: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors by the names of this transformers, which may or may not say `vision_model.` before them."""
    before = "vision_model." if any(name.startswith("vision_model.") for name in vision.state_dict()) else ""
    return {before + name: tensor for name, tensor in state.items()}

"""HPSv3 (Ma et al. 2025): what people prefer, by Qwen2-VL-7B and a head on the token `<|Reward|>`.

The score is the first of the head's two outputs (mean and spread). The package `hpsv3` pins transformers 4.45.2,
deepspeed and trl and cannot be installed beside ours; transformers has the network. Three things are as in the
original, although one would not expect them: every picture is brought to about 256 x 28 x 28 pixels; positions are
counted along the sequence for all three axes (its forward leaves out Qwen2-VL's rotary positions in two dimensions);
and the head runs in float32.

A folder has the files of Qwen/Qwen2-VL-7B-Instruct without its weights, `HPSv3.safetensors` (MizzenAI/HPSv3), and
`data_collator_qwen.py` of the package hpsv3 1.0.0, which holds the instruction. That file is read and not run.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from qsched.errors import InputError
from qsched.scoring.checkpoints import check_whole, find_file, load_whole, read_json, read_tensors, taken
from qsched.scoring.extra_packages import import_extra
from qsched.scoring.protocol import BatchedScorer, ScorerInfo
from qsched.scoring.weights import UNREADABLE, reason_of, resolve_weights

REWARD_TOKEN = "<|Reward|>"
PIXELS = 256 * 28 * 28
INSTRUCTION_FILE = "data_collator_qwen.py"
INSTRUCTION, QUESTION = "INSTRUCTION", "prompt_with_special_token"
WHAT = (
    "an HPSv3 folder has the files of Qwen/Qwen2-VL-7B-Instruct (without its weights), HPSv3.safetensors "
    f"(MizzenAI/HPSv3) and {INSTRUCTION_FILE} of the package hpsv3 1.0.0"
)


class HpsV3(BatchedScorer):
    """Human preference for the picture given its prompt: about 0 to 15."""

    def __init__(self, weights: str | Path | None = None, *, device: str = "cpu") -> None:
        if weights is None:
            raise InputError(f"hpsv3 has no default weights: --weights hpsv3=FOLDER; {WHAT}")
        found = resolve_weights(weights)
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        self._texts = read_instruction(find_file(found.path, INSTRUCTION_FILE, what=WHAT))
        self._model, self._head, self._processor = _load(found.path, device, dtype)
        self._reward = self._processor.tokenizer.convert_tokens_to_ids(REWARD_TOKEN)
        version = import_extra("transformers", "reward").__version__
        super().__init__(
            ScorerInfo(
                name="hpsv3",
                kind="text",
                version=f"transformers {version}, {str(dtype)[6:]}, weights {found.identity}",
                scale="mean of the reward: in use about 0..15",
                higher_is_better=True,
                weights=found.name,
                batch_size=1,  # prompts of other lengths would be padded, and the last bits would depend on it
                device=device,
            )
        )

    def _score_batch(self, images: list[Image.Image], prompts: list[str]) -> list[float]:
        return [self._score_one(image, prompt) for image, prompt in zip(images, prompts, strict=True)]

    def _score_one(self, image: Image.Image, prompt: str) -> float:
        words = self._texts[0].replace("{text_prompt}", prompt) + self._texts[1]
        content = [{"type": "image"}, {"type": "text", "text": words}]
        text = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        batch = self._processor(text=[text], images=[resized(image)], return_tensors="pt").to(self.info.device)
        length = batch["input_ids"].shape[1]
        positions = torch.arange(length, device=self.info.device).view(1, 1, -1).expand(3, 1, -1)
        hidden_1LD = self._model(**batch, position_ids=positions, use_cache=False).last_hidden_state
        place = (batch["input_ids"][0] == self._reward).nonzero().flatten()
        if len(place) != 1:
            raise ValueError(f"the text has {len(place)} reward tokens; a prompt may not hold {REWARD_TOKEN}")
        return float(self._head(hidden_1LD[0, place[0]].float())[0])


def resized(image: Image.Image) -> Image.Image:
    """The picture at about 256 x 28 x 28 pixels, both sides multiples of 28."""
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    height, width = smart_resize(image.height, image.width, factor=28, min_pixels=PIXELS, max_pixels=PIXELS)
    return image.resize((width, height))


def read_instruction(path: Path) -> tuple[str, str]:
    """The instruction and the question in the source of the package, without running it."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = {
            target.id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id in (INSTRUCTION, QUESTION)
        }
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path} is not the file of hpsv3 1.0.0: {reason_of(error)}") from error
    texts = found.get(INSTRUCTION), found.get(QUESTION)
    if not isinstance(texts[0], str) or not isinstance(texts[1], str):
        raise InputError(f"{path} has no texts {INSTRUCTION} and {QUESTION}; take {INSTRUCTION_FILE} of hpsv3 1.0.0")
    if "{text_prompt}" not in texts[0] or REWARD_TOKEN not in texts[1]:
        raise InputError(f"{path}: {INSTRUCTION} has no {{text_prompt}}, or {QUESTION} no {REWARD_TOKEN}")
    return texts[0], texts[1]


def _load(folder: Path, device: str, dtype: torch.dtype) -> tuple[Any, Any, Any]:
    """(Qwen2-VL without its language head, reward head, processor)."""
    transformers = import_extra("transformers", "reward")
    path = find_file(folder, "HPSv3.safetensors", what=WHAT)
    config = read_json(find_file(folder, "config.json", what=WHAT))
    state = read_tensors(path)
    head_state, vision = taken(state, "rm_head."), taken(state, "visual.")
    language = taken(state, "model.")
    state.pop("lm_head.weight", None)
    try:
        processor = transformers.AutoProcessor.from_pretrained(folder)
        processor.tokenizer.add_special_tokens({"additional_special_tokens": [REWARD_TOKEN]})
        rows = language["embed_tokens.weight"].shape[0]
        settings = transformers.Qwen2VLConfig.from_dict(config)
        settings.get_text_config().vocab_size = rows
        with torch.device("meta"):
            outline = transformers.Qwen2VLModel(settings)
        sizes = [head_state[f"{number}.weight"].shape for number in (0, 3, 5)]
        linear = [torch.nn.Linear(inside, outside) for outside, inside in sizes]
        head = torch.nn.Sequential(
            linear[0], torch.nn.ReLU(), torch.nn.Dropout(0.05), linear[1], torch.nn.ReLU(), linear[2]
        )
    except UNREADABLE as error:
        raise InputError(f"{folder} does not load as HPSv3 ({reason_of(error)}); {WHAT}") from error
    if processor.tokenizer.convert_tokens_to_ids(REWARD_TOKEN) >= rows:
        raise InputError(f"{path} has {rows} tokens, fewer than its tokenizer; the files belong to different models")
    named = {f"visual.{name}": one for name, one in vision.items()}
    named |= {f"language_model.{name}": one for name, one in language.items()}
    check_whole(outline, {**named, **state}, where=path)
    load_whole(head, head_state, where=path)
    # Not load_state_dict: what is computed and not stored, such as the frequencies of positions, is made here too.
    model = transformers.Qwen2VLModel.from_pretrained(None, config=settings, state_dict=named, dtype=dtype)
    model, head = (part.to(device).eval().requires_grad_(False) for part in (model, head))
    return model, head, processor

"""HPSv3 on a small random Qwen2-VL in the real layout, against its networks called one by one."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoProcessor, Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLProcessor
from transformers.models.qwen2_vl import Qwen2VLImageProcessor, Qwen2VLVideoProcessor

from qsched.errors import InputError
from qsched.scoring import load_scorer
from qsched.scoring.hpsv3 import REWARD_TOKEN, read_instruction, resized
from tests.scoring.pictures import PROMPTS, picture
from tests.scoring.words import save_tokenizer

SOURCE = '''import nothing_that_is_installed
INSTRUCTION = """
Judge the {brackets} of: {text_prompt}
"""
prompt_with_special_token = """
Rate it: <|Reward|>
END
"""
'''
SPECIAL = ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"]
TEMPLATE = (
    "{% for m in messages %}user {% for c in m['content'] %}{% if c['type'] == 'image' %} "
    "<|vision_start|> <|image_pad|> <|vision_end|> {% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% endfor %} assistant"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("hpsv3")
    (where / "data_collator_qwen.py").write_text(SOURCE)
    words = [word for text in (SOURCE, *PROMPTS, "user assistant") for word in text.split() if "|" not in word]
    save_tokenizer(where, words, end="<|endoftext|>", special=SPECIAL)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(where)
    for name, token in (("image_token", "<|image_pad|>"), ("video_token", "<|video_pad|>")):
        setattr(tokenizer, name, token)
    Qwen2VLProcessor(
        Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor(), chat_template=TEMPLATE
    ).save_pretrained(where)
    torch.manual_seed(3)
    config = Qwen2VLConfig(
        text_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": len(tokenizer) + 1,  # the reward token came later
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        },
        vision_config={"depth": 2, "embed_dim": 32, "num_heads": 2, "hidden_size": 32, "patch_size": 14},
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )
    model = Qwen2VLForConditionalGeneration(config)
    config.save_pretrained(where)
    state = {}
    for name, tensor in model.state_dict().items():  # by the names of transformers 4.45, which wrote the checkpoint
        name = name.replace("model.visual.", "visual.").replace("model.language_model.", "model.")
        state[name] = tensor.clone() if tensor.ndim < 2 else 4 * tensor
    for number, (outside, inside) in {0: (16, 32), 3: (8, 16), 5: (2, 8)}.items():
        state[f"rm_head.{number}.weight"] = torch.randn(outside, inside)
        state[f"rm_head.{number}.bias"] = torch.randn(outside)
    save_file(state, where / "HPSv3.safetensors")
    return where


def by_hand(folder, image, prompt: str) -> float:
    """Vision, language and head one after the other, positions counted along the sequence."""
    from safetensors.torch import load_file

    state = load_file(folder / "HPSv3.safetensors")
    processor = AutoProcessor.from_pretrained(folder)
    processor.tokenizer.add_special_tokens({"additional_special_tokens": [REWARD_TOKEN]})
    config = Qwen2VLConfig.from_pretrained(folder)
    model = Qwen2VLForConditionalGeneration(config).eval()
    names = {
        "visual.": "model.visual.",
        "model.": "model.language_model.",
        "lm_head": "lm_head",
    }
    mapped = {}
    for name, tensor in state.items():
        for theirs, ours in names.items():
            if name.startswith(theirs):
                mapped[ours + name[len(theirs) :]] = tensor
    model.load_state_dict(mapped, strict=True)
    pixels = processor.image_processor(image.resize((448, 448)), return_tensors="pt")
    count = 16 * 16  # 448 / 28, squared
    text = f"\nJudge the {{brackets}} of: {prompt}\n\nRate it: {REWARD_TOKEN}\nEND\n assistant"
    words = "user <|vision_start|> " + "<|image_pad|> " * count + "<|vision_end|>"
    ids = processor.tokenizer(f"{words} {text}", return_tensors="pt").input_ids
    with torch.no_grad():
        embedded = model.get_input_embeddings()(ids)
        seen = model.model.visual(pixels["pixel_values"], grid_thw=pixels["image_grid_thw"])
        seen = getattr(seen, "pooler_output", seen)
        embedded[ids == config.image_token_id] = seen
        places = torch.arange(ids.shape[1])[None, None].expand(3, 1, -1)
        hidden = model.model.language_model(inputs_embeds=embedded, position_ids=places).last_hidden_state[0]
        x = hidden[ids[0].tolist().index(processor.tokenizer.convert_tokens_to_ids(REWARD_TOKEN))]
        x = (x @ state["rm_head.0.weight"].T + state["rm_head.0.bias"]).relu()
        x = (x @ state["rm_head.3.weight"].T + state["rm_head.3.bias"]).relu()
        return float((x @ state["rm_head.5.weight"].T + state["rm_head.5.bias"])[0])


def test_the_score_is_the_first_output_on_the_reward_token(folder, pictures):
    scorer = load_scorer("hpsv3", weights=str(folder))
    found = scorer.score(pictures[:2], PROMPTS[:2])
    for score, image, prompt in zip(found, pictures, PROMPTS, strict=False):
        assert score == pytest.approx(by_hand(folder, image, prompt), rel=1e-3, abs=1e-4)
    assert found[0] != found[1] and scorer.info.batch_size == 1


def test_pictures_are_brought_to_the_area_of_the_original():
    assert resized(picture(1, (1024, 1024))).size == (448, 448)
    wide = resized(picture(1, (640, 320))).size
    assert wide == (644, 336), "rounded up where the smaller multiple would be below the area, as in the original"


def test_the_instruction_is_read_from_the_package_and_not_run(tmp_path):
    path = tmp_path / "data_collator_qwen.py"
    path.write_text(SOURCE)
    assert read_instruction(path)[0] == "\nJudge the {brackets} of: {text_prompt}\n"
    path.write_text("INSTRUCTION = 1")
    with pytest.raises(InputError, match=r"take data_collator_qwen\.py of hpsv3"):
        read_instruction(path)
    path.write_text(SOURCE.replace("text_prompt", "prompt"))
    with pytest.raises(InputError, match=r"has no \{text_prompt\}"):
        read_instruction(path)

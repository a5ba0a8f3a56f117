"""VQAScore on a small random CLIP-FlanT5 in the real layout, against the probabilities taken step by step."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel, T5Config, T5ForConditionalGeneration

from qsched.errors import InputError
from qsched.scoring import load_scorer
from qsched.scoring.vqascore import AFTER, BEFORE
from tests.scoring.pictures import PROMPTS, picture
from tests.scoring.words import save_tokenizer

TEXTS = [BEFORE, "Yes", *(AFTER.format(prompt) for prompt in PROMPTS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("vqascore")
    for name in ("model", "tokenizer", "vision"):
        (where / name).mkdir()
    save_tokenizer(where / "tokenizer", [word for text in TEXTS for word in text.split()], end="</s>")
    torch.manual_seed(4)
    vision = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=24,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=28,
            patch_size=14,
        )
    )
    vision.save_pretrained(where / "vision")
    CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=28).save_pretrained(where / "vision")
    config = T5Config(
        vocab_size=120,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    t5 = T5ForConditionalGeneration(config)
    state = {
        name: torch.randn_like(tensor) / 3 if tensor.ndim > 1 else tensor for name, tensor in t5.state_dict().items()
    }
    state["encoder.embed_tokens.weight"] = state["decoder.embed_tokens.weight"] = state["shared.weight"]
    projection = {
        "mm_projector.0.weight": torch.randn(16, 24),
        "mm_projector.0.bias": torch.randn(16),
        "mm_projector.2.weight": torch.randn(16, 16),
        "mm_projector.2.bias": torch.randn(16),
    }
    settings = {name: one for name, one in config.to_dict().items() if name != "scale_decoder_outputs"}  # newer than it
    (where / "model" / "config.json").write_text(
        json.dumps({**settings, "model_type": "clip_t5", "tie_word_embeddings": False})
    )
    # In two shards, as the released checkpoints are.
    names = sorted(state)
    shards = {"pytorch_model-1.bin": names[::2], "pytorch_model-2.bin": [*names[1::2], *projection]}
    for file, some in shards.items():
        torch.save({name: (state | projection)[name].clone() for name in some}, where / "model" / file)
    index = {"weight_map": {name: file for file, some in shards.items() for name in some}}
    (where / "model" / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return where


def by_hand(folder, image, prompt: str) -> float:
    """sqrt(P(Yes) P(end | Yes)) with the networks called one by one."""
    state = {}
    for file in ("pytorch_model-1.bin", "pytorch_model-2.bin"):
        state |= torch.load(folder / "model" / file, weights_only=True)
    config = json.loads((folder / "model" / "config.json").read_text())
    t5 = T5ForConditionalGeneration(T5Config(**{**config, "model_type": "t5"})).eval()
    t5.load_state_dict({name: one for name, one in state.items() if not name.startswith(("mm_", "lm_"))}, strict=False)
    words = json.loads((folder / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
    pixels = CLIPImageProcessor.from_pretrained(folder / "vision")(image, return_tensors="pt")["pixel_values"]
    vision = CLIPVisionModel.from_pretrained(folder / "vision").eval()
    with torch.no_grad():
        patches = vision(pixels, output_hidden_states=True).hidden_states[2][0, 1:]  # of three layers, before the last
        inner = torch.nn.functional.gelu(patches @ state["mm_projector.0.weight"].T + state["mm_projector.0.bias"])
        seen = inner @ state["mm_projector.2.weight"].T + state["mm_projector.2.bias"]
        parts = []
        for text in (BEFORE, AFTER.format(prompt)):
            ids = [words[word] for word in text.split()] + [words["</s>"]]
            parts.append(state["shared.weight"][ids])
        inputs = torch.cat([parts[0], seen, parts[1]])[None]
        chance = 1.0
        given = [0]
        for token in (words["Yes"], words["</s>"]):
            read = t5.encoder(inputs_embeds=inputs).last_hidden_state
            said = t5.decoder(input_ids=torch.tensor([given]), encoder_hidden_states=read).last_hidden_state[0, -1]
            logits = state["lm_head.weight"] @ said  # Flan-T5's head is not its embedding, and nothing is scaled
            chance *= float(logits.softmax(-1)[token])
            given.append(token)
    return chance**0.5


def test_the_score_is_the_chance_of_yes_by_hand(folder, pictures):
    scorer = load_scorer("vqascore", weights=str(folder))
    found = scorer.score(pictures[:3], PROMPTS[:3])
    for score, image, prompt in zip(found, pictures, PROMPTS, strict=False):
        assert score == pytest.approx(by_hand(folder, image, prompt), rel=1e-4)
    assert all(0 < one < 1 for one in found) and len(set(found)) == 3
    assert scorer.info.batch_size == 1 and "float32" in scorer.info.version
    wide = scorer.score([picture(3, (60, 30))], PROMPTS[:1])
    assert 0 < wide[0] < 1, "a picture that is not square is padded"


def test_a_checkpoint_without_its_head_does_not_answer_by_its_embedding(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "headless")
    for path in (tmp_path / "headless" / "model").glob("*.bin"):
        state = torch.load(path, weights_only=True)
        state.pop("lm_head.weight", None)
        torch.save(state, path)
    with pytest.raises(InputError, match=r"lacks \['lm_head.weight'\]"):
        load_scorer("vqascore", weights=str(tmp_path / "headless"))


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(InputError, match=r"has no model/config.json; a VQAScore folder has"):
        load_scorer("vqascore", weights=str(tmp_path))
    with pytest.raises(InputError, match=r"--weights vqascore=FOLDER"):
        load_scorer("vqascore")

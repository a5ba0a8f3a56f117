"""DreamSim by its own package on a narrow random network in the layout of its archives."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from qsched.errors import InputError
from qsched.scoring.registry import load_metrics, load_reference_metric
from tests.scoring.pictures import picture

pytest.importorskip("dreamsim")
WIDTH, JOINT = 24, 12


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An unpacked open_clip_vitb32 archive whose network is 24 wide: the package itself knows only ViT-B."""
    from dreamsim.feature_extraction import load_open_clip_as_dino as loader
    from dreamsim.feature_extraction.vision_transformer import VisionTransformer
    from peft import LoraConfig, get_peft_model
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file

    def narrow(patch_size):
        return VisionTransformer(patch_size=patch_size, embed_dim=WIDTH, depth=2, num_heads=2, qkv_bias=True)

    monkeypatch.setattr(loader, "vit_base", narrow)
    torch.manual_seed(2)
    network = narrow(32)
    network.pos_drop = torch.nn.LayerNorm(WIDTH)
    state = {name: torch.randn_like(one) / one.shape[-1] ** 0.5 for name, one in network.state_dict().items()}
    torch.save(
        {"state_dict": {**state, "proj": torch.randn(WIDTH, JOINT)}}, tmp_path / "open_clip_vitb32_pretrain.pth.tar"
    )
    adapter = tmp_path / "open_clip_vitb32_single_lora"
    adapter.mkdir()
    settings = {"r": 4, "lora_alpha": 2, "lora_dropout": 0.3, "bias": "none", "target_modules": ["qkv"]}
    from dreamsim.model import PerceptualModel

    whole = PerceptualModel(
        model_type="open_clip_vitb32",
        feat_type="embedding",
        stride="32",
        lora=True,
        load_dir=str(tmp_path),
        device="cpu",
    )
    tuned = get_peft_model(whole, LoraConfig(**settings))
    lora = {name: torch.randn_like(one) / 4 for name, one in get_peft_model_state_dict(tuned).items()}
    save_file(lora, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, "peft_type": "LORA"}))
    return tmp_path


def by_hand(folder, one, other) -> float:
    """1 - cosine of the centred vectors, the adapter added to the weights beforehand."""
    from dreamsim.feature_extraction.vision_transformer import VisionTransformer
    from safetensors.torch import load_file
    from torchvision.transforms.functional import InterpolationMode, normalize, resize, to_tensor

    state = torch.load(folder / "open_clip_vitb32_pretrain.pth.tar", weights_only=True)["state_dict"]
    lora = load_file(folder / "open_clip_vitb32_single_lora" / "adapter_model.safetensors")
    for block in range(2):
        a, b = (next(t for n, t in lora.items() if f"blocks.{block}.attn.qkv.lora_{x}" in n) for x in "AB")
        state[f"blocks.{block}.attn.qkv.weight"] += 2 / 4 * b @ a
    projection = state.pop("proj")
    network = VisionTransformer(patch_size=32, embed_dim=WIDTH, depth=2, num_heads=2, qkv_bias=True)
    network.pos_drop = torch.nn.LayerNorm(WIDTH)
    network.load_state_dict(state)
    for module in network.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5
    vectors = []
    for image in (one, other):
        pixels = to_tensor(resize(image, [224, 224], InterpolationMode.BICUBIC))
        pixels = normalize(pixels, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
        with torch.no_grad():
            vector = (network.eval()(pixels[None]) @ projection)[0].double().numpy()
        vectors.append(vector - vector.mean())
    a, b = vectors
    return 1 - float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_distance_is_what_the_networks_give_by_hand(folder):
    metric = load_reference_metric("dreamsim", weights=str(folder))
    one, other = picture(1), picture(2)
    assert metric.score_against([other], [one])[0] == pytest.approx(by_hand(folder, other, one), abs=1e-5)
    assert metric.score_against([one], [one])[0] == pytest.approx(0, abs=1e-6)
    assert not metric.info.higher_is_better and "open_clip_vitb32" in metric.info.version
    _, (same,) = load_metrics("dreamsim", weights={"dreamsim": str(folder)})
    assert same.info.kind == "reference"


def test_nothing_is_fetched_for_a_folder_that_lacks_a_file(folder, tmp_path):
    (folder / "open_clip_vitb32_pretrain.pth.tar").unlink()
    with pytest.raises(InputError, match=r"lacks open_clip_vitb32_pretrain.pth.tar of DreamSim open_clip_vitb32"):
        load_reference_metric("dreamsim", weights=str(folder))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no kind of DreamSim"):
        load_reference_metric("dreamsim", weights=str(empty))
    with pytest.raises(InputError, match="--weights dreamsim=FOLDER"):
        load_reference_metric("dreamsim")

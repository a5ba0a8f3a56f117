"""A modular pipeline becomes a backbone whose pictures are those that its own blocks make, or is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import ModularPipeline
from typer.testing import CliRunner

from qsched.backbones import BackboneError, load_backbone
from qsched.backbones.find import DEFAULTS_NAME
from qsched.backbones.modular import convert_modular
from qsched.cli.main import app
from tests.backbones.zoo import save

PROMPTS = ["a red ring", "a blue dot"]
INDEX = "modular_model_index.json"


@pytest.fixture(scope="module")
def modular(random_pipelines, tmp_path_factory) -> Path:
    """The random sdxl as a modular pipeline, saved by diffusers."""
    return saved(random_pipelines["sdxl"], tmp_path_factory.mktemp("modular") / "sdxl")


def saved(ordinary: Path, folder: Path) -> Path:
    pipeline = ModularPipeline.from_pretrained(str(ordinary))
    pipeline.load_components(torch_dtype=torch.float32)
    pipeline.save_pretrained(str(folder))
    shutil.copyfile(ordinary / DEFAULTS_NAME, folder / DEFAULTS_NAME)
    return folder


@pytest.mark.parametrize(
    ("name", "off"), [("StableDiffusionXLPipeline", 0.0), ("ZImagePipeline", 0.0), ("FluxPipeline", 1e-5)]
)
def test_a_converted_pipeline_makes_the_pictures_of_the_modular_one(tmp_path, name, off) -> None:
    """The blocks of FLUX give the time once for a whole batch, which rounds differently."""
    folder = saved(save(name, tmp_path), tmp_path / "modular")
    assert convert_modular(folder, tmp_path / "new").kind == name
    backbone = load_backbone(str(tmp_path / "new"))
    theirs = ModularPipeline.from_pretrained(str(folder))
    theirs.load_components(torch_dtype=torch.float32)
    if getattr(theirs, "guider", None) is not None:
        theirs.update_components(guider=theirs.guider.new(guidance_scale=1.0))  # none, as ours has it with 0
    options = {**backbone.call_options, "width": backbone.width, "height": backbone.height}
    options |= {"guidance_scale": 0.0} if name == "FluxPipeline" else {}
    with torch.inference_mode():
        generators = [[torch.Generator().manual_seed(seed) for seed in (1, 2)] for _ in range(2)]
        ours = backbone.call(PROMPTS, generators[0], None, steps=2).images
        blocks = theirs(prompt=PROMPTS, generator=generators[1], num_inference_steps=2, output_type="pt", **options)
    assert float((ours - torch.stack(list(blocks.values["images"]))).abs().max()) <= off


def test_the_command_links_the_files_and_says_what_it_made(modular, tmp_path) -> None:
    (modular / "LICENSE.md").write_text("terms")
    done = CliRunner().invoke(app, ["convert", str(modular), "--out", str(tmp_path / "new")])
    assert done.exit_code == 0 and "driven as          StableDiffusionXLPipeline" in done.output, done.output
    weights = "unet/diffusion_pytorch_model.safetensors"
    assert (tmp_path / "new" / weights).samefile(modular / weights)
    assert (tmp_path / "new" / "LICENSE.md").read_text() == "terms"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_blocks_class_name": "MyBlocks"}, "only diffusers' own of a"),
        ({"_class_name": "MyModularPipeline"}, "in their own code, which is not run"),
        ({"_class_name": "WanModularPipeline", "_blocks_class_name": "WanBlocks"}, "WanPipeline"),
        ({"controlnet": ["diffusers", "ControlNetModel", {}]}, "does not take"),
        ({"vae": ["diffusers", "AutoencoderKL", {"pretrained_model_name_or_path": "org/vae"}]}, "takes from org/vae"),
        ({"vae": ["diffusers", "AutoencoderKL", {"pretrained_model_name_or_path": "org/vae"}]}, "its vae from org/vae"),
    ],
)
def test_what_might_make_other_pictures_is_refused(modular, tmp_path, change, message) -> None:
    folder = Path(shutil.copytree(modular, tmp_path / "copy"))
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({**index, **change}))
    if "vae" in change and message.startswith("takes from"):
        shutil.rmtree(folder / "vae")
    with pytest.raises(BackboneError, match=message):
        convert_modular(folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()

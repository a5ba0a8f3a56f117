"""Every text-to-image class in the zoo keeps the promises of a backbone, through one driver; docs have the table."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import torch
from PIL.Image import Image

from qsched.backbones import Backbone, load_backbone
from qsched.backbones.classes import reads_texts_first
from qsched.backbones.families import Family, family_of
from qsched.backbones.texts import encoder_names
from qsched.generation import initial_latents, render_batch
from qsched.scheduling import Coefficients
from tests.backbones.zoo import ZOO, save

DOCS = Path(__file__).parents[2] / "docs" / "backbones.md"
PROMPTS = ["a red ring", "a blue dot on a large grey ring on a small green ring on a red dot on a grey ring"]
SEEDS = [1, 2]
SLOW = ("HiDreamImagePipeline", "Kandinsky5T2IPipeline")  # they make pictures of one area only
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in ZOO]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zoo")


def classes_of(name: str, folders: Path) -> tuple[str, str]:
    """The classes of a pipeline of the zoo and of its scheduler, as its folder names them."""
    folder = folders / name if (folders / name).exists() else save(name, folders)
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return index["_class_name"], index["scheduler"][1]


def pictures(backbone: Backbone, coefficients: Coefficients | None = None) -> list[Image]:
    """The pictures of the prompts, one at a time if the class asks for it."""
    n = len(PROMPTS) if not backbone.family.one_at_a_time else 1
    cut = [slice(i, i + n) for i in range(0, len(PROMPTS), n)]
    batches = [render_batch(backbone, PROMPTS[c], SEEDS[c], coefficients=coefficients) for c in cut]
    return [picture for batch in batches for picture in batch]


def pixels(backbone: Backbone, prompts: list[str], seeds: list[int]) -> torch.Tensor:
    """Pictures from 0 to 1 before they are rounded."""
    latents, generators = initial_latents(backbone, seeds)
    with torch.inference_mode():
        result = backbone.call(prompts, generators, latents)
    return next(value for value in result.values() if value is not None)


@pytest.mark.parametrize("name", NAMES)
def test_a_class_keeps_the_promises_of_a_backbone(folders, name) -> None:
    backbone = load_backbone(str(save(name, folders)))
    stock = pictures(backbone)
    assert all(picture.size == (backbone.width, backbone.height) for picture in stock)

    # Encoders that read everything first and leave change nothing.
    later = load_backbone(str(folders / name), later_denoiser=True)
    n = len(PROMPTS) if not later.family.one_at_a_time else 1
    later.read_texts(PROMPTS[i : i + n] for i in range(0, len(PROMPTS), n))
    assert len(later.texts) > 0 and not encoder_names(later.pipeline), "the encoders have left"
    later.complete()
    assert [p.tobytes() for p in pictures(later)] == [p.tobytes() for p in stock]
    assert reads_texts_first(type(later.pipeline).__name__)

    ones = pictures(backbone, Coefficients.linear())
    assert [p.tobytes() for p in ones] == [p.tobytes() for p in stock], "coefficients of 1 change nothing"
    scaled = pictures(backbone, Coefficients.constant(model=0.7, sample=1.0))
    assert all(a.tobytes() != b.tobytes() for a, b in zip(stock, scaled, strict=True)), "0.7 changes every picture"

    # The noise is that of a plain diffusers call with one generator a picture, and decides the picture.
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    with torch.inference_mode():
        plain = next(v for v in backbone.call(PROMPTS, generators, None).values() if v is not None)
    ours = pixels(backbone, PROMPTS, SEEDS)
    assert torch.equal(plain, ours)

    # Company and place in the batch do not matter beyond rounding; prompts do, or this would prove nothing.
    alone = torch.cat([pixels(backbone, [p], [s]) for p, s in zip(PROMPTS, SEEDS, strict=True)])
    turned = pixels(backbone, PROMPTS[::-1], SEEDS[::-1]).flip(0)
    company = max(float((ours - other).abs().max()) for other in (alone, turned))
    text = float((ours - pixels(backbone, PROMPTS[::-1], SEEDS)).abs().max())
    independent = company <= min(1 / 255, text / 20)
    assert independent is (not backbone.family.one_at_a_time), f"{company:.2g} for company, {text:.2g} for the prompt"


@pytest.mark.parametrize("name", ["FluxPipeline", "SanaSprintPipeline", "ErnieImagePipeline"])
def test_noise_that_is_given_is_the_noise_of_the_picture(folders, name) -> None:
    backbone = load_backbone(str(folders / name if (folders / name).exists() else save(name, folders)))
    latents, _ = initial_latents(backbone, SEEDS)
    others = [torch.Generator().manual_seed(seed) for seed in (8, 9)]
    seen = []
    denoiser = backbone.denoiser.register_forward_pre_hook(
        lambda _module, args, kwargs: seen.append((args, kwargs)), with_kwargs=True
    )
    with torch.inference_mode():
        backbone.call(PROMPTS, others, latents)
        backbone.call(PROMPTS, others, latents + 1)
    denoiser.remove()
    first, second = seen[0], seen[len(seen) // 2]
    tensors = [t for call in (first, second) for t in (*call[0], *call[1].values()) if isinstance(t, torch.Tensor)]
    half = len(tensors) // 2
    changed = [not torch.equal(a, b) for a, b in zip(tensors[:half], tensors[half:], strict=True)]
    assert sum(changed) == 1, "the denoiser sees the given latents, and nothing else that depends on them"


def differences(family: Family) -> str:
    """A family in the words of the table."""
    said = [] if family.guidance == "guidance_scale" else [f"guidance is `{family.guidance}`"]
    said += [f"`{name}={value}`" for name, value in family.options.items()]
    said += ["options depend on the number of steps"] if family.by_steps is not None else []
    said += [f"one picture at a time: {family.one_at_a_time}"] if family.one_at_a_time else []
    said += [family.note] if family.note else []
    return "; ".join(said) or "nothing"


def table(folders: Path) -> str:
    rows = ["| class | scheduler | steps | guidance | what differs |", "|---|---|---|---|---|"]
    for name, member in ZOO.items():
        pipeline, scheduler = classes_of(name, folders)
        family = family_of(pipeline)
        cells = (
            f"`{pipeline}`",
            scheduler,
            member.steps,
            f"{member.guidance_scale:g}",
            differences(family),
        )
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows)


def test_the_table_of_classes_is_the_zoo(folders) -> None:
    """With QSCHED_UPDATE_DOCS=1 it is written instead of compared."""
    page = DOCS.read_text(encoding="utf-8")
    made = re.sub(
        r"(<!-- classes -->\n).*?(\n<!-- end -->)", lambda m: m[1] + table(folders) + m[2], page, flags=re.DOTALL
    )
    if os.environ.get("QSCHED_UPDATE_DOCS"):
        DOCS.write_text(made, encoding="utf-8")
    assert made == DOCS.read_text(encoding="utf-8"), "run this test with QSCHED_UPDATE_DOCS=1"
    assert len({classes_of(name, folders)[0] for name in ZOO}) >= 20


def test_a_class_that_no_test_drives_makes_one_picture_at_a_time(folders) -> None:
    assert "no test has shown" in (family_of("BriaPipeline").one_at_a_time or "")
    driven = {classes_of(name, folders)[0] for name in ZOO}
    from qsched.backbones.families import _OWN, _UNTESTED

    assert {family.pipeline for family in _OWN if family.one_at_a_time != _UNTESTED} == driven

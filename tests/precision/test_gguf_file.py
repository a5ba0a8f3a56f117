"""Weights read from GGUF files: K-quants bit for bit as the gguf package decodes them, and files that do not fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from torch import nn

from qsched.precision import PrecisionError, apply_precision, find_recipe

K_QUANTS = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]


@dataclass(frozen=True)
class Model:
    denoiser: nn.Module
    dtype: torch.dtype
    name: str = "model"
    denoiser_name: str = "unet"


def model(dtype: torch.dtype = torch.float32) -> Model:
    torch.manual_seed(0)
    layers = nn.ModuleDict({"conv_in": nn.Conv2d(3, 8, 3), "ff": nn.Linear(512, 6), "norm": nn.LayerNorm(6)})
    return Model(layers.to(dtype), dtype)


def random_blocks(kind: gguf.GGMLQuantizationType, rows: int, inputs: int) -> np.ndarray:
    """Stored bytes of a type that the package cannot make: any codes, with scales that are small numbers."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = np.random.default_rng(0).integers(0, 256, (rows, inputs // block, size), dtype=np.uint8)
    scale = np.frombuffer(np.float16([0.01]).tobytes(), np.uint8)
    # The float16 scales are where each type has them; everything else is codes.
    places = {"Q2_K": (-4, -2), "Q3_K": (-2,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (-2,)}[kind.name]
    for place in places:
        start = place % size
        raw[..., start : start + 2] = scale
    return raw.reshape(rows, -1)


def write(path: Path, denoiser: nn.Module, kind: str, *, leave_out: str = "", extra: str = "") -> np.ndarray:
    """The denoiser as a GGUF file whose ff.weight is of a K-quant; what that decodes to."""
    writer = gguf.GGUFWriter(path, "test")
    quantized = gguf.GGMLQuantizationType[kind]
    blocks = random_blocks(quantized, 6, 512)
    for name, tensor in denoiser.state_dict().items():
        if name == "ff.weight":
            writer.add_tensor(name, blocks, raw_dtype=quantized)
        elif name != leave_out:
            kept = tensor.float().numpy() + 1  # other values than the folder's: the file is what counts
            writer.add_tensor(name, kept.astype(np.float16) if name == "conv_in.weight" else kept)
    if extra:
        writer.add_tensor(extra, np.zeros((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return gguf.quants.dequantize(blocks, quantized)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", K_QUANTS)
def test_k_quants_are_read_as_the_package_decodes_them(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    expected = torch.from_numpy(write(path, model().denoiser, kind)).to(dtype)
    assert expected.float().std() > 0
    ours, before = model(dtype), model(dtype)
    report = apply_precision(ours, f"gguf:file={path}")
    layer = ours.denoiser["ff"]
    assert torch.equal(layer.weight, expected)
    # Everything else comes from the file too.
    assert torch.equal(layer.bias, (model().denoiser["ff"].bias + 1).to(dtype))
    assert not torch.equal(ours.denoiser["conv_in"].weight, before.denoiser["conv_in"].weight)
    assert report.converted == ("ff",) and report.skipped == ("conv_in: F16 in the file",)
    assert report.weight_bits == {"ff": int(kind[1])} and report.simulated
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    assert report.packed_bytes == 6 * 512 // block * size + 2 * 8 * 27 + 4 * (8 + 6 + 6 + 6)
    x = torch.randn(2, 512).to(dtype)
    assert torch.equal(layer(x), nn.functional.linear(x, expected, layer.bias))


def test_the_content_of_the_file_is_in_the_hash_and_its_folder_is_not(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "mine.gguf" for folder in "abc"]
    for path, kind in zip(paths, ("Q4_K", "Q4_K", "Q6_K"), strict=True):
        path.parent.mkdir()
        write(path, model().denoiser, kind)
    a, b, c = (find_recipe(f"gguf:file={path}") for path in paths)
    assert a.hash == b.hash != c.hash and a.name == "gguf:file=mine"
    assert str(tmp_path) not in str(a.to_dict())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"leave_out": "norm.bias"}, r"1 are missing from it \(for example norm\.bias\)"),
        ({"extra": "double_blocks.0.img"}, r"1 are not the denoiser's \(for example double_blocks\.0\.img\)"),
    ],
)
def test_a_file_whose_names_do_not_fit_is_an_error(changes: dict, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    write(path, model().denoiser, "Q4_K", **changes)
    with pytest.raises(PrecisionError, match=complaint):
        apply_precision(model(), f"gguf:file={path}")


def test_a_file_of_another_model_and_one_that_is_not_gguf_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    write(path, nn.ModuleDict({"ff": nn.Linear(512, 6)}), "Q4_K")
    wide = Model(nn.ModuleDict({"ff": nn.Linear(256, 6)}), torch.float32)
    with pytest.raises(PrecisionError, match=r"ff\.weight has shape \(6, 512\) in the file and \(6, 256\)"):
        apply_precision(wide, f"gguf:file={path}")
    path.write_bytes(b"not a model")
    with pytest.raises(PrecisionError, match="cannot be read as GGUF"):
        apply_precision(model(), f"gguf:file={path}")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("gguf", r"write gguf:file=PATH\.gguf"),
        ("gguf:file=absent.gguf", "is not a file"),
        ("w4a4:file=x.gguf", "only gguf reads a file"),
        ("gguf:keep=a:file={file}", "the file decides what is kept"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_before_anything_is_loaded(
    name: str, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"")
    with pytest.raises(PrecisionError, match=complaint):
        find_recipe(name.format(file=path))

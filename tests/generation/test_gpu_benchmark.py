"""The GPU benchmark is ready: its models have the published sizes, and the same code runs on a CPU with toys.

It has not run on a GPU yet.
"""

from __future__ import annotations

import json

import pytest

from benchmarks import generation_gpu
from qsched.backbones import BACKBONES


@pytest.mark.parametrize(("model", "name"), [("flux", "flux-schnell"), ("sdxl", "sdxl-turbo")])
def test_denoiser_and_vae_have_the_sizes_of_the_named_models(model, name) -> None:
    pipeline = generation_gpu.build(model, "full", "meta")
    denoiser = pipeline.transformer if model == "flux" else pipeline.unet
    spec = BACKBONES[name]
    assert sum(p.numel() for p in denoiser.parameters()) == pytest.approx(spec.denoiser_parameters, rel=0.01)
    assert sum(p.numel() for p in pipeline.vae.parameters()) == pytest.approx(spec.vae_parameters, rel=0.01)
    assert pipeline.vae_scale_factor == 8 and str(denoiser.dtype) == "torch.bfloat16"
    widths = pipeline.text_encoder.config.hidden_size, pipeline.text_encoder_2.config.hidden_size
    wanted = (denoiser.config.pooled_projection_dim, denoiser.config.joint_attention_dim) if model == "flux" else None
    assert widths == (wanted or (768, denoiser.config.cross_attention_dim - 768))


def test_lines_are_written_as_they_come_and_what_did_not_fit_is_named(tmp_path, capsys) -> None:
    out = tmp_path / "gpu.json"
    small = ["--size", "small", "--device", "cpu", "--pictures", "1", "--out", str(out), "--models", "flux"]
    generation_gpu.main([*small, "--precisions", "bf16,nosuch,nf4"])
    record = json.loads(out.read_text())
    assert [(line["precision"], line["schedule"]) for line in record["lines"]] == [
        ("bf16", "stock"),
        ("bf16", "q-sched"),
        ("nf4", "stock"),
        ("nf4", "q-sched"),
    ]
    assert "flux nosuch" in record["failed"] and record["missing"] == [] and record["machine"]["gpu"] is None
    whole, packed = record["lines"][0], record["lines"][2]
    assert packed["resident_bytes"] < whole["resident_bytes"] and packed["layers_converted"] > 0
    assert whole["peak_bytes_rendering"] is None and whole["seconds_per_picture"] > 0
    capsys.readouterr()
    generation_gpu.main([*small, "--precisions", "bf16,nf4", "--limit-seconds", "-1"])
    assert "not measured: flux bf16, flux nf4" in capsys.readouterr().out

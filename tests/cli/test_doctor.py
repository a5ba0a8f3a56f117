"""`qsched doctor` tells a newcomer what can run here, without importing torch, by stated arithmetic."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from typer.testing import CliRunner

from qsched.backbones.memory import WORKING, Parts, parts_of, peaks
from qsched.backbones.named import BACKBONES
from qsched.cli import doctor
from qsched.cli.main import app

GIB = 1024**3


def test_every_backbone_is_listed_with_what_it_needs(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor, "_gpus", lambda: [("A GPU", 24 * GIB)])
    unpinned = replace(BACKBONES["sana-sprint"], revision=None, unpinned=True)
    monkeypatch.setitem(BACKBONES, "sana-sprint", unpinned)
    flux = BACKBONES["flux-schnell"]
    snapshot = tmp_path / "models--black-forest-labs--FLUX.1-schnell" / "snapshots" / (flux.revision or "")
    (snapshot / "transformer").mkdir(parents=True)
    (snapshot / "model_index.json").write_text("{}")
    result = CliRunner().invoke(app, ["doctor"])
    lines = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    assert result.exit_code == 0 and set(BACKBONES) <= set(lines)
    assert "in part" in lines["flux-schnell"] and "25" in lines["flux-schnell"]
    assert "fits in w8a8, w4a8, nf4 " in lines["flux-schnell"]
    assert "fits" in lines["sdxl-turbo"] and "not pinned" in lines["sana-sprint"]
    assert "sana-sprint: no commit" in result.output and "--revision COMMIT" in result.output


def test_flux_in_four_bits_fits_24_gb_by_the_arithmetic() -> None:
    flux = BACKBONES["flux-schnell"]
    parts = parts_of(flux)
    assert parts is not None
    nf4, w4a8 = (peaks(parts, method, dtype="bf16") for method in ("bitsandbytes-nf4", "torchao-w4a8"))
    vae, denoiser = 2 * 84_000_000, 11_900_000_000
    assert nf4.rendering == vae + round(denoiser * 4.51 / 8) and w4a8.rendering == vae + round(denoiser * 8.75 / 8)
    assert nf4.texts == w4a8.texts == 2 * (16_870_000_000 - denoiser)
    assert nf4.most + WORKING < 24e9 and w4a8.most + WORKING < 24e9 < peaks(parts, "dtype", dtype="bf16").most + WORKING


def test_offloading_and_adapters_count_where_the_weights_are() -> None:
    parts = Parts(encoders=5, others=1, denoiser=20, matrices=20, largest=2)
    assert peaks(parts, "dtype", dtype="bf16", offload="model").most == 40, "the denoiser alone"
    assert peaks(parts, "dtype", dtype="bf16", offload="sequential").most == 4, "a layer alone"
    fused = replace(parts, whole=True)
    assert peaks(fused, "dtype", dtype="bf16").machine == 52, "fused in the machine's memory"
    assert peaks(fused, "bitsandbytes-nf4", dtype="bf16", on_gpu=False).most == 52
    assert peaks(replace(parts, texts_first=False), "dtype", dtype="bf16").rendering == 52, "its encoders stay"


def test_it_imports_no_torch() -> None:
    code = "import sys; from typer.testing import CliRunner; from qsched.cli.main import app\n"
    code += (
        "assert CliRunner().invoke(app, ['doctor']).exit_code == 0 and not {'torch', 'diffusers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

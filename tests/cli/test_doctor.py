"""`qsched doctor` tells a newcomer what can run here, without importing torch, by stated arithmetic."""

from __future__ import annotations

import subprocess
import sys

from typer.testing import CliRunner

from qsched.backbones.memory import WORKING, memory_need
from qsched.backbones.named import BACKBONES
from qsched.cli import doctor
from qsched.cli.main import app

GIB = 1024**3


def test_every_backbone_is_listed_with_what_it_needs(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor, "_gpus", lambda: [("A GPU", 24 * GIB)])
    flux = BACKBONES["flux-schnell"]
    snapshot = tmp_path / "models--black-forest-labs--FLUX.1-schnell" / "snapshots" / (flux.revision or "")
    (snapshot / "transformer").mkdir(parents=True)
    (snapshot / "model_index.json").write_text("{}")
    result = CliRunner().invoke(app, ["doctor"])
    lines = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    assert result.exit_code == 0 and set(BACKBONES) <= set(lines)
    assert "in part" in lines["flux-schnell"] and "no: loading needs 33 GiB, the GPU has 24" in lines["flux-schnell"]
    assert "fits" in lines["sdxl-turbo"] and "not pinned" in lines["sana-sprint"]
    assert "sana-sprint: no commit" in result.output and "--revision COMMIT" in result.output


def test_flux_in_four_bits_fits_24_gb_by_the_arithmetic() -> None:
    flux = BACKBONES["flux-schnell"]
    nf4, w4a8 = memory_need(flux, "nf4"), memory_need(flux, "w4a8")
    assert nf4 is not None and w4a8 is not None
    others = 2 * (16_870_000_000 - 11_900_000_000)
    assert nf4.together == others + 11_900_000_000 * 4.5 / 8 + WORKING < 24e9
    assert w4a8.largest == 11_900_000_000 * 8.5 / 8 + WORKING < 24e9


def test_it_imports_no_torch() -> None:
    code = "import sys; from typer.testing import CliRunner; from qsched.cli.main import app\n"
    code += (
        "assert CliRunner().invoke(app, ['doctor']).exit_code == 0 and not {'torch', 'diffusers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

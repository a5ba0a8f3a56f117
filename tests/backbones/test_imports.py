"""A command imports the model libraries without the optional packages that it does not use, and nothing changes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from qsched.backbones.find import find_spec
from qsched.backbones.imports import import_model_libraries, may_need_all, unused_packages
from qsched.backbones.spec import Lora
from qsched.cli.bench_runner import run_here
from qsched.generation import Request, generate_pairs
from qsched.process import is_our_own
from qsched.records import iter_rows

CODE = """
import sys
from qsched.cli.main import main
try:
    main()
finally:
    names = {"bitsandbytes", "peft", "torchao", "boto3", "scipy", "torchvision"}
    print("imported:", *sorted(names & set(sys.modules)))
"""


def run(folder: Path, arms: str, out: Path) -> subprocess.CompletedProcess[str]:
    options = ["--backbone", str(folder), "--prompts", str(prompts(out.parent)), "--device", "cpu", "--steps", "1"]
    command = [sys.executable, "-c", CODE, "generate-pairs", *options, "--arms", arms, "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def prompts(folder: Path) -> Path:
    path = folder / "prompts.txt"
    path.write_text("a red ring\n")
    return path


@pytest.mark.slow
def test_a_command_leaves_out_what_it_does_not_use_and_ends_quietly(random_pipelines, tmp_path) -> None:
    done = run(random_pipelines["flux"], "fp32,w4a4", tmp_path / "set")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported:"
    assert "leaked" not in done.stderr, "triton complains at exit about what the collector was told to leave alone"


@pytest.mark.slow
def test_arms_of_those_packages_make_the_same_bytes_in_a_command_and_in_a_library(random_pipelines, tmp_path) -> None:
    arms, here = "fp32,nf4,int8,w8a8,w4a8", tmp_path / "here"
    done = run(random_pipelines["flux"], arms, tmp_path / "set")
    assert done.returncode == 0 and "bitsandbytes" in done.stdout.splitlines()[-1], done.stderr
    request = Request(str(random_pipelines["flux"]), arms, prompts(tmp_path), here, device="cpu", steps=1)
    generate_pairs(request)
    made = [{(row.arm, row.prompt_id): row.sha256 for row in iter_rows(out)} for out in (tmp_path / "set", here)]
    assert made[0] == made[1] and len(set(made[0].values())) > 1


def test_in_a_process_that_is_not_ours_nothing_is_hidden(random_pipelines, monkeypatch) -> None:
    assert not is_our_own(), "tests and notebooks never claim their process"
    monkeypatch.delitem(sys.modules, "diffusers")
    import_model_libraries(find_spec(str(random_pipelines["sd15"])))
    assert "diffusers" not in sys.modules


def test_commands_that_follow_one_another_hide_nothing(monkeypatch) -> None:
    """Of two models of a benchmark the second may have a LoRA: diffusers asks for peft once, when it is imported."""
    monkeypatch.setattr("qsched.process._claimed", True)
    assert run_here(("--version",)) == 0
    assert not is_our_own()


def test_a_model_whose_folder_shows_a_use_for_a_package_gets_it(random_pipelines, tmp_path) -> None:
    """diffusers asks for scipy once, when it is imported; without it LMS is a class that only refuses."""
    assert {"scipy", "torchvision", "boto3"} <= set(unused_packages(find_spec(str(random_pipelines["sd15"]))))
    folder = Path(shutil.copytree(random_pipelines["sd15"], tmp_path / "sd15"))
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "use_beta_sigmas": True}, indent=2))
    assert "scipy" not in unused_packages(find_spec(str(folder)))
    (folder / "processor").mkdir()
    (folder / "processor" / "preprocessor_config.json").write_text("{}")
    assert "torchvision" not in unused_packages(find_spec(str(folder)))
    lms = replace(find_spec(str(random_pipelines["sd15"])), scheduler=("LMSDiscreteScheduler", {}))
    assert "scipy" not in unused_packages(lms)


def test_a_model_that_may_need_an_optional_package_gets_it(random_pipelines, tmp_path) -> None:
    plain = find_spec(str(random_pipelines["sd15"]))
    assert not may_need_all(plain)
    assert may_need_all(find_spec(str(random_pipelines["sd15"]), loras=(Lora("x.safetensors"),)))
    assert may_need_all(find_spec("org/model@" + "0" * 40)), "its files may not be here yet"
    quantized = Path(shutil.copytree(random_pipelines["sd15"], tmp_path / "quantized"))
    config = json.loads((quantized / "unet" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (quantized / "unet" / "config.json").write_text(json.dumps(config))
    assert may_need_all(find_spec(str(quantized)))
    adapted = Path(shutil.copytree(random_pipelines["sd15"], tmp_path / "adapted"))
    (adapted / "text_encoder" / "adapter_config.json").write_text("{}")
    assert may_need_all(find_spec(str(adapted)))

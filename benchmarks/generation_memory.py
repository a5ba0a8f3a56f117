"""Peak memory of `generate-pairs` against its plan, each arm in its own process, on a random FLUX of 284 M weights.

    python -m benchmarks.generation_memory [--arms bf16,w8a8,w4a8,nf4,w4a4] [--old]

Measured is the anonymous memory of the process (RssAnon: pages of a file that is read can be dropped at any time, and
are not counted), every 2 ms from outside, above what it was before the run with all libraries imported. The plan is
that of `--dry-run`: weights only. `--old` also loads everything first and quantizes then.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

_READY = "ready"
_MIB = 2**20


def build(folder: Path) -> Path:
    """A FLUX pipeline with random weights, saved in bfloat16: 284 M in the denoiser, 151 M in T5."""
    import torch
    from diffusers import FluxTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    from tests.pipelines import flux

    pipeline: Any = flux()  # type: ignore[no-untyped-call]  # the tests have no types
    torch.manual_seed(0)
    tokens = len(pipeline.tokenizer_2)
    pipeline.text_encoder_2 = T5EncoderModel(
        T5Config(vocab_size=tokens, d_model=1024, d_kv=64, num_heads=16, d_ff=2816, num_layers=12, pad_token_id=0)
    )
    pipeline.transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=5,
        num_single_layers=6,
        attention_head_dim=128,
        num_attention_heads=8,
        joint_attention_dim=1024,
        pooled_projection_dim=32,
    )
    pipeline.to(torch.bfloat16).save_pretrained(folder, max_shard_size="200MB")
    defaults = {"steps": 1, "guidance_scale": 0.0, "width": 32, "height": 32}
    (folder / "qsched.json").write_text(json.dumps(defaults), encoding="utf-8")
    return folder


def request(folder: Path, arm: str, root: Path) -> Any:
    """One batch of two pictures in one arm, in bfloat16."""
    from qsched.generation import Request

    prompts = root / "prompts.txt"
    prompts.write_text("a red ring\na blue dot\n", encoding="utf-8")
    return Request(str(folder), arm, prompts, root / f"set-{arm}", batch_size=2, device="cpu", dtype="bf16")


def run(folder: Path, arm: str, root: Path, *, old: bool) -> None:
    """The process that is measured: import everything, say so, wait for a line, then make the pictures."""
    import bitsandbytes  # noqa: F401  # what an arm imports is not what it needs for weights
    import diffusers  # noqa: F401
    import torch
    import torchao.quantization  # noqa: F401
    from transformers import T5EncoderModel  # noqa: F401

    from qsched.backbones import load_backbone, quiet_libraries
    from qsched.generation import generate_pairs, render_batch
    from qsched.precision import apply_precision

    quiet_libraries()
    warm = load_backbone("tiny-flux")
    render_batch(warm, ["a red ring"], [1], steps=1)
    del warm
    asked = request(folder, arm, root)
    sys.stdout.write(_READY + "\n")
    sys.stdout.flush()
    sys.stdin.readline()
    if old:
        backbone = load_backbone(asked.spec(), dtype=torch.bfloat16)
        apply_precision(backbone, arm)
        render_batch(backbone, ["a red ring", "a blue dot"], [1, 2], steps=1)
    else:
        generate_pairs(asked)


def measure(folder: Path, arm: str, root: Path, *, old: bool) -> tuple[int, float]:
    """(peak bytes above the beginning, seconds) of a run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.generation_memory", "--run", arm, "--folder", str(folder)]
    command += ["--root", str(root), *(["--old"] if old else [])]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None and child.stdout is not None, "both are pipes"
    while (line := child.stdout.readline()).strip() != _READY:
        if not line:
            raise SystemExit(f"the process of {arm} ended before it began")
    begin = peak = _anonymous(child.pid)
    started = time.perf_counter()
    child.stdin.write("go\n")
    child.stdin.flush()
    while child.poll() is None:
        peak = max(peak, _anonymous(child.pid))
        time.sleep(0.002)
    if child.returncode:
        raise SystemExit(f"the process of {arm} failed")
    return peak - begin, time.perf_counter() - started


def _anonymous(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", default="bf16,w8a8,w4a8,nf4,w4a4")
    parser.add_argument("--old", action="store_true")
    parser.add_argument("--run")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--root", type=Path)
    given = parser.parse_args()
    if given.run:
        run(given.folder, given.run, given.root, old=given.old)
        return
    from qsched.generation.forecast import forecast

    print(json.dumps(machine("torch", "diffusers", "torchao", "bitsandbytes")))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder = given.folder or build(root / "flux")
        print(f"{'arm':6} {'plan':>8} {'measured':>9} {'measured/plan':>14} {'seconds':>8}  MiB above imports")
        for arm in given.arms.split(","):
            plan = forecast(request(folder, arm, root)).arms[0].peak_bytes
            assert plan is not None, "the folder is here"
            peak, seconds = measure(folder, arm, root, old=False)
            words = f"{arm:6} {plan / _MIB:8.0f} {peak / _MIB:9.0f} {peak / plan:14.2f} {seconds:8.1f}"
            if given.old:
                before, _ = measure(folder, arm, root, old=True)
                words += f"  whole first: {before / _MIB:.0f}"
            print(words, flush=True)


if __name__ == "__main__":
    main()

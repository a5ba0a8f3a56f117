"""`generate-pairs` against a plain diffusers loop in processor time, and its memory as a set grows.

    python -m benchmarks.generation_pipeline [--backbone tiny-sdxl] [--pictures 32] [--repeats 3]
    python -m benchmarks.generation_pipeline --flat 100,2000

Both make the same pictures in batches of 8 and write PNG files. Ours is counted twice: from the moment that the
denoiser is there (pictures, hashes, rows, syncs, contact sheet), and from before prompts and denoiser are read; the
plain loop reads its prompts as it goes and has its denoiser already. `--flat` gives the highest and the last resident
memory of a process that makes so many pictures of one step.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

_BATCH = 8


class Clock:
    """A RunProgress that notes when the pipeline was there, and when the denoiser was."""

    def __init__(self) -> None:
        self.begun = self.ready = 0.0

    def planned(self, total: int, done: int) -> None: ...

    def loading(self, arms: object) -> None:
        del arms
        self.begun = time.process_time()

    def loaded(self, report: object) -> None:
        del report
        self.ready = time.process_time()

    def advanced(self, arm: object, images: int) -> None: ...


def request(backbone: str, n: int, root: Path, name: str, *, steps: int | None = None) -> Any:
    """So many pictures in fp32 on the CPU."""
    from qsched.generation import Request

    prompts = root / f"prompts-{n}.txt"
    prompts.write_text("".join(f"a small red ring on a blue background, number {i}\n" for i in range(n)))
    return Request(backbone, "fp32", prompts, root / name, batch_size=_BATCH, device="cpu", steps=steps)


def plain_seconds(pipeline: Any, prompts: list[str], root: Path) -> float:
    """Processor seconds of the loop that a user of diffusers writes."""
    import torch

    begin = time.process_time()
    for first in range(0, len(prompts), _BATCH):
        part = prompts[first : first + _BATCH]
        generators = [torch.Generator().manual_seed(first + i) for i in range(len(part))]
        size = {"width": 128, "height": 128}
        with torch.inference_mode():
            made = pipeline(part, generator=generators, num_inference_steps=4, guidance_scale=0.0, **size).images
        for i, picture in enumerate(made):
            picture.save(root / f"plain-{first + i}.png")
    return time.process_time() - begin


def our_seconds(asked: Any) -> tuple[float, float]:
    """Processor seconds of a run since its denoiser was there, and since its pipeline was."""
    from qsched.generation import generate_pairs

    clock = Clock()
    generate_pairs(asked, progress=clock)
    now = time.process_time()
    return now - clock.ready, now - clock.begun


def compare(backbone: str, n: int, repeats: int, root: Path) -> None:
    """Print both, and their ratio, after a run of each that is not counted."""
    import torch
    from diffusers import DiffusionPipeline

    from qsched.backbones import quiet_libraries
    from qsched.backbones.named import BACKBONES

    torch.set_num_threads(1)
    quiet_libraries()
    pipeline = DiffusionPipeline.from_pretrained(BACKBONES[backbone].source)
    pipeline.set_progress_bar_config(disable=True)
    asked = request(backbone, n, root, "first")
    prompts = asked.prompts.read_text(encoding="utf-8").splitlines()
    plain_seconds(pipeline, prompts, root)
    our_seconds(asked)
    for repeat in range(repeats):
        plain = plain_seconds(pipeline, prompts, root)
        ours, more = our_seconds(request(backbone, n, root, f"set-{repeat}"))
        words = f"ratio {ours / plain:.3f}; with prompts and denoiser read {more:.2f} s"
        print(f"{n} pictures: plain {plain:.2f} s, generate-pairs {ours:.2f} s, {words}", flush=True)


def flat(backbone: str, n: int) -> None:
    """Peak and last memory of a process that makes so many pictures."""
    code = "import sys; from benchmarks.generation_pipeline import one_step; one_step(sys.argv[1], int(sys.argv[2]))"
    begin = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", code, backbone, str(n)], capture_output=True, text=True, check=True)
    print(f"{n:6} pictures: {run.stdout.strip()}, {time.perf_counter() - begin:.0f} s", flush=True)


def one_step(backbone: str, n: int) -> None:
    """The process that `flat` measures."""
    import torch

    from qsched.backbones import quiet_libraries
    from qsched.generation import generate_pairs

    torch.set_num_threads(1)
    quiet_libraries()
    with tempfile.TemporaryDirectory() as name:
        generate_pairs(request(backbone, n, Path(name), "set", steps=1))
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak {peak / 1024:.0f} MiB, at the end {pages * resource.getpagesize() / 2**20:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="tiny-sdxl")
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--flat")
    given = parser.parse_args()
    print(json.dumps(machine("torch", "diffusers", "pillow")))
    if given.flat:
        for n in given.flat.split(","):
            flat(given.backbone, int(n))
        return
    with tempfile.TemporaryDirectory() as name:
        compare(given.backbone, given.pictures, given.repeats, Path(name))


if __name__ == "__main__":
    main()

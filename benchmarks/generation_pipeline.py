"""`generate-pairs` against a plain diffusers loop in processor time, and its memory as a set grows.

    python -m benchmarks.generation_pipeline [--backbone tiny-sdxl] [--pictures 32,100,1000] [--repeats 3]
    python -m benchmarks.generation_pipeline --flat 100,1000,10000

Both make the same pictures in batches of 8 and write PNG files. Ours is counted twice: from the moment that the
denoiser is there (pictures, hashes, rows, syncs, contact sheet), and from before prompts and denoiser are read; the
plain loop reads its prompts as it goes and has its denoiser already. The two take turns, and the median of the repeats
counts. `--flat` gives the highest and the last resident memory of a process that makes so many pictures of one step.
Each adds its part to benchmarks/results/generation_pipeline.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

_BATCH = 8
_RESULT = Path(__file__).parent / "results" / "generation_pipeline.json"


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


def compare(backbone: str, numbers: list[int], repeats: int, root: Path) -> dict[str, Any]:
    """Milliseconds per picture of both for each number of pictures, after a run of each that is not counted."""
    import torch
    from diffusers import DiffusionPipeline

    from qsched.backbones import quiet_libraries
    from qsched.backbones.named import BACKBONES

    torch.set_num_threads(1)
    quiet_libraries()
    pipeline = DiffusionPipeline.from_pretrained(BACKBONES[backbone].source)
    pipeline.set_progress_bar_config(disable=True)
    warm = request(backbone, _BATCH, root, "first")
    plain_seconds(pipeline, warm.prompts.read_text(encoding="utf-8").splitlines(), root)
    our_seconds(warm)
    curve = {}
    for n in numbers:
        rows = []
        for repeat in range(repeats):
            asked = request(backbone, n, root, f"set-{n}-{repeat}")
            plain = plain_seconds(pipeline, asked.prompts.read_text(encoding="utf-8").splitlines(), root)
            rows.append((plain, *our_seconds(asked)))
        each = [1000 / n * statistics.median(column) for column in zip(*rows, strict=True)]
        names = ("plain_ms", "ours_ms", "ours_with_reading_ms")
        curve[str(n)] = {
            **{name: round(value, 1) for name, value in zip(names, each, strict=True)},
            "ratio": round(statistics.median(ours / plain for plain, ours, _ in rows), 3),
            "ratio_with_reading": round(statistics.median(whole / plain for plain, _, whole in rows), 3),
            "repeats": repeats,
        }
        print(n, json.dumps(curve[str(n)]), flush=True)
    return curve


def flat(backbone: str, n: int) -> dict[str, int]:
    """Peak and last memory of a process that makes so many pictures."""
    code = "import sys; from benchmarks.generation_pipeline import one_step; one_step(sys.argv[1], int(sys.argv[2]))"
    begin = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", code, backbone, str(n)], capture_output=True, text=True, check=True)
    peak, last = map(int, run.stdout.split())
    print(f"{n:6} pictures: peak {peak} MiB, at the end {last} MiB, {time.perf_counter() - begin:.0f} s", flush=True)
    return {"peak_mib": peak, "last_mib": last}


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
    print(f"{peak / 1024:.0f} {pages * resource.getpagesize() / 2**20:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="tiny-sdxl")
    parser.add_argument("--pictures", default="32,100,1000")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--flat")
    given = parser.parse_args()
    where = machine("torch", "diffusers", "pillow")
    print(json.dumps(where))
    if given.flat:
        part: dict[str, Any] = {"memory": {n: flat(given.backbone, int(n)) for n in given.flat.split(",")}}
    else:
        with tempfile.TemporaryDirectory() as name:
            numbers = [int(n) for n in given.pictures.split(",")]
            part = {"processor_time": compare(given.backbone, numbers, given.repeats, Path(name))}
    found = json.loads(_RESULT.read_text(encoding="utf-8")) if _RESULT.is_file() else {}
    for key, values in part.items():
        # Numbers of pictures that were not measured now keep what they have, with their machine and commit.
        found.setdefault(key, {}).update({n: {**value, "machine": where} for n, value in values.items()})
    _RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

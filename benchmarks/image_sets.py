"""`python benchmarks/image_sets.py`: what a large image set costs to resume and to verify, and what two workers gain.

Makes a set of two arms of tiny-sdxl whose pictures are drawn, not rendered (manifest, rows and batches are real), then
runs `qsched generate-pairs` and `qsched verify` on it in processes of their own. `--ray N` renders N real pictures
with one Ray worker and with two instead. Writes JSON to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine

ARMS = "fp32,w4a4"
RESULTS = Path(__file__).parent / "results"
QSCHED = (sys.executable, "-m", "qsched")


def make_set(folder: Path, pictures: int) -> tuple[str, ...]:
    """Write a finished set of so many drawn pictures; returns the options that resume it."""
    import qsched.generation.render as render
    from qsched.generation import Request, generate_pairs
    from qsched.generation.worker import Worker

    prompts = folder / "prompts.txt"
    prompts.write_text("".join(f"a ring, number {n}\n" for n in range(pictures // 2)), encoding="utf-8")
    drawn = np.random.default_rng(0)

    def draw(_backbone: object, batch: Sequence[object], *_: object, **__: object) -> list[Image.Image]:
        noise = drawn.integers(0, 40, (len(batch), 128, 128, 3), dtype=np.uint8)
        return [Image.fromarray(one + np.uint8(90)) for one in noise]

    request = Request(backbone="tiny-sdxl", arms=ARMS, prompts=prompts, out=folder / "set", device="cpu")
    with (
        patch.object(render, "render_batch", draw),
        patch.object(Worker, "expect", lambda *_: None),
        patch.object(os, "fsync", lambda _: None),  # only the making of the set is quicker for it
    ):
        generate_pairs(request)
    options = ("--backbone", "tiny-sdxl", "--arms", ARMS, "--prompts", str(prompts), "--device", "cpu")
    return (*options, "--out", str(folder / "set"))


def timed(command: Sequence[str], *, code: int = 0) -> dict[str, float]:
    """Seconds on the clock and of the processor of a command that must end with this exit code."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        raise SystemExit(f"{' '.join(command)} failed:\n{process.stderr.read() if process.stderr else ''}")
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 2),
    }


def measure_set(pictures: int) -> dict[str, Any]:
    """Resume and verify of sets, beside reading and hashing alone, and the memory of the process that made them.

    Also what the shortest commands cost: help, a mistake, one rendered picture of one step.
    """
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="qsched-sets-") as root:
        one = ("--backbone", "tiny-sdxl", "--prompts", "demo", "--limit", "1", "--steps", "1", "--device", "cpu")
        out = ("--out", str(Path(root) / "one"))
        found["help"] = timed((*QSCHED, "--help"))
        found["mistake"] = timed((*QSCHED, "generate-pairs", *one, *out, "--arms", "fp31"), code=2)
        found["one picture"] = timed((*QSCHED, "generate-pairs", *one, *out, "--arms", "fp32"))
        for n in sorted({8, 1_000, pictures}):
            folder = Path(root) / str(n)
            folder.mkdir()
            options = make_set(folder, n)
            files = sorted((folder / "set" / "images").iterdir())
            found[f"{n} pictures"] = {
                "bytes": sum(file.stat().st_size for file in files),
                "peak_mib_when_made": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "resume": timed((*QSCHED, "generate-pairs", *options)),
                "verify": timed((*QSCHED, "verify", str(folder / "set"))),
                "read_and_hash": clock(partial(read_and_hash, files)),
            }
    return found


def read_and_hash(files: Sequence[Path]) -> None:
    """What verifying cannot do without."""
    for file in files:
        hashlib.sha256(file.read_bytes()).digest()


def clock(job: Callable[[], object]) -> float:
    """Seconds of a job on the clock."""
    began = time.perf_counter()
    job()
    return round(time.perf_counter() - began, 2)


def measure_ray(pictures: int) -> dict[str, Any]:
    """Pictures per second of one and of two Ray workers of one thread each, from the first picture to the last."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import qsched.generation.store as store
    from qsched.generation import Request, generate_pairs
    from qsched.generation.executors import find_executor
    from qsched.records import iter_rows

    found: dict[str, Any] = {}
    root = Path(tempfile.mkdtemp(prefix="qsched-ray-"))
    prompts = root / "prompts.txt"
    prompts.write_text("".join(f"a ring, number {n}\n" for n in range(pictures)), encoding="utf-8")
    pictures_of: list[list[tuple[str, str]]] = []
    add = store.Store.add
    for workers in (1, 2):
        times: list[tuple[float, int]] = []

        def timed_add(one: store.Store, made: Any, times: list[tuple[float, int]] = times) -> None:
            add(one, made)
            times.append((time.perf_counter(), len(made)))

        out = root / str(workers)
        request = Request(backbone="tiny-sdxl", arms="fp32", prompts=prompts, out=out, batch_size=2, device="cpu")
        with patch.object(store.Store, "add", timed_add):
            whole = clock(partial(generate_pairs, request, executor=find_executor("ray", workers=workers)))
        # Workers begin when they have loaded: the first batches are left out, one of each worker.
        first = times[workers - 1][0]
        rate = sum(n for at, n in times if at > first) / (times[-1][0] - first)
        found[f"{workers} workers"] = {"pictures_per_second": round(rate, 3), "seconds_in_all": whole}
        pictures_of.append([(row.prompt_id, row.sha256) for row in iter_rows(out)])
    shutil.rmtree(root, ignore_errors=True)
    rates = [found[f"{n} workers"]["pictures_per_second"] for n in (1, 2)]
    return {**found, "gain": round(rates[1] / rates[0], 2), "same_bytes": pictures_of[0] == pictures_of[1]}


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--ray", type=int, metavar="N", help="measure Ray workers on so many pictures instead")
    given = parser.parse_args()
    name = "image_sets_ray" if given.ray else "image_sets"
    result = measure_ray(given.ray) if given.ray else measure_set(given.pictures)
    record = {"machine": machine("torch", "pillow", "ray"), "result": result}
    text = json.dumps(record, indent=1) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

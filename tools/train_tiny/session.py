"""A training session: its checkpoints, its log, and the provenance that it writes."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from qsched.files import atomic_file


@dataclass(frozen=True)
class Settings:
    """What a session was asked for; written into every `training.json`."""

    work: Path
    out: Path
    device: str = "cpu"
    seed: int = 0
    threads: int = 1
    steps: int = 0
    batch: int = 0
    scenes: int = 40_000
    checkpoint_every: int = 250
    precision: str = "bf16"

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """bf16 arithmetic with float32 weights, or plain float32; on a CPU attention as plain matrix products.

        With 88 tokens and heads of 32 the fused attention of CPU torch is 3.3 times slower than the plain
        one, forward and backward (measured: 95 ms against 28 ms per layer).
        """
        device = self.device.split(":")[0]
        with ExitStack() as stack:
            stack.enter_context(torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16"))
            if device == "cpu":
                torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            yield


@dataclass
class Log:
    """Progress lines on stdout and in `<work>/<name>.log`, with the seconds spent so far."""

    path: Path
    spent_before: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds of training, those of resumed sessions included."""
        return self.spent_before + time.monotonic() - self.started

    def line(self, text: str) -> None:
        """Write one line at once."""
        stamped = f"{self.seconds:8.0f}s  {text}"
        print(stamped, flush=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(stamped + "\n")


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write the state whole or not at all."""
    with atomic_file(path, parents=True) as draft:
        torch.save(state, draft)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state of the last checkpoint, or None if there is none."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def _git_commit() -> str:
    answer = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    return answer.stdout.strip() if answer.returncode == 0 else "unknown (not a git checkout)"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def write_provenance(folder: Path, settings: Settings, **facts: Any) -> None:
    """`training.json` beside the weights: how they were made and what was measured."""
    device = torch.cuda.get_device_name(0) if settings.device.startswith("cuda") else _processor()
    record = {
        "script": "python -m tools.train_tiny",
        "arguments": [
            "--model",
            folder.name.removeprefix("tiny-"),
            *(
                part
                for name in ("device", "threads", "seed", "steps", "batch", "scenes", "precision")
                for part in (f"--{name}", str({**vars(settings), **facts}[name]))
            ),
        ],
        "seed": settings.seed,
        "machine": {"device": device, "threads": settings.threads, "system": platform.system()},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "diffusers", "transformers", "open_clip_torch")},
        },
        "git_commit": _git_commit(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **facts,
    }
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

"""`qsched doctor`: what is installed and on disk, what this machine can run, and what the rest would need."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.command_line import JSON_OPTION, gave_json

if TYPE_CHECKING:
    from qsched.backbones.spec import BackboneSpec

_PACKAGES = ("torch", "diffusers", "transformers", "torchao", "bitsandbytes", "peft", "gguf", "ray", "s3fs", "gcsfs")
_EXTRAS = {"peft": "lora", "gguf": "gguf", "ray": "ray", "s3fs": "remote"}
# The precisions that are shown, and the methods of their recipes.
_PRECISIONS = {"bf16": "dtype", "w8a8": "torchao-w8a8", "w4a8": "torchao-w4a8", "nf4": "bitsandbytes-nf4"}
_GIB = 1024**3


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("doctor")(doctor)


def doctor(json_file: Path | None = JSON_OPTION) -> None:
    """Say what is installed, which backbones are on disk, and what this machine can run.

    Nothing is loaded or downloaded. Memory is arithmetic from the numbers of weights, with 2 GiB allowed for the work
    of a forward pass. Without a GPU a large model runs slowly, if it fits.

    Example: qsched doctor
    """
    from rich.console import Console
    from rich.table import Table

    from qsched.backbones.memory import WORKING, parts_of, peaks
    from qsched.backbones.named import BACKBONES, registered_backbones

    gpus, ram = _gpus(), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if gave_json(_facts(gpus, ram), json_file):
        return
    console = Console(highlight=False, soft_wrap=True)
    for name in _PACKAGES:
        console.print(f"{name:13} {_installed(name)}", markup=False)
    console.print(f"{'GPU':13} {', '.join(f'{name} ({size / _GIB:.0f} GiB)' for name, size in gpus) or 'none found'}")
    console.print(f"{'memory':13} {ram / _GIB:.0f} GiB")
    console.print(f"{'free disk':13} {shutil.disk_usage(Path.cwd()).free / _GIB:.0f} GiB in this folder")
    console.print(f"{'hub cache':13} {_hub_cache()}\n")
    room = max([size for _, size in gpus], default=ram)
    where = "the GPU" if gpus else "this machine's memory"

    table = Table(box=None, pad_edge=False)
    for column in ("backbone", "on disk", *_PRECISIONS, "on this machine", "licence"):
        table.add_column(column, justify="right" if column in _PRECISIONS else "left")
    for spec in {**BACKBONES, **registered_backbones()}.values():
        parts = None if spec.is_local else parts_of(spec)
        needs = (
            {}
            if parts is None
            else {p: peaks(parts, m, dtype="bf16", on_gpu=bool(gpus)) for p, m in _PRECISIONS.items()}
        )
        sizes = {precision: need.most + WORKING for precision, need in needs.items()}
        machine = max((need.machine for need in needs.values()), default=0)
        cells = [f"{math.ceil(sizes[p] / _GIB)}" if p in sizes else "" for p in _PRECISIONS]
        verdict = _verdict(sizes, room, machine if gpus else 0, ram, where)
        table.add_row(spec.name, _on_disk(spec), *cells, verdict, spec.licence)
    console.print(table)
    console.print(
        "\nPrecisions: GiB on the device at the worst moment (a simulated precision takes what bf16 does)."
        "\nText encoders read all prompts first and leave; then the denoiser is quantized layer by layer as it is read."
    )
    for spec in BACKBONES.values():
        for line in _to_do(spec):
            console.print(line, markup=False)


def _facts(gpus: list[tuple[str, int]], ram: int) -> dict[str, object]:
    """What a program may want to know: versions (None if not installed), bytes, and which backbones are on disk."""
    from qsched.backbones.named import BACKBONES, registered_backbones

    return {
        "packages": {name: _version(name) for name in _PACKAGES},
        "gpus": [{"name": name, "bytes": size} for name, size in gpus],
        "memory_bytes": ram,
        "free_disk_bytes": shutil.disk_usage(Path.cwd()).free,
        "hub_cache": str(_hub_cache()),
        "backbones": {
            spec.name: {"on_disk": _on_disk(spec), "licence": spec.licence}
            for spec in {**BACKBONES, **registered_backbones()}.values()
        },
    }


def _verdict(sizes: dict[str, int], room: int, machine: int, ram: int, where: str) -> str:
    """Which of the precisions fit into the room, and into the machine's memory if its adapters are fused there."""
    if not sizes:
        return "runs here"
    if machine > ram:
        return f"no: fusing its adapter needs {machine / _GIB:.0f} GiB of memory, this machine has {ram / _GIB:.0f}"
    fitting = [precision for precision, size in sizes.items() if size <= room]
    if not fitting:
        return f"no: {math.ceil(min(sizes.values()) / _GIB)} GiB at least, {where} has {room / _GIB:.0f}"
    slowly = "" if where == "the GPU" else ", slowly, with --dtype bf16"
    return f"fits{slowly}" if len(fitting) == len(sizes) else f"fits in {', '.join(fitting)}{slowly}"


def _installed(package: str) -> str:
    extra = _EXTRAS.get(package, "generate")
    if package == "gcsfs" and _version(package) is None:
        return "not installed (pip install gcsfs: image sets on gs://)"
    return _version(package) or f"not installed (pip install 'qsched[{extra}]')"


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # 20 ms, which no other command's help needs

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gpus() -> list[tuple[str, int]]:
    """Name and bytes of each NVIDIA GPU, as nvidia-smi says; importing torch for it would take seconds."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.rpartition(",") for line in text.splitlines() if line.strip()]
    return [(name.strip(), int(size) * 1024**2) for name, _, size in rows]


def _hub_cache() -> Path:
    root = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or root / "hub")


def _on_disk(spec: BackboneSpec) -> str:
    if spec.is_local:
        return "yes" if (Path(spec.source) / "model_index.json").is_file() else "no"
    if spec.revision is None:
        return "not pinned"
    snapshot = _hub_cache() / f"models--{spec.source.replace('/', '--')}" / "snapshots" / spec.revision
    if not (snapshot / "model_index.json").is_file():
        return "no"
    return "yes" if any(snapshot.glob("*/*.safetensors")) else "in part"


def _to_do(spec: BackboneSpec) -> list[str]:
    """What a backbone needs from the user before its first use, apart from the download."""
    lines = []
    if spec.is_local and _on_disk(spec) == "no":
        lines.append(f"{spec.name}: its weights come with pip install 'qsched[tiny]'")
    if spec.unpinned:
        lines.append(f"{spec.name}: no commit of {spec.source} is known here; give --revision COMMIT")
    for lora in spec.loras:
        if lora.revision is None:
            lines.append(
                f"{spec.name}: no commit of {lora.source} is known here; download {lora.file}, give --lora FILE"
            )
    return lines

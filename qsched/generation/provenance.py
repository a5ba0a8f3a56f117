"""What made an image: versions, machine and commit."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from qsched import __file__ as package_file
from qsched import __version__

_PACKAGES = ("torch", "diffusers", "transformers", "torchao", "bitsandbytes", "pillow", "numpy")


def package_versions() -> dict[str, str]:
    """Versions of what touches a pixel; nothing is imported."""
    found = {"qsched": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def versions() -> dict[str, str]:
    """Versions of what touches a pixel, and the GPU with its driver if there is one."""
    import torch

    found = package_versions()
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
        found["cuda"] = str(torch.version.cuda)
        found["driver"] = _driver()
    return found


def _driver() -> str:
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.split("\n")[0]
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def git_commit() -> str | None:
    """Commit of the checkout that qsched runs from, '-dirty' when edited; None for an installed package."""
    root = Path(package_file).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        run = [
            subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10)
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no", "qsched"])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return run[0].stdout.strip() + ("-dirty" if run[1].stdout.strip() else "")

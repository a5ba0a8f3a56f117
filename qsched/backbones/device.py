"""The device and the dtypes that a backbone is loaded on and in."""

from __future__ import annotations

import torch

from qsched.backbones.errors import BackboneError
from qsched.backbones.spec import Offload

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def checked_device(device: str) -> torch.device:
    """'auto', 'cpu', 'cuda' or 'cuda:1' as a torch device; asking for a GPU that is not there is an error."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise BackboneError(f"device {device!r} is unknown; choose auto, cpu or cuda") from error
    if place.type not in ("cpu", "cuda"):
        raise BackboneError(f"device {device!r} is not supported; choose auto, cpu or cuda")
    if place.type == "cuda" and not torch.cuda.is_available():
        raise BackboneError(
            "device cuda: torch sees no CUDA GPU on this machine; use --device cpu, or install a CUDA build of torch"
        )
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise BackboneError(f"device {device!r}: this machine has {torch.cuda.device_count()} GPU(s), counted from 0")
    return place


def check_offload(offload: Offload, place: torch.device) -> None:
    """BackboneError for offloading from a device that has no other memory to use."""
    if offload != "none" and place.type == "cpu":
        raise BackboneError(
            f"--offload {offload} keeps weights in the machine's memory until the GPU needs them, and the device is "
            "the CPU; leave it out, or use --device cuda"
        )

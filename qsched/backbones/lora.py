"""Fuse LoRA adapters into the weights of a pipeline, before anything is quantized; an adapter left unfused is an error.

An unfused adapter is a second, small matrix beside each layer. A precision would quantize both, or skip the layers that
it wraps, and the arm would not be what its name says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qsched.backbones.errors import BackboneError
from qsched.backbones.spec import Lora
from qsched.errors import MissingExtraError

# A component may have no part in the file: most adapters leave the text encoders alone.
_DOUBTS = ("unexpected keys", "missing keys", "not loaded", "will be ignored")


def fuse_loras(pipeline: Any, files: list[tuple[Lora, Path]]) -> None:
    """Add scale * B A of every adapter to the weights it belongs to, in order.

    BackboneError for a pipeline class without adapters, a file that does not fit it, and one that changes nothing.
    """
    kind = type(pipeline).__name__
    if files and not hasattr(pipeline, "load_lora_weights"):
        raise BackboneError(f"{kind} cannot load a LoRA; fuse it elsewhere and save the model with save_pretrained")
    for lora, path in files:
        before = _fingerprints(pipeline)
        try:
            with _doubts_are_errors(path, kind):
                pipeline.load_lora_weights(str(path.parent), weight_name=path.name, local_files_only=True)
            loaded = [name for name in pipeline._lora_loadable_modules if has_adapter(getattr(pipeline, name, None))]  # noqa: SLF001
            pipeline.fuse_lora(components=loaded, lora_scale=lora.scale, safe_fusing=True)
            pipeline.unload_lora_weights()
        except (ValueError, KeyError, RuntimeError, OSError, AttributeError) as error:
            if "peft" in str(error).lower() and "backend" in str(error).lower():
                raise MissingExtraError("peft", "lora") from error
            raise BackboneError(f"the LoRA {path} does not fit {kind}: {str(error).splitlines()[0]}") from error
        if _fingerprints(pipeline) == before:
            raise BackboneError(f"the LoRA {path} changes no weight of {kind}; it belongs to another model")
    check_no_adapter(pipeline)


def check_no_adapter(pipeline: Any) -> None:
    """BackboneError if a component of the pipeline carries an adapter that is not fused."""
    for name, part in pipeline.components.items():
        if has_adapter(part):
            raise BackboneError(
                f"the {name} carries a LoRA that is not fused, so its matrices would be quantized apart from the "
                "weights they belong to; call pipeline.fuse_lora() and pipeline.unload_lora_weights(), or give --lora"
            )


def has_adapter(part: Any) -> bool:
    """True if a module has a layer of an adapter in it."""
    return isinstance(part, nn.Module) and any(hasattr(module, "lora_A") for module in part.modules())


@contextmanager
def _doubts_are_errors(path: Path, kind: str) -> Iterator[None]:
    """diffusers only logs that tensors of a file were not used."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, listener = logging.getLogger("diffusers"), Listener()
    level = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(listener)
    doubts = [message for message in said if any(doubt in message for doubt in _DOUBTS)]
    if doubts:
        raise BackboneError(f"the LoRA {path} does not fit {kind}: {' '.join(doubts[0].split())[:300]}")


def _fingerprints(pipeline: Any) -> dict[str, float]:
    """A sum of every weight matrix, to see that something changed."""
    with torch.inference_mode():
        return {
            f"{part}.{name}": float(tensor.double().abs().sum())
            for part, module in pipeline.components.items()
            if isinstance(module, nn.Module)
            for name, tensor in module.named_parameters()
            if tensor.ndim > 1
        }

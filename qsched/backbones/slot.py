"""The place of a denoiser in a pipeline: empty, being filled layer by layer, or filled.

A precision converts each layer as soon as it is read, so loading takes the memory of the quantized denoiser and of one
layer in its base dtype. The pipeline and its VAE stay as they are when the next precision wants a fresh denoiser.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import torch
from torch import nn

from qsched.backbones.empty import EmptyModel
from qsched.backbones.errors import BackboneError
from qsched.backbones.spec import Offload
from qsched.backbones.standin import StandIn

_BYTES_BETWEEN_TRIMS = 32 * 2**20


class DenoiserSlot:
    """The denoiser of a pipeline, and how it comes there.

    name       of the component
    device     where it computes; its tensors are converted there
    source     its files; None: `module` was read whole (its adapters are fused), and only moves
    offload    'model' and 'sequential' keep the tensors in the machine's memory until they are needed
    """

    def __init__(
        self,
        pipeline: Any,
        name: str,
        *,
        device: torch.device,
        source: EmptyModel | None,
        module: nn.Module,
        offload: Offload = "none",
        compiled: bool = False,
    ) -> None:
        self._pipeline, self.name, self._device = pipeline, name, device
        self._source, self.offload, self.compiled = source, offload, compiled
        self._scheduler = pipeline.scheduler
        self.module = module
        self.complete = False
        self._since_trim = 0
        self._vacate()

    @property
    def can_renew(self) -> bool:
        """False if another denoiser needs the whole pipeline to be loaded again."""
        return self._source is not None

    def renew(self) -> None:
        """Let the denoiser go, and begin with an empty one and the scheduler of the beginning."""
        assert self._source is not None, "a denoiser that was read whole cannot be read again"
        if self.offload != "none":
            self._pipeline.remove_all_hooks()
        self.module = nn.Module()
        self._vacate()
        give_back_memory()
        self.module = self._source.build()
        self.complete = False
        self._vacate()
        self._pipeline.scheduler = self._scheduler

    def fill(self, name: str, module: nn.Module) -> None:
        """Bring the module's own tensors to the device; nothing if the denoiser is complete."""
        if self.complete:
            return
        try:
            if self._source is not None:
                self._source.fill(name, module, self._device)
            else:
                for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                    tensor.data = tensor.data.to(self._device)
            self._since_trim += sum(tensor.nbytes for tensor in module.parameters(recurse=False))
        except torch.OutOfMemoryError as error:
            raise BackboneError(
                f"the {self.name} does not fit into the memory of {self._device}: {error}. Use a precision that takes "
                "less (`--dry-run` says how much), --offload model, or a larger GPU"
            ) from error

    def settle(self, module: nn.Module) -> None:
        """Put a module that is converted where it waits until it is called."""
        if self.complete:
            return
        if self.offload != "none":
            module.to("cpu")
        if self._since_trim > _BYTES_BETWEEN_TRIMS:
            self._give_back()

    def finish(self) -> None:
        """All of the denoiser is there: the pipeline may call it."""
        if self.complete:
            return
        self.complete = True
        self._give_back()
        setattr(self._pipeline, self.name, self.module)
        if self.compiled:
            self.module.compile()
        offload_to(self._pipeline, self._device, self.offload)

    def fill_whole(self) -> None:
        """Read all of the denoiser as it is."""
        for name, module in self.module.named_modules():
            self.fill(name, module)
            self.settle(module)
        self.finish()

    def _give_back(self) -> None:
        """Do not keep what was read and converted since the last time."""
        if self._source is not None:
            self._source.close()
        _trim_heap()
        self._since_trim = 0

    def _vacate(self) -> None:
        setattr(self._pipeline, self.name, StandIn(self.module, self._device))


def give_back_memory() -> None:
    """Give what nobody refers to any more back to the system, cycles too: that takes as long as there are objects."""
    gc.collect()
    give_back_freed()


def give_back_freed() -> None:
    """Give what was freed already back to the system."""
    torch.cuda.empty_cache()
    _trim_heap()


def _trim_heap() -> None:
    """Give back what was freed between blocks that are in use: by itself glibc keeps it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def offload_to(pipeline: Any, device: torch.device, offload: Offload) -> None:
    """Let the pipeline bring a component, or a layer, to the device when it is called, and take it away again."""
    if offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)

"""What text encoders made of the prompts, kept, so that they can leave memory before the denoiser comes.

`encode_prompt` is the pipeline's own method, wrapped: the same arguments (the prompts of a batch among them) give the
tensors that it gave the first time. They are kept in a temporary file without a name, which goes with the process.
"""

from __future__ import annotations

import inspect
import io
import json
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from qsched.backbones.errors import BackboneError
from qsched.backbones.slot import give_back_freed, give_back_memory, offload_to
from qsched.backbones.spec import Offload
from qsched.backbones.standin import StandIn

_PLAIN = (str, int, float, bool, type(None), torch.device, torch.dtype)


class RememberedTexts:
    """The pipeline's `encode_prompt` with a memory, and its text encoders while they are needed.

    reload    reads encoders again by component name, on their device; None: they wait in the machine's memory
    """

    def __init__(
        self,
        pipeline: Any,
        device: torch.device,
        reload: Callable[[frozenset[str]], Mapping[str, nn.Module]] | None,
        *,
        offload: Offload = "none",
    ) -> None:
        self._pipeline, self._device, self._reload, self._offload = pipeline, device, reload, offload
        self._stock = pipeline.encode_prompt
        self._signature = inspect.signature(self._stock)
        self._places: dict[str, tuple[int, int]] = {}
        self._file = tempfile.TemporaryFile(prefix="qsched-texts-")  # noqa: SIM115  # lives as long as the pipeline
        self._left: dict[str, nn.Module] = {}
        pipeline.encode_prompt = self.encode

    def __len__(self) -> int:
        """Calls that are remembered."""
        return len(self._places)

    def encode(self, *args: Any, **kwargs: Any) -> Any:
        """What `encode_prompt` gives for these arguments."""
        key = self._key(args, kwargs)
        if key is not None and key in self._places:
            return self._recalled(key)
        self.bring_back()
        made = self._stock(*args, **kwargs)
        if key is None:
            return made
        buffer = io.BytesIO()
        torch.save(_copied(made), buffer)
        try:
            at = self._file.seek(0, io.SEEK_END)
            self._places[key] = (at, self._file.write(buffer.getbuffer()))
            self._file.flush()
        except OSError as error:
            raise BackboneError(
                f"what the text encoders made of the prompts cannot be kept in {tempfile.gettempdir()}: "
                f"{error.strerror}; set TMPDIR to a folder on a disk with more room, or take fewer prompts at once"
            ) from error
        return made

    def let_encoders_go(self) -> None:
        """Take the text encoders out of memory; `bring_back` undoes it."""
        has_hooks = self._offload != "none"
        if has_hooks:
            self._pipeline.remove_all_hooks()  # they hold the weights; the denoiser brings new ones
        for name in encoder_names(self._pipeline):
            module = getattr(self._pipeline, name)
            if self._reload is None:
                if self._device.type == "cpu":
                    continue
                self._left[name] = module.to("cpu")
                setattr(self._pipeline, name, StandIn(module, self._device))
            else:
                self._left[name] = module
                setattr(self._pipeline, name, StandIn(module.to("meta"), self._device))
        if has_hooks:
            give_back_memory()
        else:
            give_back_freed()  # no cycle holds a tensor of theirs

    def bring_back(self) -> None:
        """Have the text encoders in memory again, for a text that is not remembered."""
        if not self._left:
            return
        if self._reload is None:
            modules: Mapping[str, nn.Module] = {n: module.to(self._device) for n, module in self._left.items()}
        else:
            modules = self._reload(frozenset(self._left))
        for name, module in modules.items():
            setattr(self._pipeline, name, module)
        self._left = {}
        offload_to(self._pipeline, self._device, self._offload)

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """The arguments as text; None if one of them is more than text and numbers."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return json.dumps(bound.arguments, default=repr, sort_keys=True) if _is_plain(bound.arguments) else None

    def _recalled(self, key: str) -> Any:
        at, length = self._places[key]
        self._file.seek(at)
        return torch.load(io.BytesIO(self._file.read(length)), weights_only=True)


def encoder_names(pipeline: Any) -> list[str]:
    """The components that read prompts and are in memory."""
    return [
        name
        for name, part in pipeline.components.items()
        if name.startswith("text_encoder") and isinstance(part, nn.Module)
    ]


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _copied(value: Any) -> Any:
    """The same with copies of the tensors: a view would be saved with all that it is a part of."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value

"""A diffusers model without weights, and its tensors one module at a time from the safetensors files.

What is filled this way is bit for bit what `from_pretrained` loads: the same casts, the same modules kept in float32,
the same computed buffers. It takes the memory of what is filled, and of one module on its way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from qsched.backbones.errors import BackboneError

_NAME = "diffusion_pytorch_model"


class EmptyModel:
    """A model of a diffusers class whose parameters are not in memory, and the files that have them."""

    def __init__(self, cls: Any, folder: Path, files: dict[str, Path], dtype: torch.dtype) -> None:
        self._cls, self._folder, self._files, self._dtype = cls, folder, files, dtype
        self._opened: dict[Path, Any] = {}
        kept = cls._keep_in_fp32_modules or []  # diffusers has no public name for it
        self._in_float32: tuple[str, ...] = (kept,) if isinstance(kept, str) else tuple(kept)

    def build(self) -> nn.Module:
        """The model with its computed buffers and no parameters."""
        from accelerate import init_empty_weights

        with _default_dtype(self._dtype), init_empty_weights(include_buffers=False):
            model: nn.Module = self._cls.from_config(self._cls.load_config(self._folder))
        for name, parameter in model.named_parameters():
            parameter.data = parameter.data.to(self._dtype_of(name))
        return model.eval()

    def fits(self, model: nn.Module) -> bool:
        """True if the files have every tensor of the model, in its shape, and no other."""
        wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        return wanted.keys() == self._files.keys() and wanted == dict(self._shapes())

    def fill(self, name: str, module: nn.Module, device: torch.device) -> None:
        """Read the tensors that belong to the module `name` itself, and move them to the device."""
        for leaf, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_meta:
                read = nn.Parameter(self._read(_joined(name, leaf), device), requires_grad=parameter.requires_grad)
                setattr(module, leaf, read)
        for leaf, buffer in list(module.named_buffers(recurse=False)):
            full = _joined(name, leaf)
            setattr(module, leaf, self._read(full, device) if full in self._files else buffer.to(device))

    def close(self) -> None:
        """Let the files go, now and then: what was read of an open one counts as memory of this process."""
        self._opened.clear()

    def _read(self, name: str, device: torch.device) -> Tensor:
        path = self._files[name]
        try:
            if path not in self._opened:
                self._opened[path] = safe_open(path, framework="pt")
            mapped: Tensor = self._opened[path].get_tensor(name)
            tensor = mapped.to(self._dtype_of(name)) if mapped.is_floating_point() else mapped
            return (tensor.clone() if tensor is mapped else tensor).contiguous().to(device)
        except (OSError, SafetensorError) as error:
            raise BackboneError(f"{path} cannot be read: {error}; download or save the model again") from error

    def _dtype_of(self, name: str) -> torch.dtype:
        return torch.float32 if any(part in name.split(".") for part in self._in_float32) else self._dtype

    def _shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        for path in sorted(set(self._files.values())):
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  # not a mapping
                    yield name, tuple(file.get_slice(name).get_shape())


def empty_model(cls: Any, folder: Path, *, dtype: torch.dtype, variant: str | None) -> EmptyModel | None:
    """The empty model of a component's folder; None if it is not a diffusers model or its files have other names.

    Then it has to be loaded whole: diffusers knows how older files are renamed, and says what is missing.
    """
    from diffusers import ModelMixin

    if not issubclass(cls, ModelMixin):
        return None
    try:
        files = tensor_files(folder, variant)
        found = EmptyModel(cls, folder, files, dtype)
        return found if files and found.fits(found.build()) else None
    except (OSError, ValueError, TypeError, KeyError, SafetensorError, BackboneError):
        return None  # loading it whole gives the message


def tensor_files(folder: Path, variant: str | None) -> dict[str, Path]:
    """Tensor name -> file, for the safetensors of a component, in one file or in several with an index."""
    mark = "" if variant is None else f".{variant}"
    for name in (f"{_NAME}.safetensors.index{mark}.json", f"{_NAME}{mark}.safetensors.index.json"):
        if (folder / name).is_file():
            index = json.loads((folder / name).read_text(encoding="utf-8"))
            return {tensor: folder / file for tensor, file in index["weight_map"].items()}
    path = folder / f"{_NAME}{mark}.safetensors"
    if not path.is_file():
        return {}
    with safe_open(path, framework="pt") as file:
        return dict.fromkeys(file.keys(), path)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """diffusers builds a model under its dtype, which computed buffers see."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _joined(module: str, leaf: str) -> str:
    return f"{module}.{leaf}" if module else leaf

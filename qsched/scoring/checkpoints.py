"""Checkpoints of scorers on disk: read without running code from them, and loaded with every tensor in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from qsched.errors import InputError
from qsched.scoring.weights import UNREADABLE, reason_of

State = dict[str, torch.Tensor]


def find_file(folder: Path, *names: str, what: str) -> Path:
    """The first of these files in the folder (or below it: `model/config.json`); InputError that lists them if none."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder} has no {' or '.join(names)}; {what}")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; InputError for anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {reason_of(error)}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}; it must be a JSON object")
    return found


def read_tensors(path: Path) -> State:
    """The tensors of a safetensors or torch file; a torch file with anything but tensors in it is refused."""
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read as a checkpoint ({reason_of(error)}); it is cut short, or holds more than tensors "
            "and is not opened, because that would run code from it"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(one, torch.Tensor) for one in state.values()):
        raise InputError(f"{path} is not a state dict: a dictionary of tensors by name")
    return state


def read_shards(folder: Path, *, what: str) -> State:
    """The tensors of a transformers folder, in one file or in the shards that its index names."""
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        index = folder / f"{stem}.{suffix}.index.json"
        if index.is_file():
            state: State = {}
            for shard in sorted(set(read_json(index)["weight_map"].values())):
                state |= read_tensors(find_file(folder, shard, what=f"{index.name} names it"))
            return state
    return read_tensors(find_file(folder, "model.safetensors", "pytorch_model.bin", what=what))


def check_whole(module: torch.nn.Module, state: State, *, where: Path) -> None:
    """InputError that names the tensors that are missing, left over or of another shape."""
    wanted = module.state_dict()
    missing, left = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    if missing or left:
        parts = [f"lacks {missing[:3]}"] if missing else []
        parts += [f"has no place for {left[:3]}"] if left else []
        raise InputError(f"{where} {' and '.join(parts)}: it is another architecture, or its config is another's")
    wrong = [name for name in wanted if wanted[name].shape != state[name].shape]
    if wrong:
        name = wrong[0]
        raise InputError(f"{where}: {name} is {tuple(state[name].shape)}, the config says {tuple(wanted[name].shape)}")


def load_whole(module: torch.nn.Module, state: State, *, where: Path) -> None:
    """Fill the module; InputError if a tensor is missing, left over or of another shape."""
    check_whole(module, state, where=where)
    wanted = module.state_dict()
    module.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in state.items()}, strict=True)


def taken(state: State, prefix: str) -> State:
    """The tensors under a prefix, without it; they leave the state, so that what is left over can be named."""
    return {name[len(prefix) :]: state.pop(name) for name in sorted(state) if name.startswith(prefix)}

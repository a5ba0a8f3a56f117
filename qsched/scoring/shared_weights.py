"""Whether two scorers are one network: a judge that shares the objective's weights repeats its mistakes.

The weights themselves are compared, not their names: one CLIP comes as an open_clip folder, as a transformers folder
and inside other metrics. A tensor is known by its size, its mean size of a value and its extremes, which no layout and
hardly any rounding changes; tensors that are small or the same everywhere say nothing and do not count.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from qsched.scoring.protocol import Scorer

LEAST_VALUES = 64
LARGEST_SHARE = 0.5  # of the judge's values that may also be the objective's
_DEPTH = 4  # how deep a network may sit in the attributes of a scorer


def shared_share(judge: Scorer, other: Scorer) -> float:
    """The share of the judge's weights that are the other's too; 0 for a scorer without weights."""
    mine, theirs = tensor_sizes(judge), tensor_sizes(other)
    total = sum(mine.values())
    return sum(size for name, size in mine.items() if name in theirs) / total if total else 0.0


def tensor_sizes(scorer: object) -> dict[str, int]:
    """What each tensor of a scorer's networks is known by, and how many values it has."""
    found: dict[str, int] = {}
    for module in _modules(scorer, _DEPTH, set()):
        for tensor in module.state_dict().values():
            if torch.is_floating_point(tensor) and tensor.numel() >= LEAST_VALUES:
                values = tensor.detach().float()
                low, high, size = float(values.min()), float(values.max()), float(values.abs().mean())
                if low < high:
                    found[f"{tensor.numel()} {size:.3g} {low:.3g} {high:.3g}"] = tensor.numel()
    return found


def _modules(owner: object, depth: int, seen: set[int]) -> Iterator[torch.nn.Module]:
    """The networks among the attributes of an object, and among those of its attributes."""
    if isinstance(owner, torch.nn.Module):
        yield owner
        return
    if depth == 0 or id(owner) in seen:
        return
    seen.add(id(owner))
    for value in (getattr(owner, "__dict__", None) or {}).values():
        yield from _modules(value, depth - 1, seen)

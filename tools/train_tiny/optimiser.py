"""Muon for matrices and convolutions, AdamW for the rest, and an average of the weights.

Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks") orthogonalises the
momentum of each matrix by a quintic Newton-Schulz iteration; the 0.2 * sqrt(max(rows, columns)) scale
(Liu et al. 2025, arXiv 2502.16982) makes one learning rate fit both groups. `torch.optim.Muon` takes
only 2-D parameters and steps them one by one; here convolutions are flattened and equal shapes stacked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices_NRC: Tensor, *, rounds: int = 5) -> Tensor:
    """The nearest (semi-)orthogonal matrices, roughly: all singular values pulled towards 1."""
    a, b, c = _QUINTIC
    x = matrices_NRC
    wide = x.shape[-2] <= x.shape[-1]
    if not wide:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    x = x.to(torch.bfloat16)
    for _ in range(rounds):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = (x if wide else x.mT).to(matrices_NRC.dtype)
    return result


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised per matrix; parameters of two or more dimensions only."""

    def __init__(
        self, params: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; `closure` is not supported."""
        if closure is not None:
            raise ValueError("Muon.step takes no closure: compute the gradients before calling it")
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[(p.shape[0], p.numel() // p.shape[0])].append(p)
            for (rows, columns), params in by_shape.items():
                updates = []
                for p in params:
                    state, gradient = self.state[p], p.grad
                    if gradient is None:
                        continue
                    if not state:
                        state["momentum"] = torch.zeros_like(gradient)
                    state["momentum"].lerp_(gradient, 1 - group["momentum"])
                    updates.append(gradient.lerp(state["momentum"], group["momentum"]).reshape(rows, columns))
                scale = 0.2 * max(rows, columns) ** 0.5 * group["lr"]
                for p, update in zip(params, orthogonalise(torch.stack(updates)), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update.reshape(p.shape), alpha=-scale)


class Optimiser:
    """Both optimisers with one learning-rate schedule: warm-up, plateau, then a linear way to zero."""

    def __init__(
        self,
        model: nn.Module,
        *,
        muon_lr: float,
        adam_lr: float,
        steps: int,
        warmup: int = 100,
        decay_share: float = 0.45,
        adam_only: tuple[str, ...] = (),
    ) -> None:
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, p in model.named_parameters():
            if p.requires_grad:
                wants_adam = p.ndim < 2 or any(part in name for part in adam_only)
                (others if wants_adam else matrices).append(p)
        self.parts: list[torch.optim.Optimizer] = []
        if matrices:
            self.parts.append(Muon(matrices, lr=muon_lr))
        if others:
            self.parts.append(torch.optim.AdamW(others, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0))
        self.parameters = [*matrices, *others]
        self.peak = [part.param_groups[0]["lr"] for part in self.parts]
        self.steps, self.warmup, self.decay_share = steps, warmup, decay_share

    def factor(self, step: int) -> float:
        """The share of the peak learning rate at `step`."""
        remaining = (self.steps - step) / max(1.0, self.decay_share * self.steps)
        return max(0.0, min(1.0, (step + 1) / self.warmup, remaining))

    def update(self, loss: Tensor, step: int) -> None:
        """Backward, clip, step, clear."""
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for part, peak in zip(self.parts, self.peak, strict=True):
            part.param_groups[0]["lr"] = peak * self.factor(step)
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """The state of both optimisers, for a checkpoint."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Take up the state of a checkpoint."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


class Average:
    """An exponential average of a model's weights with a bias-corrected start."""

    def __init__(self, model: nn.Module, *, decay: float = 0.998) -> None:
        self.decay, self.updates = decay, 0
        self.shadow = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the present weights."""
        self.updates += 1
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for k, v in model.state_dict().items():
            if v.is_floating_point():
                self.shadow[k].lerp_(v, 1 - keep)
            else:
                self.shadow[k].copy_(v)

"""Noise that knows the nuisances of its picture, so that few steps are enough without distillation.

A flow is straight where noise and prompt together determine the picture (multisample couplings,
Pooladian et al. 2023, arXiv 2304.14772; rectified flow, Liu et al. 2022, arXiv 2209.03003). Here the
procedural domain makes such a coupling exact: nuisance k of a picture is uniform, so its normal quantile
is N(0,1), and the training noise is drawn with exactly that projection on a fixed unit vector v_k. The
marginal distribution of the noise is still N(0, I), so inference draws ordinary noise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qsched.tiny.render import NUISANCE_DIM


def coupling_directions(channels: int, side: int) -> Tensor:
    """float32 [NUISANCE_DIM, channels*side*side], orthonormal: per channel its mean and its left-right tilt."""
    if 2 * channels < NUISANCE_DIM:
        raise ValueError(f"{channels} channels carry {2 * channels} directions; {NUISANCE_DIM} are needed")
    even = torch.ones(side, side)
    tilt = torch.where(torch.arange(side) < side // 2, -1.0, 1.0).expand(side, side)
    rows = []
    for k in range(NUISANCE_DIM):
        v = torch.zeros(channels, side, side)
        v[k % channels] = even if k < channels else tilt
        rows.append(v.flatten() / v.norm())
    return torch.stack(rows)


def couple(noise_BCHW: Tensor, nuisance_BK: Tensor, directions_KD: Tensor) -> Tensor:
    """The same noise with its projections on the directions replaced by the quantiles of the nuisances."""
    flat = noise_BCHW.flatten(1)
    quantiles = torch.special.ndtri(nuisance_BK.clamp(1e-4, 1 - 1e-4))
    coupled: Tensor = flat + (quantiles - flat @ directions_KD.mT) @ directions_KD
    return coupled.view_as(noise_BCHW)

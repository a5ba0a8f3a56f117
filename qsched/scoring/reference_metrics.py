"""PSNR, SSIM and LPIPS of an image against its twin from the baseline arm.

PSNR: 10 log10(1 / mean squared error) over all channels, pixels in 0..1, in dB.
SSIM (Wang et al. 2004): Gaussian window 11x11, sigma 1.5, K = (0.01, 0.03), population moments, windows
    wholly inside the picture, mean over windows and over R, G, B. The original is on luma.
LPIPS (Zhang et al. 2018): the `lpips` package, AlexNet, version 0.1; 0 is the same, lower is nearer.
"""

from __future__ import annotations

import io
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from qsched.errors import InputError
from qsched.scoring.errors import ScoringError
from qsched.scoring.extra_packages import import_extra
from qsched.scoring.pixels import pixels_of
from qsched.scoring.protocol import LIBRARY_ERRORS, ScorerInfo, as_rgb, checked_scores, image_labels, same_length
from qsched.scoring.weights import UNREADABLE, reason_of

# Two equal pictures have infinite PSNR. An 8-bit picture cannot differ by less than one level in one
# channel of one pixel; equal pictures are stated as this ceiling, so that a mean stays a number.
PSNR_CEILING = 100.0


class ReferenceMetric(ABC):
    """Scores images against their twins, one by one, and checks every value."""

    info: ScorerInfo

    @abstractmethod
    def _score_pair(self, image: Image.Image, reference: Image.Image) -> float:
        """The value of one pair; both RGB and of one size."""

    def score_against(
        self, images: Sequence[Image.Image], references: Sequence[Image.Image], *, names: Sequence[str] | None = None
    ) -> list[float]:
        """One finite float per image against the reference at the same place; errors name the image."""
        labels = image_labels(images, names)
        name = self.info.name
        same_length(name, images=images, references=references)
        scores = []
        for image, reference, label in zip(images, references, labels, strict=True):
            pair = as_rgb(image, name, label), as_rgb(reference, name, f"the reference of {label}")
            if pair[0].size != pair[1].size:
                raise ScoringError(name, label, f"it is {pair[0].size} and its reference {pair[1].size}")
            try:
                scores.append(self._score_pair(*pair))
            except LIBRARY_ERRORS as error:
                raise ScoringError(name, label, f"{type(error).__name__}: {error}") from error
        return checked_scores(name, scores, labels) if scores else []


class Psnr(ReferenceMetric):
    """Peak signal-to-noise ratio in dB; equal pictures count as 100 dB."""

    def __init__(self) -> None:
        self.info = _formula_info("psnr", f"dB; equal pictures are given {PSNR_CEILING:g}")

    def _score_pair(self, image: Image.Image, reference: Image.Image) -> float:
        error = float(((pixels_of(image).double() - pixels_of(reference).double()) ** 2).mean())
        return PSNR_CEILING if error == 0 else min(PSNR_CEILING, -10.0 * math.log10(error))


class Ssim(ReferenceMetric):
    """Structural similarity: 1 if the pictures are the same."""

    def __init__(self) -> None:
        self.info = _formula_info("ssim", "-1..1; 1 is the same")

    def _score_pair(self, image: Image.Image, reference: Image.Image) -> float:
        if min(image.size) < 11:
            raise ValueError(f"the picture is {image.size}; the window needs 11x11 pixels")
        return structural_similarity(pixels_of(image), pixels_of(reference))


def structural_similarity(x_CHW: torch.Tensor, y_CHW: torch.Tensor) -> float:
    """Mean SSIM of two pictures in 0..1."""
    x, y = x_CHW.double()[:, None], y_CHW.double()[:, None]
    offsets = torch.arange(11, dtype=torch.float64) - 5
    gauss = torch.exp(-(offsets**2) / (2 * 1.5**2))
    gauss = gauss / gauss.sum()
    window = (gauss[:, None] * gauss[None, :])[None, None]

    def mean(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(values, window)

    mu_x, mu_y = mean(x), mean(y)
    var_x, var_y, cov = mean(x * x) - mu_x**2, mean(y * y) - mu_y**2, mean(x * y) - mu_x * mu_y
    c1, c2 = 0.01**2, 0.03**2
    ssim = ((2 * mu_x * mu_y + c1) * (2 * cov + c2)) / ((mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2))
    return float(ssim.mean())


class Lpips(ReferenceMetric):
    """Learned perceptual distance, AlexNet; `weights` is torchvision's AlexNet state dict on disk.

    The package brings the linear layers; torchvision's AlexNet (alexnet-owt-7be5be79.pth) is fetched by
    torch on first use if no file is given.
    """

    def __init__(self, weights: str | Path | None = None, *, device: str = "cpu") -> None:
        self._net = _load_lpips(Path(weights) if weights is not None else None).to(device)
        self.info = ScorerInfo(
            name="lpips",
            kind="reference",
            version=f"lpips {version('lpips')}, net alex v0.1",
            scale="0 and up; 0 is the same",
            higher_is_better=False,
            weights=str(weights) if weights is not None else "torchvision alexnet-owt-7be5be79.pth",
            batch_size=1,
            device=device,
        )

    def _score_pair(self, image: Image.Image, reference: Image.Image) -> float:
        pair = [pixels_of(one)[None].to(self.info.device) for one in (image, reference)]
        with torch.inference_mode():
            return float(self._net(*pair, normalize=True))  # normalize: from 0..1 to the net's -1..1


def _load_lpips(alexnet: Path | None) -> Any:
    lpips = import_extra("lpips", "score")
    with redirect_stdout(io.StringIO()):  # it prints a banner
        if alexnet is None:
            try:
                return lpips.LPIPS(net="alex", verbose=False).eval()
            except OSError as error:
                raise InputError(
                    f"lpips needs torchvision's AlexNet, which is not on this machine and cannot be fetched ({error}); "
                    "fetch alexnet-owt-7be5be79.pth elsewhere and give its path as the weights of lpips"
                ) from error
        net = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    if not alexnet.is_file():
        raise InputError(f"lpips weights {alexnet} are not a file; give torchvision's AlexNet state dict (.pth)")
    try:
        state = torch.load(alexnet, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise InputError(
            f"lpips weights {alexnet} cannot be read as a torch checkpoint ({reason_of(error)}); give torchvision's "
            "alexnet-owt-7be5be79.pth"
        ) from error
    if not isinstance(state, dict):
        raise InputError(
            f"lpips weights {alexnet} hold a {type(state).__name__}; give torchvision's AlexNet state dict"
        )
    # torchvision keeps the convolutions under `features.<n>`, lpips under `net.slice<k>.<n>`, with the same <n>.
    ours = net.net.state_dict()
    theirs = {name: f"features.{name.split('.', 1)[1]}" for name in ours}
    missing = sorted(set(theirs.values()) - set(state))
    if missing:
        raise InputError(f"{alexnet} is not torchvision's AlexNet: it lacks {missing[:3]}")
    try:
        net.net.load_state_dict({name: state[source] for name, source in theirs.items()})
    except UNREADABLE as error:
        raise InputError(f"{alexnet} is not torchvision's AlexNet: {reason_of(error)}") from error
    return net


def _formula_info(name: str, scale: str) -> ScorerInfo:
    return ScorerInfo(
        name=name,
        kind="reference",
        version=f"qsched, numpy {np.__version__}",
        scale=scale,
        higher_is_better=True,
        weights=None,
        batch_size=1,
        device="cpu",
    )

"""Scorers by name. Weights are loaded once: the same name, weights and device give the same object."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from qsched.errors import InputError
from qsched.scoring.protocol import Scorer
from qsched.scoring.pyiqa_scorer import PREFIX, PyiqaReference, PyiqaScorer

SCORERS = ("clipscore", "clip-iqa", "hpsv2.1", "pickscore", "tiny-check")
REFERENCE_METRICS = ("psnr", "ssim", "lpips")


def load_scorer(name: str, *, weights: str | None = None, device: str = "cpu", batch_size: int | None = None) -> Scorer:
    """A scorer of images against prompts, or of images alone.

    `weights`: a folder, a shipped model's name or a pinned hub id (see weights.py); the default is the
    published model of that scorer. Raises InputError for an unknown name.
    """
    return _load_scorer(name, weights, device, batch_size)


@lru_cache(maxsize=16)
def _load_scorer(name: str, weights: str | None, device: str, batch_size: int | None) -> Scorer:
    options: dict[str, Any] = {} if batch_size is None else {"batch_size": batch_size}
    if name.startswith(PREFIX):
        _no_weights(name, weights)
        return PyiqaScorer(name.removeprefix(PREFIX), device=device, **options)
    if name == "tiny-check":
        from qsched.scoring.tiny_check import TinyCheck

        _no_weights(name, weights)
        return TinyCheck(**options)
    options["device"] = device
    if weights is not None:
        options["weights"] = weights
    if name in ("clipscore", "clip-iqa"):
        from qsched.scoring.clip_scorers import ClipIqa, ClipScore

        return (ClipScore if name == "clipscore" else ClipIqa)(**options)
    if name in ("hpsv2.1", "pickscore"):
        from qsched.scoring.preference_scorers import HpsV21, PickScore

        return (HpsV21 if name == "hpsv2.1" else PickScore)(**options)
    raise InputError(f"scorer {name!r} is unknown; choose one of {', '.join(SCORERS)} or {PREFIX}<metric>")


def load_reference_metric(name: str, *, weights: str | None = None, device: str = "cpu") -> Any:
    """A metric of an image against its twin: psnr, ssim, lpips or pyiqa:<full-reference metric>."""
    from qsched.scoring.reference_metrics import Lpips, Psnr, Ssim

    if name == "lpips":
        return Lpips(weights, device=device)
    _no_weights(name, weights)
    if name == "psnr":
        return Psnr()
    if name == "ssim":
        return Ssim()
    if name.startswith(PREFIX):
        return PyiqaReference(name.removeprefix(PREFIX), device=device)
    raise InputError(f"reference metric {name!r} is unknown; choose {', '.join(REFERENCE_METRICS)} or {PREFIX}<metric>")


def _no_weights(name: str, weights: str | None) -> None:
    if weights is not None:
        raise InputError(f"{name} takes no weights, but {weights!r} was given; leave them out")

"""Any metric of pyiqa by name, `pyiqa:<metric>`, behind the extra `pyiqa`.

pyiqa is under PolyForm-Noncommercial: read its licence before commercial use. It is imported on first use
only. Its metrics take images as [B, 3, H, W] in 0..1.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from PIL import Image

from qsched.errors import InputError
from qsched.scoring.extra_packages import import_extra
from qsched.scoring.pixels import pixels_of
from qsched.scoring.protocol import BatchedScorer, ScorerInfo
from qsched.scoring.reference_metrics import ReferenceMetric
from qsched.scoring.steady import pixel_seed, seeded

PREFIX = "pyiqa:"


def check_listed(name: str) -> None:
    """InputError for a metric that pyiqa does not list; nothing is asked if pyiqa is not here."""
    if find_spec("pyiqa") is not None and name not in import_extra("pyiqa", "pyiqa").list_models():
        raise InputError(f"pyiqa has no metric {name!r}; `pyiqa -ls` lists them")


def create_metric(name: str, device: str) -> Any:
    """pyiqa's metric object; InputError for a name it does not know or weights it cannot fetch."""
    pyiqa = import_extra("pyiqa", "pyiqa")
    check_listed(name)
    try:
        return pyiqa.create_metric(name, device=torch.device(device), as_loss=False)
    except (OSError, RuntimeError) as error:
        raise InputError(f"pyiqa {name!r}: its weights are fetched on first use, and that failed: {error}") from error


def needs_reference(name: str) -> bool:
    """True for a full-reference metric; asks pyiqa's list, without loading weights."""
    pyiqa = import_extra("pyiqa", "pyiqa")
    return name in pyiqa.list_models(metric_mode="FR")


class PyiqaScorer(BatchedScorer):
    """A no-reference metric of pyiqa: the image alone."""

    def __init__(self, metric: str, *, device: str = "cpu", batch_size: int = 8) -> None:
        self._metric = create_metric(metric, device)
        if self._metric.metric_mode != "NR":
            raise InputError(f"pyiqa:{metric} needs a reference; `qsched score` has one: the twin in the baseline arm")
        super().__init__(pyiqa_info(metric, self._metric, "image", device, batch_size))

    def _score_batch(self, images: list[Image.Image], prompts: list[str]) -> list[float]:
        # Pictures of one set share one size; if they do not, each is scored alone.
        if len({image.size for image in images}) > 1:
            return [self._score_batch([image], [prompt])[0] for image, prompt in zip(images, prompts, strict=True)]
        pixels_BCHW = torch.stack([pixels_of(image) for image in images]).to(self.info.device)
        values: list[float] = self._metric(pixels_BCHW).reshape(-1).float().tolist()
        return values


class PyiqaReference(ReferenceMetric):
    """A full-reference metric of pyiqa: the image against its twin."""

    def __init__(self, metric: str, *, device: str = "cpu", batch_size: int = 8) -> None:
        self._metric = create_metric(metric, device)
        if self._metric.metric_mode != "FR":
            raise InputError(f"pyiqa:{metric} takes no reference; load it as a no-reference scorer")
        self.info = pyiqa_info(metric, self._metric, "reference", device, batch_size)

    def _score_pair(self, image: Image.Image, reference: Image.Image) -> float:
        pair = [pixels_of(one)[None].to(self.info.device) for one in (image, reference)]
        # Some draw crops at random: the same pair gets the same.
        with torch.inference_mode(), seeded(pixel_seed(image)):
            return float(self._metric(*pair))


def pyiqa_info(metric: str, loaded: Any, kind: str, device: str, batch_size: int) -> ScorerInfo:
    """The record of a pyiqa metric."""
    from importlib.metadata import version

    return ScorerInfo(
        name=f"{PREFIX}{metric}",
        kind=kind,  # type: ignore[arg-type]
        version=f"pyiqa {version('pyiqa')}",
        scale=f"pyiqa's range {getattr(loaded, 'score_range', '(not stated)')}",
        higher_is_better=not loaded.lower_better,
        weights=None,
        batch_size=batch_size,
        device=device,
    )

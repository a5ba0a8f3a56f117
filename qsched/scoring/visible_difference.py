"""How visible the difference of a picture from its twin is: ColorVideoVDP, FLIP and SSIMULACRA2.

All three come with their parameters: nothing is downloaded, and none was trained on pictures of these models.

cvvdp        ColorVideoVDP (Mantiuk et al. 2024, ACM Trans. Graph. 43(4)): just-objectionable differences on a stated
             display; 10: no visible difference; of two pictures 1 JOD apart 75 % of people prefer the better one.
flip         FLIP (Andersson et al. 2020, Proc. ACM Comput. Graph. Interact. Tech. 3(2)): mean difference that is seen
             when two pictures alternate in place, 0 to 1.
ssimulacra2  SSIMULACRA 2 (Sneyers 2023): 100 is the same, 90 is visually lossless, 70 is high quality.

The first two depend on how large a pixel appears. Pictures are taken to be shown at one display pixel for each of
theirs; at twice the size every difference is easier to see.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from PIL import Image

from qsched.errors import InputError
from qsched.scoring.extra_packages import import_extra
from qsched.scoring.protocol import ScorerInfo
from qsched.scoring.reference_metrics import ReferenceMetric

NAMES = ("cvvdp", "flip", "ssimulacra2")
# ssimulacra2 stops below this side, and with no scale at all it would call everything the same.
_LEAST_SIDE = 8


@dataclass(frozen=True)
class Display:
    """A display of ColorVideoVDP by its name there; `ppd` are its pixels per degree of visual angle."""

    name: str
    ppd: float
    words: str


DISPLAYS = {
    display.name: display
    for display in (
        Display("standard_fhd", 37.8425, "24 inches, 1920x1080, at 60 cm, 200 cd/m2, lit room"),
        Display("standard_4k", 75.4024, "30 inches, 3840x2160, at 75 cm, 200 cd/m2, lit room"),
        Display("standard_phone", 120.5608, "6 inches, 2400x1080, at 40 cm, 500 cd/m2, lit room"),
    )
}
DEFAULT_DISPLAY = "standard_fhd"


def find_display(name: str) -> Display:
    """The display of that name; InputError for an unknown one."""
    if name not in DISPLAYS:
        known = "; ".join(f"{display.name} ({display.words})" for display in DISPLAYS.values())
        raise InputError(f"display {name!r} is unknown; choose one of {known}")
    return DISPLAYS[name]


class Cvvdp(ReferenceMetric):
    """ColorVideoVDP of one picture against its twin, in JOD."""

    def __init__(self, display: Display, *, device: str = "cpu") -> None:
        import torch

        # Its import warns that there is no CUDA, whatever the device.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        package = import_extra("pycvvdp", "score")
        self._metric = package.cvvdp(display_name=display.name, device=torch.device(device))
        self.info = _info(
            "cvvdp",
            f"cvvdp {version('cvvdp')}, {display.name} ({display.words}; {display.ppd:.1f} pixels per degree)",
            "JOD; 10 means no visible difference",
            higher_is_better=True,
            device=device,
        )

    def _score_pair(self, image: Image.Image, reference: Image.Image) -> float:
        jod, _ = self._metric.predict(np.asarray(image), np.asarray(reference), dim_order="HWC")
        return float(jod)


class Flip(ReferenceMetric):
    """Mean FLIP of one picture against its twin."""

    def __init__(self, display: Display) -> None:
        self._flip = import_extra("flip_evaluator", "score")
        self._ppd = display.ppd
        self.info = _info(
            "flip",
            f"flip-evaluator {version('flip-evaluator')}, {display.ppd:.1f} pixels per degree ({display.name})",
            "0..1; 0 means no visible difference",
            higher_is_better=False,
        )

    def _score_pair(self, image: Image.Image, reference: Image.Image) -> float:
        twins = [np.asarray(one, dtype=np.float32) / 255 for one in (reference, image)]
        _, mean, _ = self._flip.evaluate(*twins, "LDR", applyMagma=False, parameters={"ppd": self._ppd})
        return float(mean)


class Ssimulacra2(ReferenceMetric):
    """SSIMULACRA 2 of one picture against its twin."""

    def __init__(self) -> None:
        self._compute = import_extra("ssimulacra2", "score").compute_ssimulacra2
        self.info = _info(
            "ssimulacra2",
            f"ssimulacra2 {version('ssimulacra2')}",
            "100 is the same, 90 visually lossless",
            higher_is_better=True,
        )

    def _score_pair(self, image: Image.Image, reference: Image.Image) -> float:
        if min(image.size) < _LEAST_SIDE:
            raise ValueError(f"the picture is {image.size}; it needs {_LEAST_SIDE}x{_LEAST_SIDE} pixels")
        return float(self._compute(_as_file(reference), _as_file(image)))


def load_visible_difference(name: str, *, display: str = DEFAULT_DISPLAY, device: str = "cpu") -> ReferenceMetric:
    """cvvdp, flip or ssimulacra2 (which knows no display)."""
    shown = find_display(display)
    if name == "cvvdp":
        return Cvvdp(shown, device=device)
    return Flip(shown) if name == "flip" else Ssimulacra2()


def _as_file(picture: Image.Image) -> io.BytesIO:
    """The package reads files only; BMP holds the pixels as they are."""
    buffer = io.BytesIO()
    picture.save(buffer, "BMP")
    buffer.seek(0)
    return buffer


def _info(name: str, made_by: str, scale: str, *, higher_is_better: bool, device: str = "cpu") -> ScorerInfo:
    return ScorerInfo(
        name=name,
        kind="reference",
        version=made_by,
        scale=scale,
        higher_is_better=higher_is_better,
        weights=None,
        batch_size=1,
        device=device,
    )

"""MS-SSIM and IW-SSIM of a picture against its twin, by the package piq; nothing is downloaded.

ms-ssim   Wang, Simoncelli and Bovik (2003): SSIM's contrast and structure at five scales, mean over R, G, B.
iw-ssim   Wang and Li (2011): the same on a Laplacian pyramid of the luma, each place weighed by its information.

Five halvings under a window of 11 need pictures of 161 pixels and more.
"""

from __future__ import annotations

from importlib.metadata import version

from PIL import Image

from qsched.scoring.extra_packages import import_extra
from qsched.scoring.pixels import pixels_of
from qsched.scoring.protocol import ScorerInfo
from qsched.scoring.reference_metrics import ReferenceMetric

NAMES = ("ms-ssim", "iw-ssim")
_FUNCTIONS = {"ms-ssim": "multi_scale_ssim", "iw-ssim": "information_weighted_ssim"}
LEAST_SIDE = 161


class Structural(ReferenceMetric):
    """MS-SSIM or IW-SSIM of one picture against its twin: 1 if they are the same."""

    def __init__(self, name: str) -> None:
        self._compute = getattr(import_extra("piq", "score"), _FUNCTIONS[name])
        self.info = ScorerInfo(
            name=name,
            kind="reference",
            version=f"piq {version('piq')}",
            scale="0..1; 1 is the same",
            higher_is_better=True,
            weights=None,
            batch_size=1,
            device="cpu",
        )

    def _score_pair(self, image: Image.Image, reference: Image.Image) -> float:
        if min(image.size) < LEAST_SIDE:
            raise ValueError(f"the picture is {image.size}; five scales need {LEAST_SIDE}x{LEAST_SIDE} pixels")
        # IW-SSIM divides by the information of the second picture: that is the reference.
        pair = (pixels_of(one)[None].double() for one in (image, reference))
        return float(self._compute(*pair, data_range=1.0))

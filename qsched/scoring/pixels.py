"""Pictures as numbers in 0..1; the one place where 255 is divided by."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image


def pixels_of(image: Image.Image) -> torch.Tensor:
    """[3, H, W] float32 in 0..1."""
    array_HWC = np.asarray(image.convert("RGB"), dtype=np.float32) / 255.0
    return torch.from_numpy(array_HWC).permute(2, 0, 1).contiguous()

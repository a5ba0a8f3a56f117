"""DreamSim (Fu et al. 2023): how far a picture is from its twin, by networks tuned on people's choices of triplets.

The package `dreamsim` (extra `dreamsim`) brings the networks, and its weights come from a folder: the unpacked archive
of one of its kinds, recognised by the folder of its adapter (`ensemble_lora`, `open_clip_vitb32_single_lora` ...). The
kinds with DINO, the ensemble too, load DINO by torch.hub, which runs the code in `facebookresearch_dino_main` of that
folder, or fetches it. 0 is the same; higher means less alike.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from qsched.errors import InputError
from qsched.scoring.extra_packages import import_extra
from qsched.scoring.protocol import ScorerInfo
from qsched.scoring.reference_metrics import ReferenceMetric
from qsched.scoring.weights import UNREADABLE, reason_of, resolve_weights

# Kind -> (the folder of its adapter, its base networks, what torch.hub needs).
KINDS = {
    "ensemble": (
        "ensemble_lora",
        ("dino_vitb16_pretrain.pth", "clip_vitb16_pretrain.pth.tar", "open_clip_vitb16_pretrain.pth.tar"),
        "facebookresearch_dino_main",
    ),
    "open_clip_vitb32": ("open_clip_vitb32_single_lora", ("open_clip_vitb32_pretrain.pth.tar",), ""),
    "clip_vitb32": ("clip_vitb32_single_lora", ("clip_vitb32_pretrain.pth.tar",), ""),
    "dino_vitb16": ("dino_vitb16_single_lora", ("dino_vitb16_pretrain.pth",), "facebookresearch_dino_main"),
}
WHAT = "a DreamSim folder is the unpacked archive of one kind: " + ", ".join(KINDS)


class DreamSim(ReferenceMetric):
    """DreamSim of one picture against its twin."""

    def __init__(self, weights: str | Path | None = None, *, device: str = "cpu") -> None:
        if weights is None:
            raise InputError(f"dreamsim has no default weights: --weights dreamsim=FOLDER; {WHAT}")
        package = import_extra("dreamsim", "dreamsim")
        found = resolve_weights(weights)
        kind = kind_of(found.path)
        with redirect_stdout(io.StringIO()):  # it says where its weights are
            try:
                self._model, self._pixels = package.dreamsim(
                    pretrained=True, device=device, cache_dir=str(found.path), dreamsim_type=kind
                )
            except UNREADABLE as error:
                raise InputError(f"{found.path} does not load as DreamSim {kind}: {reason_of(error)}") from error
        self.info = ScorerInfo(
            name="dreamsim",
            kind="reference",
            version=f"dreamsim {version('dreamsim')}, {kind}, weights {found.identity}",
            scale="0 is the same; up to 2",
            higher_is_better=False,
            weights=found.name,
            batch_size=1,
            device=device,
        )

    def _score_pair(self, image: Image.Image, reference: Image.Image) -> float:
        pair: list[Any] = [self._pixels(one).to(self.info.device) for one in (image, reference)]
        with torch.inference_mode():
            return float(self._model(*pair))


def kind_of(folder: Path) -> str:
    """The one kind whose files are in the folder; InputError if there is none, or more than one, or a file is missing.

    The package would fetch what is missing; here nothing is fetched if a folder is given.
    """
    found = [kind for kind, (adapter, _, _) in KINDS.items() if (folder / adapter).is_dir()]
    if len(found) != 1:
        held = " and ".join(found) or "no kind of DreamSim"
        raise InputError(f"{folder} holds {held}; {WHAT}")
    _, bases, hub = KINDS[found[0]]
    missing = [name for name in (*bases, hub) if name and not (folder / name).exists()]
    if missing:
        raise InputError(f"{folder} lacks {' and '.join(missing)} of DreamSim {found[0]}; unpack its archive there")
    return found[0]

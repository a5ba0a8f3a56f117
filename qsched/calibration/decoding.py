"""`--early-decode`: how a picture is decoded while candidates are sorted out.

full           by the model's own autoencoder (the default)
half           by it from latents averaged over 2 x 2, so a picture of a quarter of the pixels
tiny:FOLDER    by another autoencoder of the same latents: diffusers' AutoencoderTiny (taesd, taesdxl, taef1)
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import avg_pool2d, interpolate

from qsched.calibration.errors import CalibrationError

FULL = "full"
_TINY = "tiny:"


def checked_early_decode(text: str) -> str:
    """The text itself; CalibrationError if it is not one of the three forms, or if the folder is not there."""
    if text.startswith(_TINY):
        folder = Path(text.removeprefix(_TINY))
        if not (folder / "config.json").is_file():
            raise CalibrationError(
                f"--early-decode {text}: there is no {folder / 'config.json'}; give the folder of an AutoencoderTiny, "
                "for example of madebyollin/taesdxl"
            )
    elif text not in (FULL, "half"):
        raise CalibrationError(f"--early-decode {text!r} is unknown; write full, half or tiny:FOLDER")
    return text


def identity_of(text: str) -> str:
    """What the values of a round depend on: the form, and the weights of a tiny autoencoder."""
    if not text.startswith(_TINY):
        return text
    folder = Path(text.removeprefix(_TINY))
    weights = sorted(folder.glob("*.safetensors"))
    return _TINY + ",".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in weights)


@contextmanager
def early_decoding(pipeline: Any, text: str) -> Iterator[None]:
    """The pipeline decodes as `text` says (half or tiny:FOLDER) inside the block, and is itself again after it."""
    stock = pipeline.vae
    if text.startswith(_TINY):
        pipeline.vae = _tiny_for(stock, Path(text.removeprefix(_TINY)))
        try:
            yield
        finally:
            pipeline.vae = stock
        return
    own = vars(stock).get("decode")
    stock.decode = functools.partial(_decode_half, stock.decode)
    try:
        yield
    finally:
        del stock.decode
        if own is not None:
            stock.decode = own


def _decode_half(decode: Any, latents: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    """The picture of latents averaged over 2 x 2, enlarged to the size that the pipeline expects."""
    if latents.ndim != 4 or latents.shape[-1] % 2 or latents.shape[-2] % 2:
        raise CalibrationError(
            f"--early-decode half needs latents with an even height and width, and these have the shape "
            f"{tuple(latents.shape)}; use another size of picture, tiny:FOLDER, or full"
        )
    result = decode(avg_pool2d(latents, 2), *args, **kwargs)
    return (interpolate(result[0], scale_factor=2, mode="bilinear", align_corners=False),)


def _tiny_for(stock: Any, folder: Path) -> Any:
    from diffusers import AutoencoderTiny

    try:
        tiny = AutoencoderTiny.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise CalibrationError(f"--early-decode tiny:{folder}: no AutoencoderTiny was loaded ({error})") from error
    theirs = tiny.config.latent_channels
    ours = stock.config.get("latent_channels") or stock.config.get("z_dim")
    if theirs != ours:
        raise CalibrationError(
            f"--early-decode tiny:{folder} decodes latents of {theirs} channels, and the model's have {ours}; give the "
            "AutoencoderTiny of this model's latents (taesd, taesdxl, taesd3 or taef1)"
        )
    parameter = next(stock.parameters())
    return tiny.to(device=parameter.device, dtype=parameter.dtype).eval()

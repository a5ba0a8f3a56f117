"""bitsandbytes: nf4 (4-bit weights in blocks of 64) and LLM.int8 (8-bit weights and activations, outliers apart).

LLM.int8 (2208.07339): input channels with a value of magnitude 6.0 or more stay in half precision; the others
are int8 with one scale for each token and one for each output channel. Which channels those are is decided over
the whole batch, so a picture depends, a little, on the others of its batch.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from qsched.errors import MissingExtraError
from qsched.precision.recipe import Recipe

OUTLIER_THRESHOLD = 6.0


def convert(denoiser: nn.Module, name: str, recipe: Recipe) -> None:
    """Replace the named Linear layer by bitsandbytes' own."""
    make = _nf4_layer if recipe.method == "bitsandbytes-nf4" else _int8_layer
    layer = denoiser.get_submodule(name)
    assert isinstance(layer, nn.Linear), "only Linear layers are selected"
    parent, _, leaf = name.rpartition(".")
    # Codes are made when the parameter moves to its device, a CPU included.
    setattr(denoiser.get_submodule(parent), leaf, make(layer, recipe).to(layer.weight.device))


def _modules() -> Any:
    try:
        import bitsandbytes.nn
    except ModuleNotFoundError as error:
        raise MissingExtraError("bitsandbytes", "generate") from error
    return bitsandbytes.nn


def _nf4_layer(layer: nn.Linear, recipe: Recipe) -> Any:
    bnb = _modules()
    new = bnb.Linear4bit(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        compute_dtype=layer.weight.dtype,
        compress_statistics=False,
        quant_type="nf4",
        device="meta",
    )
    new.weight = bnb.Params4bit(
        layer.weight.data.contiguous(),
        requires_grad=False,
        compress_statistics=False,
        quant_type="nf4",
        blocksize=recipe.group,
        module=new,
    )
    new.bias = layer.bias
    return new


def _int8_layer(layer: nn.Linear, _: Recipe) -> Any:
    bnb = _modules()
    new = bnb.Linear8bitLt(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        has_fp16_weights=False,
        threshold=OUTLIER_THRESHOLD,
        device="meta",
    )
    new.weight = bnb.Int8Params(layer.weight.data.contiguous(), requires_grad=False, has_fp16_weights=False)
    new.bias = layer.bias
    # In training mode bitsandbytes would multiply in floating point on a CPU, without quantizing activations.
    return new.eval()

"""Precision names -> recipes. No torch.

    fp32 bf16 fp16           the dtype of the whole pipeline
    w8a8 w4a8                torchao kernels; Linear
    nf4 int8                 bitsandbytes; Linear
    w{b}a{b}[-channel|-gN]   our fake quantization of Linear and Conv2d, b from 2 to 8; a16: weights only. As w8a8
                             and w4a8 are torchao's, ours are w8a8-fake and w4a8-fake.
    fp8 fp8-tensor mxfp8 mxfp4 nvfp4        number formats of weights and activations; Linear
    gguf-q8_0 gguf-q5_0 gguf-q4_0           number formats of weights only; Linear
    gguf:file=PATH.gguf      weights of a GGUF file, of any type that the gguf package decodes (K-quants too)
    smoothquant[-w{b}a{b}]   outliers moved into the weights, then w8a8 or the bits of the name; Linear
    svdquant svdquant-nvfp4  smoothing, a 16-bit branch of rank 32, the rest int4 or nvfp4; Linear
    mixdq[-w{b}a8]           2, 4 or 8 bits for each layer, b bits in the mean (4; 3.5 is one too); Linear and Conv2d
    ptqd                     w4a8-fake:ptqd

Options follow the name, each after a colon and each at most once:

    :keep=PATTERN|PATTERN    modules that stay in the base dtype; `standard` is a pattern for the usual ones
    :bits=FILE.json          weight bits by name pattern, for fake quantization: {"mid_block.*": 8, "conv_in": 16}
    :file=PATH.gguf          for gguf, and only there: the file that the weights are read from
    :conv                    convolutions too, for smoothquant and the number formats
    :ptqd                    correct the noise estimate before the scheduler's step
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from qsched.files import sha256_of_file
from qsched.precision.recipe import PrecisionError, Recipe

DEFAULT_GROUP = 64
EXAMPLES = (
    *("fp32", "bf16", "fp16", "w8a8", "w4a8", "nf4", "int8", "w4a4", "w3a8", "w4a6", "w4a4-channel", "w4a8-fake"),
    *("fp8", "fp8-tensor", "mxfp8", "mxfp4", "nvfp4", "gguf-q8_0", "gguf-q5_0", "gguf-q4_0"),
    *("smoothquant", "svdquant", "svdquant-nvfp4", "mixdq", "mixdq-w8a8", "ptqd"),
)
_LINEAR = ("Linear",)
_BOTH = ("Linear", "Conv2d")
_FAKE = re.compile(r"w([2-8])a([2-8]|16)(-fake)?(?:-(channel)|-g(\d{1,4}))?")
_SMOOTH = re.compile(r"smoothquant(?:-w([2-8])a([2-8]))?")
_MIXED = re.compile(r"mixdq(?:-w([2-8](?:\.\d)?)a8)?")
_PATTERN = re.compile(r"[A-Za-z0-9_.*?]+")
_WEIGHT_BITS = (2, 3, 4, 5, 6, 7, 8, 16)


def _format(name: str, bits: int, weights: str, *, group: int | None = None, activations: bool = True) -> Recipe:
    return Recipe(
        name,
        "format",
        bits,
        bits if activations else 16,
        group=group,
        layers=_LINEAR,
        simulated=True,
        weight_format=weights,
        activation_format=weights if activations else None,
    )


def _svdquant(name: str, number_format: str, *, group: int) -> Recipe:
    return replace(_format(name, 4, number_format, group=group), method="svdquant")


_NAMED: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("fp32", "dtype", 32, 32),
        Recipe("bf16", "dtype", 16, 16),
        Recipe("fp16", "dtype", 16, 16),
        Recipe("w8a8", "torchao-w8a8", 8, 8, layers=_LINEAR),
        Recipe("w4a8", "torchao-w4a8", 4, 8, group=32, layers=_LINEAR, simulated=True),
        Recipe("nf4", "bitsandbytes-nf4", 4, 16, group=64, layers=_LINEAR),
        Recipe("int8", "bitsandbytes-int8", 8, 8, layers=_LINEAR),
        _format("fp8", 8, "e4m3-row"),
        _format("fp8-tensor", 8, "e4m3-tensor"),
        _format("mxfp8", 8, "mxfp8", group=32),
        _format("mxfp4", 4, "mxfp4", group=32),
        _format("nvfp4", 4, "nvfp4", group=16),
        _format("gguf-q8_0", 8, "q8_0", group=32, activations=False),
        _format("gguf-q5_0", 5, "q5_0", group=32, activations=False),
        _format("gguf-q4_0", 4, "q4_0", group=32, activations=False),
        _svdquant("svdquant", "int4-g64", group=64),
        _svdquant("svdquant-nvfp4", "nvfp4", group=16),
        Recipe("gguf", "gguf-file", 16, 16, simulated=True),
        Recipe("ptqd", "fake", 4, 8, group=DEFAULT_GROUP, layers=_BOTH, simulated=True, correction="ptqd"),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of a name with its options; PrecisionError lists the choices for one that is unknown."""
    head, *options = name.split(":")
    recipe = _find_named(head)
    seen: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if key not in _OPTIONS or bool(equals) != (key in _WITH_VALUE):
            raise PrecisionError(
                f"precision {name!r}: option {option!r} is unknown; write keep=PATTERN|PATTERN, bits=FILE.json, "
                "file=PATH.gguf, conv or ptqd"
            )
        if key in seen:
            raise PrecisionError(f"precision {name!r}: option {key} is given twice; give it once")
        seen[key] = value
    if seen and recipe.method == "dtype":
        raise PrecisionError(f"precision {name!r}: {head} converts no layer, so it takes no options")
    # In the order of _OPTIONS, so that an arm has one name however its options are ordered.
    for key, apply_option in _OPTIONS.items():
        if key in seen:
            recipe = apply_option(recipe, seen[key])
    if recipe.method == "gguf-file" and recipe.file is None:
        raise PrecisionError(f"precision {name!r} reads its weights from a file; write gguf:file=PATH.gguf")
    return recipe


def _find_named(name: str) -> Recipe:
    if name in _NAMED:
        return _NAMED[name]
    if match := _SMOOTH.fullmatch(name):
        bits = [int(b or 8) for b in match.groups()]
        return Recipe(name, "smoothquant", bits[0], bits[1], layers=_LINEAR, simulated=True)
    if match := _MIXED.fullmatch(name):
        mean = float(match[1] or 4)
        return Recipe(name, "mixdq", int(mean) if mean.is_integer() else mean, 8, layers=_BOTH, simulated=True)
    match = _FAKE.fullmatch(name)
    if match is None:
        raise PrecisionError(
            f"precision {name!r} is unknown; choose for example {', '.join(EXAMPLES)} "
            "(w and a take 2 to 8 bits, a also 16)"
        )
    weight, activation, fake, channel, group = match.groups()
    if f"w{weight}a{activation}" in _NAMED and fake is None:
        raise PrecisionError(
            f"precision {name!r}: w{weight}a{activation} is torchao's; the fake one is named "
            f"w{weight}a{activation}-fake{name[4:]}"
        )
    if fake is not None and f"w{weight}a{activation}" not in _NAMED:
        raise PrecisionError(f"precision {name!r} is named w{weight}a{activation}{name.partition('-fake')[2]}")
    if group is not None and int(group) < 1:
        raise PrecisionError(f"precision {name!r}: a group has at least one weight")
    size = None if channel else int(group or DEFAULT_GROUP)
    return Recipe(name, "fake", int(weight), int(activation), group=size, layers=_BOTH, simulated=True)


def _with_conv(recipe: Recipe, _: str) -> Recipe:
    if recipe.method != "smoothquant" and (recipe.method != "format" or recipe.activation_format is None):
        raise PrecisionError(
            f"precision {recipe.name}:conv: only smoothquant, fp8, mxfp8, mxfp4 and nvfp4 take this option; "
            f"{recipe.name} converts {' and '.join(recipe.layers)}"
        )
    return replace(recipe, name=f"{recipe.name}:conv", layers=_BOTH)


def _with_keep(recipe: Recipe, value: str) -> Recipe:
    if recipe.method == "gguf-file":
        raise PrecisionError(f"precision {recipe.name}: the file decides what is kept, so it does not take keep=")
    patterns = tuple(value.split("|"))
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise PrecisionError(
                f"precision {recipe.name}:keep={value}: {pattern!r} is not a name pattern; write module names with * "
                "and ?, separated by |, for example keep=time_embed*|proj_out"
            )
    if len(set(patterns)) < len(patterns):
        raise PrecisionError(f"precision {recipe.name}:keep={value}: a pattern is given twice; give it once")
    return replace(recipe, name=f"{recipe.name}:keep={value}", keep=patterns)


def _with_bits(recipe: Recipe, value: str) -> Recipe:
    name = f"{recipe.name}:bits={Path(value).stem}"
    if recipe.method != "fake":
        fake = f"{recipe.name}-fake" if recipe.name in ("w8a8", "w4a8") else "w4a8-fake"
        raise PrecisionError(
            f"precision {name}: only fake quantization takes bits for each module; write {fake}:bits={value}"
        )
    # The stem, not the path: a name travels into tables and figures. The content is in the recipe's hash.
    return replace(recipe, name=name, bits=read_bit_map(Path(value)))


def _with_ptqd(recipe: Recipe, _: str) -> Recipe:
    if recipe.correction is not None:
        raise PrecisionError(f"precision {recipe.name}:ptqd: {recipe.name} has the correction already")
    return replace(recipe, name=f"{recipe.name}:ptqd", correction="ptqd")


def file_sha256(path: Path) -> str:
    """sha256 of a file, read once as long as it does not change."""
    stat = path.stat()
    return _file_sha256(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _file_sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    return sha256_of_file(path)


def _with_file(recipe: Recipe, value: str) -> Recipe:
    path = Path(value)
    name = f"{recipe.name}:file={path.stem}"
    if recipe.method != "gguf-file":
        raise PrecisionError(f"precision {name}: only gguf reads a file; write gguf:file={value}")
    if not path.is_file():
        raise PrecisionError(f"precision {name}: {value} is not a file; give the path of a .gguf file")
    return replace(recipe, name=name, file=str(path), file_sha256=file_sha256(path))


def read_bit_map(path: Path) -> tuple[tuple[str, int], ...]:
    """(name pattern, weight bits) of a JSON object, in file order; PrecisionError for anything else."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PrecisionError(f"bit map {path} cannot be read as JSON: {error}") from error
    if not isinstance(table, dict) or not table:
        raise PrecisionError(f'bit map {path} must be a JSON object such as {{"mid_block.*": 8, "conv_in": 16}}')
    for pattern, bits in table.items():
        if not _PATTERN.fullmatch(pattern):
            raise PrecisionError(f"bit map {path}: {pattern!r} is not a name pattern (a module name with * and ?)")
        if isinstance(bits, bool) or bits not in _WEIGHT_BITS:
            raise PrecisionError(
                f"bit map {path}: {pattern} has {bits!r} bits; give 2 to 8, or 16 to leave the module in the base dtype"
            )
    return tuple(table.items())


_OPTIONS: dict[str, Callable[[Recipe, str], Recipe]] = {
    "file": _with_file,
    "conv": _with_conv,
    "keep": _with_keep,
    "bits": _with_bits,
    "ptqd": _with_ptqd,
}
_WITH_VALUE = ("file", "keep", "bits")

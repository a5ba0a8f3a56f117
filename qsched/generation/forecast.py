"""`--dry-run`: what a request would make and take, before anything is loaded. Bytes and times are estimates and say so.

Pictures and model evaluations are exact. Bytes in memory are those of the weights, from the headers of the safetensors
files; activations, caches and the framework come on top. A picture on disk is as large as those that the set has, else
at most its raw pixels. Time comes from a rate that is stated, or that the set's own rows have.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from qsched.backbones.spec import DEFAULT_STEPS, BackboneSpec
from qsched.errors import InputError
from qsched.generation.arms import Arm
from qsched.generation.plan import Job, Plan
from qsched.generation.request import Request
from qsched.generation.store import shard_folder
from qsched.precision import Recipe
from qsched.records import ImageRow, Manifest, iter_rows

_DTYPE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
# Bits that a weight of a matrix takes in memory with real kernels; other precisions are imitated in the base dtype.
_RESIDENT_BITS = {"torchao-w8a8": 8.0, "torchao-w4a8": 8.0, "bitsandbytes-int8": 8.0, "bitsandbytes-nf4": 4.5}
_DENOISERS = ("transformer", "unet")
_ROW_BYTES = 1_000


@dataclass(frozen=True)
class ArmForecast:
    """What an arm would take.

    pictures         to be made, or copied if `copied`
    nfe              model evaluations, one for each step of a rendered picture (whole batches are rendered)
    disk_bytes       of the new pictures and rows
    memory_bytes     weights of all components in this precision; None: unknown before a download
    measured         the denoiser's bytes are those measured when the set was begun
    seconds          from the rate; None: no rate is known
    """

    name: str
    simulated: bool
    pictures: int
    copied: bool
    nfe: int
    disk_bytes: int
    memory_bytes: int | None
    measured: bool
    seconds: float | None


@dataclass(frozen=True)
class Forecast:
    """A request, worked out; `assumptions` in sentences."""

    folder: Path
    n_images: int
    there: int
    loading_bytes: int | None
    arms: tuple[ArmForecast, ...]
    assumptions: tuple[str, ...]


def forecast(request: Request, *, rates: Mapping[str, float] | None = None) -> Forecast:
    """Work a request out; nothing is written and no model is loaded.

    rates    seconds per picture by arm; the key '' is for arms that are not named
    Raises InputError for whatever `generate_pairs` would refuse before loading, and for a rate of an unknown arm.
    """
    from qsched.generation.run import planned

    spec = request.spec()
    steps = request.steps or spec.steps or DEFAULT_STEPS
    found, plan = planned(request, spec, steps)
    _check_rates(rates or {}, plan.arms)
    folder = request.out if request.shard is None else shard_folder(request.out, *request.shard)
    rows = [] if found is None else list(iter_rows(folder))
    size, disk_words = _picture_bytes(folder, rows, request, spec, found)
    weights = _weights(spec)
    arms = []
    for arm in plan.arms:
        missing, rendered = _to_do(arm, plan, rows)
        rate, measured = _rate(arm, rates or {}, rows), _measured(found, arm)
        arms.append(
            ArmForecast(
                name=arm.name,
                simulated=arm.recipe.simulated,
                pictures=missing,
                copied=arm.same_as is not None,
                nfe=rendered * steps,
                disk_bytes=missing * (size + _ROW_BYTES),
                memory_bytes=None if weights is None else _memory(weights, arm, measured),
                measured=measured is not None,
                seconds=None if rate is None else rate * rendered,
            )
        )
    base = plan.arms[0].base_dtype
    return Forecast(
        folder=folder,
        n_images=plan.n_images,
        there=plan.n_images - sum(arm.pictures for arm in arms),
        loading_bytes=None if weights is None else weights.all_parameters * _DTYPE_BYTES[base],
        arms=tuple(arms),
        assumptions=(disk_words, *_assumptions(weights, base, rows, rates or {})),
    )


@dataclass(frozen=True)
class _Weights:
    """Parameters of all components, of the denoiser, and of the denoiser's matrices."""

    all_parameters: int
    denoiser: int
    matrices: int


def _weights(spec: BackboneSpec) -> _Weights | None:
    if not spec.is_local:
        return None if spec.parameters is None else _Weights(spec.parameters, 0, 0)
    total = denoiser = matrices = 0
    for path in sorted(Path(spec.source).glob("*/*.safetensors")):
        for name, shape in _shapes(path):
            total += prod(shape)
            if path.parent.name in _DENOISERS:
                denoiser += prod(shape)
                matrices += prod(shape) if len(shape) == 2 and name.endswith(".weight") else 0
    return _Weights(total, denoiser, matrices)


def _shapes(path: Path) -> Iterable[tuple[str, tuple[int, ...]]]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 100 * 2**20)))
    except (OSError, struct.error, ValueError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}); download or save it again") from error
    return [(name, tuple(entry["shape"])) for name, entry in header.items() if name != "__metadata__"]


def _memory(weights: _Weights, arm: Arm, measured: int | None) -> int:
    each = _DTYPE_BYTES[arm.recipe.dtype_name or arm.base_dtype]
    rest = (weights.all_parameters - weights.denoiser) * each
    return rest + (_denoiser_bytes(weights, arm.recipe, each) if measured is None else measured)


def _denoiser_bytes(weights: _Weights, recipe: Recipe, each: int) -> int:
    bits = _RESIDENT_BITS.get(recipe.method)
    if bits is None:
        return weights.denoiser * each
    return (weights.denoiser - weights.matrices) * each + round(weights.matrices * bits / 8)


def _measured(found: Manifest | None, arm: Arm) -> int | None:
    return None if found is None else next((a.denoiser_bytes for a in found.arms if a.name == arm.name), None)


def _to_do(arm: Arm, plan: Plan, rows: Iterable[ImageRow]) -> tuple[int, int]:
    """(pictures that are missing, pictures that are rendered for them)."""
    there = {(row.prompt_id, row.sample_index) for row in rows if row.arm == arm.name}

    def lacks(job: Job) -> bool:
        return (job.prompt.prompt_id, job.sample_index) not in there

    batches = plan.batches()
    missing = sum(lacks(job) for batch in batches for job in batch)
    rendered = sum(len(batch) for batch in batches if any(lacks(job) for job in batch))
    return missing, 0 if arm.same_as is not None else rendered


def _picture_bytes(
    folder: Path, rows: list[ImageRow], request: Request, spec: BackboneSpec, found: Manifest | None
) -> tuple[int, str]:
    sizes = [path.stat().st_size for row in rows if (path := folder / row.file_name).is_file()]
    if sizes:
        mean = sum(sizes) // len(sizes)
        return mean, f"disk: {mean:,} bytes per picture, the mean of the {len(sizes)} that are there"
    width = request.width or spec.width or (found.width if found else None) or 1024
    height = request.height or spec.height or (found.height if found else None) or 1024
    words = f"disk: at most 3 bytes per pixel of {width}x{height}, the raw pixels"
    return 3 * width * height, words


def _rate(arm: Arm, rates: Mapping[str, float], rows: Iterable[ImageRow]) -> float | None:
    if arm.name in rates:
        return rates[arm.name]
    if "" in rates:
        return rates[""]
    measured = [row.seconds for row in rows if row.arm == arm.name and row.seconds is not None]
    return sum(measured) / len(measured) if measured else None


def _check_rates(rates: Mapping[str, float], arms: Iterable[Arm]) -> None:
    names = [arm.name for arm in arms]
    for name, rate in rates.items():
        if name and name not in names:
            raise InputError(f"seconds-per-image names the arm {name!r}; the arms are {', '.join(names)}")
        if not 0 < rate < float("inf"):
            raise InputError(f"seconds-per-image {rate}: it must be above 0")


def _assumptions(
    weights: _Weights | None, base: str, rows: list[ImageRow], rates: Mapping[str, float]
) -> Iterable[str]:
    if weights is None:
        yield "memory: unknown before the model is on this machine"
    elif not weights.denoiser:
        yield f"memory: the published number of parameters in {base}, whatever the precision; the model is not read"
    else:
        yield (
            "memory: weights only, from the files' headers; every matrix of the denoiser counts as converted, and an "
            "arm of simulated arithmetic takes its base dtype. Activations come on top. The whole model is loaded in "
            f"{base} before a precision is applied"
        )
    if rates:
        yield "time: from the stated rate; loading and statistics come on top"
    elif rows:
        yield "time: from the seconds per picture in the rows that are there; loading and statistics come on top"
    else:
        yield "time: not estimated; state a rate with --seconds-per-image 0.8, or 0.8,w4a8=1.1 by arm"

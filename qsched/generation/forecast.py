"""`--dry-run`: what a request would make and take, before anything is loaded. Bytes and times are estimates and say so.

Pictures and model evaluations are exact. Bytes in memory are those of the weights, from the headers of the safetensors
files; activations, caches and the framework come on top. A picture on disk is as large as those that the set has, else
at most its raw pixels. Time comes from a rate that is stated, or that the set's own rows have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from qsched.backbones.memory import DTYPE_BYTES, Parts, Peaks, denoiser_bytes, parts_of, peaks
from qsched.backbones.spec import DEFAULT_STEPS, BackboneSpec
from qsched.errors import InputError
from qsched.generation.arms import Arm
from qsched.generation.plan import Job, Plan
from qsched.generation.request import Request
from qsched.generation.sheet import megabytes
from qsched.generation.store import shard_folder
from qsched.locations import Location, file_sizes
from qsched.records import ImageRow, Manifest, iter_rows
from qsched.records.image_set import IMAGES_FOLDER

_ROW_BYTES = 1_000


@dataclass(frozen=True)
class ArmForecast:
    """What an arm would take.

    pictures         to be made, or copied if `copied`
    nfe              model evaluations, one for each step of a rendered picture (whole batches are rendered)
    disk_bytes       of the new pictures and rows
    memory_bytes     weights on the device while it renders; None: unknown before a download
    peak_bytes       weights on the device at the worst moment (`qsched.backbones.memory`)
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
    peak_bytes: int | None
    measured: bool
    seconds: float | None


@dataclass(frozen=True)
class Forecast:
    """A request, worked out; `assumptions` in sentences."""

    folder: Location
    n_images: int
    there: int
    machine_bytes: int | None
    arms: tuple[ArmForecast, ...]
    assumptions: tuple[str, ...]


def forecast(request: Request, *, rates: Mapping[str, float] | None = None) -> Forecast:
    """Work a request out; nothing is written and no model is loaded.

    rates    seconds per picture by arm; the key '' is for arms that are not named
    Raises InputError for whatever `generate_pairs` would refuse before loading, and for a rate of an unknown arm.
    """
    from qsched.generation.run import is_on_gpu, planned

    spec = request.spec()
    steps = request.steps or spec.steps or DEFAULT_STEPS
    found, plan = planned(request, spec, steps)
    _check_rates(rates or {}, plan.arms)
    folder = request.out if request.shard is None else shard_folder(request.out, *request.shard)
    rows = [] if found is None else list(iter_rows(folder))
    size, disk_words = _picture_bytes(folder, rows, request, spec, found)
    parts = parts_of(spec)
    on_gpu = is_on_gpu(request.device)
    arms, machine = [], 0
    for arm in plan.arms:
        missing, rendered = _to_do(arm, plan, rows)
        rate, measured = _rate(arm, rates or {}, rows), _measured(found, arm)
        memory = None if parts is None else _memory(parts, arm, measured, offload=request.offload, on_gpu=on_gpu)
        machine = max(machine, 0 if memory is None else memory.machine)
        arms.append(
            ArmForecast(
                name=arm.name,
                simulated=arm.recipe.simulated,
                pictures=missing,
                copied=arm.same_as is not None,
                nfe=rendered * steps,
                disk_bytes=missing * (size + _ROW_BYTES),
                memory_bytes=None if memory is None else memory.rendering,
                peak_bytes=None if memory is None else memory.most,
                measured=measured is not None,
                seconds=None if rate is None else rate * rendered,
            )
        )
    return Forecast(
        folder=folder,
        n_images=plan.n_images,
        there=plan.n_images - sum(arm.pictures for arm in arms),
        machine_bytes=machine if parts is not None and on_gpu else None,
        arms=tuple(arms),
        assumptions=(disk_words, *_memory_words(parts, spec, plan.arms, on_gpu=on_gpu), _time_words(rows, rates or {})),
    )


def _memory(parts: Parts, arm: Arm, measured: int | None, *, offload: str, on_gpu: bool) -> Peaks:
    """The bytes of an arm; with the denoiser's measured ones if the set has them."""
    dtype, method = arm.recipe.dtype_name or arm.base_dtype, arm.recipe.method
    found = peaks(parts, method, dtype=dtype, offload=offload, on_gpu=on_gpu)
    if measured is None or offload != "none":
        return found
    more = measured - denoiser_bytes(parts, method, dtype=dtype)
    return replace(found, loading=found.loading + more, rendering=found.rendering + more)


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
    folder: Location, rows: list[ImageRow], request: Request, spec: BackboneSpec, found: Manifest | None
) -> tuple[int, str]:
    there = file_sizes(folder / IMAGES_FOLDER)
    sizes = [there[name] for row in rows if (name := f"{row.image_id}.png") in there]
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


def _memory_words(parts: Parts | None, spec: BackboneSpec, arms: tuple[Arm, ...], *, on_gpu: bool) -> Iterable[str]:
    if parts is None:
        yield "memory: unknown before the model is on this machine"
        return
    source = "the files' headers" if spec.is_local else "published numbers of parameters"
    yield (
        f"memory: weights only, from {source}; every matrix of the denoiser counts as converted, an arm of simulated "
        "arithmetic takes its base dtype, and activations come on top"
    )
    base = arms[0].base_dtype
    texts = (parts.encoders + parts.others) * DTYPE_BYTES[base]
    if parts.whole:
        where = "the machine's memory" if on_gpu else "memory"
        yield f"peak: the whole model is in {where} in {base} first, because adapters are fused before it is quantized"
    elif parts.texts_first:
        yield (
            f"peak: text encoders and VAE ({megabytes(texts)}) while all prompts are read, or VAE, converted "
            "denoiser and one layer on its way, whichever is more"
        )
    else:
        yield "peak: text encoders (they stay in this class), VAE, converted denoiser and one layer on its way"
    if needy := sorted({arm.recipe.name for arm in arms if arm.recipe.statistics}):
        yield f"peak of {', '.join(needy)}: the whole denoiser in {base}, unless its statistics are kept already"


def _time_words(rows: list[ImageRow], rates: Mapping[str, float]) -> str:
    if rates:
        return "time: from the stated rate; loading and statistics come on top"
    if rows:
        return "time: from the seconds per picture in the rows that are there; loading and statistics come on top"
    return "time: not estimated; state a rate with --seconds-per-image 0.8, or 0.8,w4a8=1.1 by arm"

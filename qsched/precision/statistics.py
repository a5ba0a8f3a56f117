"""Statistics that a recipe needs before it can be applied: measured on calibration prompts, stored, hashed, reused.

A file `<kind>-<hash of the circumstances>.safetensors` holds named tensors and, in its header, the circumstances
(weights, dtype, prompts, noise, layers). While a measurement runs, a `.part` file holds what is finished.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from qsched.files import write_atomic
from qsched.precision import mixdq, smoothquant, svdquant
from qsched.precision.recipe import PrecisionError, Recipe, Statistic
from qsched.precision.recording import DenoiserCall
from qsched.precision.selection import Selection
from qsched.records import hash_of

_HEADER = "qsched"
_SECONDS_BETWEEN_PARTS = 20.0

# (denoiser, its calls on each batch, recipe, selected layers, what is there already) -> further named tensors
Measure = Callable[
    [nn.Module, Sequence[Sequence[DenoiserCall]], Recipe, Selection, Mapping[str, Tensor]],
    Iterator[tuple[str, Tensor]],
]
MEASURES: dict[Statistic, Measure] = {
    "smoothquant": smoothquant.measure,
    "svdquant": svdquant.measure,
    "mixdq": mixdq.measure,
}


@dataclass(frozen=True)
class Statistics:
    """Finished statistics of one kind.

    tensors         by name, mostly one for each layer
    circumstances   what they were measured on, JSON-ready
    sha256          of the file
    """

    kind: Statistic
    tensors: dict[str, Tensor]
    circumstances: dict[str, object]
    sha256: str


def statistics_path(folder: Path, kind: Statistic, circumstances: dict[str, object]) -> Path:
    """Where statistics of these circumstances are kept."""
    return folder / f"{kind}-{hash_of(circumstances)[:16]}.safetensors"


def read_statistics(path: Path, kind: Statistic, circumstances: dict[str, object]) -> Statistics | None:
    """The statistics of a file; None if there is no such file; PrecisionError if it is damaged or of something else."""
    if not path.is_file():
        return None
    tensors, found = _read(path)
    if found != circumstances:
        raise PrecisionError(f"{path} was measured in other circumstances; delete it, and they are measured again")
    return Statistics(kind, tensors, circumstances, hashlib.sha256(path.read_bytes()).hexdigest())


def measure_statistics(
    path: Path,
    kind: Statistic,
    circumstances: dict[str, object],
    items: Callable[[Mapping[str, Tensor]], Iterator[tuple[str, Tensor]]],
) -> Statistics:
    """Measure what `items` yields and write it; after a kill the same call goes on with what was finished.

    items    given the tensors that are there, yields the others by name
    """
    part = path.with_suffix(".part")
    done: dict[str, Tensor] = {}
    if part.is_file():
        try:
            tensors, found = _read(part)
            done = tensors if found == circumstances else {}
        except PrecisionError:
            done = {}  # half of a measurement is worth no more than the time it took
    saved = time.monotonic()
    for name, tensor in items(dict(done)):
        done[name] = tensor.detach().cpu().contiguous()
        if time.monotonic() - saved > _SECONDS_BETWEEN_PARTS:
            write_atomic(part, _bytes(done, circumstances), parents=True)
            saved = time.monotonic()
    data = _bytes(done, circumstances)
    write_atomic(path, data, parents=True)
    part.unlink(missing_ok=True)
    return Statistics(kind, done, circumstances, hashlib.sha256(data).hexdigest())


def _bytes(tensors: dict[str, Tensor], circumstances: dict[str, object]) -> bytes:
    header = {_HEADER: json.dumps(circumstances, sort_keys=True)}
    return save(dict(sorted(tensors.items())), metadata=header)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    try:
        with safe_open(path, framework="pt") as file:
            circumstances = json.loads((file.metadata() or {}).get(_HEADER, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise PrecisionError(f"{path} cannot be read: {error}; delete it, and it is measured again") from error
    if not isinstance(circumstances, dict):
        raise PrecisionError(f"{path} does not say what it was measured on; delete it, and it is measured again")
    return tensors, circumstances

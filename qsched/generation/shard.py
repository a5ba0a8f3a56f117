"""`--shard i/n`: which part of a set is made here. Parts are whole batches, so pictures are those of one run."""

from __future__ import annotations

import re
from collections.abc import Mapping

from qsched.errors import InputError

_SHARD = re.compile(r"(\d+)/(\d+)")
TORCHRUN = "torchrun"


def parse_shard(text: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """(index from 1, count) of `3/8`, or of the environment that torchrun gives its processes; InputError otherwise."""
    if text == TORCHRUN:
        return _of_torchrun(environment)
    found = _SHARD.fullmatch(text)
    if found is None:
        raise InputError(
            f"shard {text!r}: write INDEX/COUNT counted from 1, for example 3/8 (in a SLURM job array of 1-8: "
            '--shard "$SLURM_ARRAY_TASK_ID/8"), or torchrun'
        )
    index, count = int(found[1]), int(found[2])
    if not 1 <= index <= count:
        raise InputError(f"shard {text}: the index is counted from 1 to the count; write 1/{count} to {count}/{count}")
    return index, count


def device_for(device: str, text: str | None, environment: Mapping[str, str]) -> str:
    """The device of a process: under torchrun, `auto` and `cuda` mean the GPU of its local rank."""
    if text != TORCHRUN or device not in ("auto", "cuda"):
        return device
    from torch import cuda

    if not cuda.is_available():
        return device
    return f"cuda:{_whole(environment, 'LOCAL_RANK')}"


def _of_torchrun(environment: Mapping[str, str]) -> tuple[int, int]:
    return _whole(environment, "RANK") + 1, _whole(environment, "WORLD_SIZE")


def _whole(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    if not value.isdigit():
        raise InputError(
            f"--shard torchrun: {name} is {value!r} in the environment, so torchrun did not start this process; start "
            "it with `torchrun --nproc-per-node 8 -m qsched generate-pairs ...`, or write --shard INDEX/COUNT"
        )
    return int(value)

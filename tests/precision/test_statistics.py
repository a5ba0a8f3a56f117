"""Statistics on disk: hashed, reused, resumed, and refused when they are of something else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from qsched.precision import PrecisionError, statistics
from qsched.precision.statistics import measure_statistics, read_statistics, statistics_path

HERE: dict[str, object] = {"weights": "abc", "n_prompts": 4}
VALUES = {name: torch.arange(3.0) + i for i, name in enumerate("abc")}


def items(done: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    yield from ((name, value) for name, value in VALUES.items() if name not in done)


def test_what_is_measured_is_read_back_with_the_hash_of_its_file(tmp_path: Path) -> None:
    path = statistics_path(tmp_path / "new", "mixdq", HERE)
    assert read_statistics(path, "mixdq", HERE) is None
    made = measure_statistics(path, "mixdq", HERE, items)
    read = read_statistics(path, "mixdq", HERE)
    assert read is not None and made.sha256 == read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {k: v.tolist() for k, v in read.tensors.items()} == {k: v.tolist() for k, v in VALUES.items()}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_killed_measurement_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(statistics, "_SECONDS_BETWEEN_PARTS", -1.0)
    path = statistics_path(tmp_path, "mixdq", HERE)
    whole = measure_statistics(tmp_path / "whole.safetensors", "mixdq", HERE, items)

    def killed(done: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        yield "a", VALUES["a"]
        yield "b", VALUES["b"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_statistics(path, "mixdq", HERE, killed)
    asked: list[set[str]] = []

    def resumed(done: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        asked.append(set(done))
        return items(done)

    assert measure_statistics(path, "mixdq", HERE, resumed).sha256 == whole.sha256
    assert asked == [{"a", "b"}] and not path.with_suffix(".part").exists()


def test_parts_of_other_circumstances_or_damaged_ones_are_measured_again(tmp_path: Path) -> None:
    path = statistics_path(tmp_path, "mixdq", HERE)
    for part in (b"not a tensor file", statistics._bytes({"a": torch.zeros(3)}, {"weights": "other"})):
        path.with_suffix(".part").write_bytes(part)
        assert measure_statistics(path, "mixdq", HERE, items).tensors["a"].tolist() == [0, 1, 2]
    assert measure_statistics(path, "mixdq", HERE, items).tensors.keys() == VALUES.keys()


def test_finished_statistics_that_are_damaged_or_of_something_else_are_an_error(tmp_path: Path) -> None:
    path = statistics_path(tmp_path, "mixdq", HERE)
    measure_statistics(path, "mixdq", HERE, items)
    with pytest.raises(PrecisionError, match="measured in other circumstances"):
        read_statistics(path, "mixdq", {**HERE, "n_prompts": 5})
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(PrecisionError, match="cannot be read"):
        read_statistics(path, "mixdq", HERE)
    assert statistics_path(tmp_path, "mixdq", {**HERE, "n_prompts": 5}) != path

"""Prompts x samples x arms -> ordered work, a pure function of what was asked for.

Every arm makes the same batches of the same images, so that two images of a pair were computed in equal
company; a resumed run makes the same batches again. No torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qsched.errors import InputError
from qsched.generation.arms import Arm
from qsched.generation.prompts import Prompt, read_prompts
from qsched.records import image_seed


@dataclass(frozen=True)
class Job:
    """One image to be made, in every arm."""

    prompt: Prompt
    sample_index: int
    seed: int

    @property
    def key(self) -> str:
        """'prompt_id/sample_index', as rows name the company of a batch."""
        return f"{self.prompt.prompt_id}/{self.sample_index}"


@dataclass(frozen=True)
class Plan:
    """What is made, and how it is cut into batches."""

    arms: tuple[Arm, ...]
    prompts: tuple[Prompt, ...]
    prompts_sha256: str
    samples: int
    set_seed: int
    batch_size: int

    @property
    def n_images(self) -> int:
        """Images of the finished set."""
        return len(self.arms) * len(self.prompts) * self.samples

    def jobs(self) -> tuple[Job, ...]:
        """The images of one arm, in order."""
        return tuple(
            Job(prompt, sample, image_seed(self.set_seed, prompt.prompt_id, sample))
            for prompt in self.prompts
            for sample in range(self.samples)
        )

    def batches(self) -> tuple[tuple[Job, ...], ...]:
        """The batches of one arm, the same for all; the last may be smaller."""
        jobs = self.jobs()
        return tuple(jobs[i : i + self.batch_size] for i in range(0, len(jobs), self.batch_size))

    def by_precision(self) -> Iterator[tuple[Arm, ...]]:
        """Arms that share a loaded and quantized denoiser, in the order of their first arm."""
        groups: dict[tuple[str, str], list[Arm]] = {}
        for arm in self.arms:
            groups.setdefault((arm.recipe.name, arm.base_dtype), []).append(arm)
        return (tuple(group) for group in groups.values())


def make_plan(
    prompts_path: Path, arms: tuple[Arm, ...], *, samples: int, set_seed: int, batch_size: int, limit: int | None
) -> Plan:
    """Read the prompts and lay out the work; InputError for counts below 1."""
    for name, value in (("samples", samples), ("batch-size", batch_size), ("limit", limit)):
        if value is not None and value < 1:
            raise InputError(f"{name} {value}: it must be at least 1")
    prompts = read_prompts(prompts_path)[:limit]
    sha256 = hashlib.sha256(prompts_path.read_bytes()).hexdigest()
    return Plan(arms, tuple(prompts), sha256, samples, set_seed, batch_size)

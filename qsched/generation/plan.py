"""Prompts x samples x arms -> ordered work, a pure function of what was asked for.

Every arm makes the same batches of the same images, so that two images of a pair were computed in equal
company; a resumed run makes the same batches again. A set that grows keeps the batches it has: each request cuts
only what it adds. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qsched.command_line import counted
from qsched.errors import InputError
from qsched.generation.arms import Arm
from qsched.generation.prompts import Prompt, prompts_source_hash, read_prompts
from qsched.records import hash_of, image_seed


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
class GrowthStage:
    """One request of a set that grows: its images are the first `samples` of the first `n_prompts`."""

    n_prompts: int
    samples: int
    batch_size: int


@dataclass(frozen=True)
class Plan:
    """What is made, and how it is cut into batches.

    stages    the requests so far, the last one included; each cuts what it adds into batches of its own size
    limit     as it was asked for
    shard     (index from 1, count): only every count-th batch is made here
    """

    arms: tuple[Arm, ...]
    prompts: tuple[Prompt, ...]
    prompts_sha256: str
    samples: int
    set_seed: int
    stages: tuple[GrowthStage, ...]
    prompts_file: str = "prompts"
    limit: int | None = None
    shard: tuple[int, int] | None = None

    @property
    def batch_size(self) -> int:
        """Size of the newest batches."""
        return self.stages[-1].batch_size

    @property
    def used_sha256(self) -> str:
        """Hash of the prompts, whatever file they come from."""
        return prompts_hash(self.prompts)

    @property
    def n_images(self) -> int:
        """Images of the finished set, or of this shard of it."""
        return len(self.arms) * len(self.jobs())

    def jobs(self) -> tuple[Job, ...]:
        """The images of one arm that are made here, batch after batch."""
        return tuple(job for batch in self.batches() for job in batch)

    def batches(self) -> tuple[tuple[Job, ...], ...]:
        """The batches of one arm, the same for all; the last of a stage may be smaller."""
        cut: list[tuple[Job, ...]] = []
        seen: set[str] = set()
        for stage in self.stages:
            new = [job for job in self._jobs_of(stage) if job.key not in seen]
            seen.update(job.key for job in new)
            cut += [tuple(new[i : i + stage.batch_size]) for i in range(0, len(new), stage.batch_size)]
        if self.shard is None:
            return tuple(cut)
        index, count = self.shard
        return tuple(cut[index - 1 :: count])

    def _jobs_of(self, stage: GrowthStage) -> Iterator[Job]:
        for prompt in self.prompts[: stage.n_prompts]:
            for sample in range(stage.samples):
                yield Job(prompt, sample, image_seed(self.set_seed, prompt.prompt_id, sample))

    def by_precision(self) -> Iterator[tuple[Arm, ...]]:
        """Arms that share a loaded and quantized denoiser, in the order of their first arm."""
        groups: dict[tuple[str, str], list[Arm]] = {}
        for arm in self.arms:
            groups.setdefault((arm.recipe.name, arm.base_dtype), []).append(arm)
        return (tuple(group) for group in groups.values())


def make_plan(
    prompts_path: Path,
    arms: tuple[Arm, ...],
    *,
    samples: int,
    set_seed: int,
    batch_size: int,
    limit: int | None,
    earlier: tuple[GrowthStage, ...] = (),
    shard: tuple[int, int] | None = None,
    prompts_format: str | None = None,
) -> Plan:
    """Read the prompts and lay out the work after the `earlier` stages of the set; InputError for counts below 1."""
    for name, value in (("samples", samples), ("batch-size", batch_size), ("limit", limit)):
        if value is not None and value < 1:
            raise InputError(f"{name} {value}: it must be at least 1")
    prompts = tuple(read_prompts(prompts_path, layout=prompts_format)[:limit])
    sha256 = prompts_source_hash(prompts_path)
    stages = earlier
    if not earlier or (earlier[-1].n_prompts, earlier[-1].samples) != (len(prompts), samples):
        stages = (*earlier, GrowthStage(len(prompts), samples, batch_size))
    plan = Plan(arms, prompts, sha256, samples, set_seed, stages, prompts_path.name, limit, shard)
    if shard is not None and shard[1] > (whole := len(replace(plan, shard=None).batches())):
        # For every index: a set of which one shard was made could never be merged.
        raise InputError(
            f"shard {shard[0]}/{shard[1]}: the set has {counted(whole, 'batch', 'batches')}, so some shards would be "
            f"empty; use at most {counted(whole, 'shard')}, or a smaller --batch-size"
        )
    return plan


def prompts_hash(prompts: Sequence[Prompt]) -> str:
    """Hash of ids, texts and categories in their order."""
    return hash_of([[p.prompt_id, p.prompt, p.category] for p in prompts])

"""`--shard i/n`: this process measures every n-th batch of a grid, and the search without shards reads all journals.

A grid knows its candidates before it measures one, so its batches can be dealt out; a race decides by what it has
measured, and a closed-form search makes too few pictures. Batches are those of the search without shards, so the values
are the same. Every shard evaluates the first step of all prompts, which the search's NFE count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsched.backbones import Backbone
from qsched.calibration.calibrate import planned_pictures_of, seeds_of
from qsched.calibration.errors import CalibrationError
from qsched.calibration.evaluate import Evaluator, SearchProgress
from qsched.calibration.journal import Journal, shard_journal
from qsched.calibration.search import run_search
from qsched.calibration.search_identity import own_identity, search_name
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.trajectory import TrajectoryRenderer
from qsched.generation import Prompt
from qsched.scheduling import Coefficients
from qsched.scoring import Jaq


@dataclass(frozen=True)
class ShardDone:
    """What a shard measured, and where it is."""

    journal: Path
    pictures: int
    nfe: int


def check_shardable(settings: CalibrationSettings) -> None:
    """CalibrationError unless the search is a grid without a budget or an early round."""
    if settings.strategy != "grid":
        raise CalibrationError(
            f"--shard with --strategy {settings.strategy}: only a grid knows all its candidates beforehand; add "
            "--strategy grid, or leave --shard out"
        )
    if settings.budget.nfe is not None or settings.budget.minutes is not None:
        raise CalibrationError("--shard with a budget: a shard measures its whole part; leave the budget out")
    if settings.decodes_early:
        raise CalibrationError("--shard with --early-decode: shards measure whole pictures; leave one of them out")


def calibrate_shard(
    backbone: Backbone,
    objective: Jaq,
    prompts: Sequence[Prompt],
    settings: CalibrationSettings,
    shard: tuple[int, int],
    *,
    journal: Path,
    identity: dict[str, object],
    on_progress: Callable[[SearchProgress], None] | None = None,
) -> ShardDone:
    """Measure this shard's part of the grid; `journal` is that of the whole search."""
    check_shardable(settings)
    family = settings.family_for(backbone.steps)
    renderer = TrajectoryRenderer(backbone, steps=backbone.steps, batch_rows=settings.batch_rows)
    path = shard_journal(journal, shard)
    stored = Journal(
        path,
        {**identity, **own_identity(settings, backbone.steps, prompts, objective)},
        search=search_name(settings, family, len(prompts)),
    )
    evaluator = Evaluator(
        renderer,
        objective,
        prompts,
        seeds_of(prompts, settings),
        stored,
        planned=-(-planned_pictures_of(settings, family, len(prompts)) // shard[1]),
        batch_rows=settings.batch_rows,
        shard=shard,
        on_progress=on_progress,
    )
    evaluator.values([Coefficients.constant()])
    run_search(settings.strategy, evaluator, family, seed=settings.seed, size=settings.size_for(family, len(prompts)))
    return ShardDone(path, len(stored.values), evaluator.nfe)

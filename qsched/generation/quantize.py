"""Quantize a loaded backbone: measure the statistics that the recipe needs, apply it, correct the scheduler.

Statistics come from calibration prompts through the pipeline itself, with noise of their own. They are kept next to
what is being made, and used again by the next run in the same circumstances.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qsched.errors import InputError
from qsched.generation.prompts import Prompt, prompts_source_hash, read_prompts
from qsched.locations import Location
from qsched.precision import Recipe, hash_of
from qsched.records import image_seed
from qsched.tiny.paths import BACKBONES

if TYPE_CHECKING:
    from torch import Tensor

    from qsched.backbones.backbone import Backbone
    from qsched.precision import PrecisionReport
    from qsched.precision.recipe import Statistic
    from qsched.precision.statistics import Statistics

STATISTICS_PROMPTS = 8
# Raised when what is measured changes, so that older files are not taken for it.
_VERSION = 1


@dataclass(frozen=True)
class CalibrationSource:
    """Where a recipe's statistics come from.

    folder    the statistics are kept in it; in a bucket only between runs (`statistics_folder`)
    """

    prompts: tuple[Prompt, ...]
    prompts_sha256: str
    batch_size: int
    folder: Location

    def batches(self) -> tuple[tuple[Prompt, ...], ...]:
        """The prompts as they are rendered."""
        n = self.batch_size
        return tuple(self.prompts[i : i + n] for i in range(0, len(self.prompts), n))

    def to_dict(self) -> dict[str, object]:
        """What the manifest says of it."""
        return {"prompts_sha256": self.prompts_sha256, "n_prompts": len(self.prompts)}


def calibration_source(
    path: Path | None, limit: int, *, backbone: str, precision: str, batch_size: int, folder: Location
) -> CalibrationSource:
    """The first `limit` prompts of a file; the tiny models have prompts of their own, others need a file."""
    if limit < 1:
        raise InputError(f"calibration-limit {limit}: it must be at least 1")
    if path is None:
        if backbone not in BACKBONES:
            raise InputError(
                f"precision {precision} needs statistics of calibration prompts, and {backbone} has none of its own: "
                "give --calibration-prompts FILE with prompts like those that will be rendered"
            )
        from qsched.tiny.paths import prompts_path

        path = prompts_path("calibration")
    prompts = tuple(read_prompts(path)[:limit])
    sha256 = prompts_source_hash(path)
    return CalibrationSource(prompts, sha256, batch_size, folder)


def quantize_backbone(backbone: Backbone, recipe: Recipe, source: CalibrationSource | None) -> PrecisionReport:
    """Apply the recipe to a fresh backbone; its pipeline's scheduler is replaced where the recipe corrects noise.

    A denoiser that is not in memory yet is converted while it is read, unless statistics have to be measured on it.
    Raises InputError for a recipe that needs statistics if `source` is None.
    """
    from qsched.precision import apply_precision
    from qsched.precision.apply import check_applicable

    check_applicable(backbone, recipe)
    if not recipe.statistics:
        return apply_precision(backbone, recipe, filler=backbone.slot)
    if source is None:
        raise InputError(f"precision {recipe.name} needs statistics of calibration prompts; give a prompts file")
    given: dict[Statistic, Statistics] = {
        kind: _layer_statistics(backbone, recipe, kind, source) for kind in recipe.statistics if kind != "ptqd"
    }
    if recipe.correction is None:
        return apply_precision(backbone, recipe, statistics=given, filler=backbone.slot)
    return _apply_with_correction(backbone, recipe, source, given)


def _layer_statistics(backbone: Backbone, recipe: Recipe, kind: Statistic, source: CalibrationSource) -> Statistics:
    """The statistics of a kind that are measured on the full-precision denoiser."""
    from qsched.precision.apply import select
    from qsched.precision.recording import recorded_calls
    from qsched.precision.statistics import MEASURES, measure_statistics, read_statistics, statistics_path

    selection = select(backbone, recipe)
    circumstances = _circumstances(backbone, source, kind)
    circumstances |= {"layers": hash_of(list(selection.converted)), "weight_format": recipe.weight_format}
    path = statistics_path(_local(source), kind, circumstances)
    kept = read_statistics(path, kind, circumstances)
    if kept is not None:
        return kept
    _check_measurable(backbone, recipe)
    backbone.complete()

    def items(done: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        batches = []
        for prompts in source.batches():
            with recorded_calls(backbone.denoiser) as calls:
                _render(backbone, prompts)
            batches.append(calls)
        return MEASURES[kind](backbone.denoiser, batches, recipe, selection, done)

    return measure_statistics(path, kind, circumstances, items)


def _apply_with_correction(
    backbone: Backbone, recipe: Recipe, source: CalibrationSource, given: dict[Statistic, Statistics]
) -> PrecisionReport:
    """Quantize, and give the pipeline a scheduler with PTQD's correction, measured in paired runs."""
    import torch

    from qsched.generation.paired_steps import forced_steps, observed_steps
    from qsched.precision import apply_precision
    from qsched.precision.ptqd import fit_noise, paired_sums
    from qsched.precision.statistics import measure_statistics, read_statistics, statistics_path
    from qsched.scheduling import NoiseCorrection, correct_noise

    circumstances = _circumstances(backbone, source, "ptqd")
    circumstances |= {"recipe": recipe.hash, "others": {kind: found.sha256 for kind, found in given.items()}}
    path = statistics_path(_local(source), "ptqd", circumstances)
    noise = read_statistics(path, "ptqd", circumstances)
    if noise is not None:
        report = apply_precision(backbone, recipe, statistics=given, filler=backbone.slot)
    else:
        _check_measurable(backbone, recipe)
        backbone.complete()
        # The full-precision runs come first: afterwards there is only the quantized denoiser.
        runs = []
        for prompts in source.batches():
            with observed_steps(backbone.pipeline) as run:
                _render(backbone, prompts)
            runs.append(run)
        report = apply_precision(backbone, recipe, statistics=given)

        def items(done: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
            for number, (prompts, run) in enumerate(zip(source.batches(), runs, strict=True)):
                name = f"batch-{number:04d}"
                if name not in done:
                    with forced_steps(backbone.pipeline, run) as outputs:
                        _render(backbone, prompts)
                    pairs = zip(run, outputs, strict=True)
                    yield name, torch.stack([paired_sums(exact.model_output, made) for exact, made in pairs])

        noise = measure_statistics(path, "ptqd", circumstances, items)
    fitted = fit_noise(noise.tensors[name] for name in sorted(noise.tensors))
    correction = NoiseCorrection(fitted.k, fitted.bias, fitted.variance)
    backbone.pipeline.scheduler = correct_noise(backbone.pipeline.scheduler, correction)
    return replace(
        report,
        statistics_sha256={**report.statistics_sha256, "ptqd": noise.sha256},
        notes=(*report.notes, f"noise correction: k = {', '.join(f'{k:+.4f}' for k in fitted.k.tolist())} by step"),
    )


def _check_measurable(backbone: Backbone, recipe: Recipe) -> None:
    """InputError if the weights are not where a replayed denoiser would look for them."""
    if backbone.slot is not None and backbone.slot.offload != "none":
        raise InputError(
            f"precision {recipe.name} measures statistics first, with the whole denoiser on the GPU, and --offload "
            f"{backbone.slot.offload} is given. Run this arm once without it (--limit 1 will do), on a larger GPU if "
            "need be: the statistics are kept in the set's folder"
        )


def _local(source: CalibrationSource) -> Path:
    assert isinstance(source.folder, Path), "a bucket's statistics are used from a local copy"
    return source.folder


def _circumstances(backbone: Backbone, source: CalibrationSource, kind: Statistic) -> dict[str, object]:
    """What the statistics of a kind depend on, whatever the recipe."""
    return {
        "kind": kind,
        "version": _VERSION,
        "weights": backbone.identity,
        "dtype": str(backbone.dtype),
        "prompts_sha256": source.prompts_sha256,
        "n_prompts": len(source.prompts),
        "batch_size": source.batch_size,
        "steps": backbone.steps,
        "guidance_scale": backbone.guidance_scale,
        "size": [backbone.width, backbone.height],
        "call_options": backbone.call_options,
    }


def _render(backbone: Backbone, prompts: tuple[Prompt, ...]) -> None:
    from qsched.generation.render import render_batch

    render_batch(backbone, prompts, [image_seed(0, f"calibration/{p.prompt_id}", 0) for p in prompts])

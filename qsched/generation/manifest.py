"""The manifest of an image set as `generate-pairs` fills it: what was asked for, which weights, on what machine."""

from __future__ import annotations

import inspect
import platform
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsched.backbones.identity import identity_of, lora_digest
from qsched.backbones.spec import BackboneSpec, Lora
from qsched.generation.plan import Plan
from qsched.generation.prompts import Prompt
from qsched.generation.provenance import git_commit, package_versions, versions
from qsched.generation.quantize import CalibrationSource
from qsched.generation.request import Request
from qsched.precision import hash_of
from qsched.records import Manifest
from qsched.records.image_set import GENERATE_PAIRS

if TYPE_CHECKING:
    from qsched.backbones.backbone import Backbone
    from qsched.precision.report import PrecisionReport


def make_manifest(plan: Plan, backbone: Backbone, *, calibration: dict[str, object] | None = None) -> Manifest:
    """The manifest of a set before its first image; what precisions take is added by `with_precision`."""
    import torch

    spec = backbone.spec
    provenance: dict[str, object] = {
        "tool": GENERATE_PAIRS,
        "backbone_source": Path(spec.source).name if spec.is_local else spec.source,
        "backbone_weights": backbone.identity,
        "backbone_revision": spec.revision,
        "backbone_licence": spec.licence,
        "pipeline": type(backbone.pipeline).__name__,
        "scheduler": backbone.pipeline.scheduler.config.get("_class_name", type(backbone.pipeline.scheduler).__name__),
        "guidance_scale": backbone.guidance_scale,
        "call_options": backbone.call_options,
        "components_left_out": list(backbone.dropped),
        "assumed": list(backbone.assumed),
        "base_dtype": plan.arms[0].base_dtype,
        "batch_size": plan.batch_size,
        "device": backbone.device.type,
        "truncated_prompts": truncated_prompts(backbone, plan.prompts),
        "prompts_file": plan.prompts_file,
        "limit": plan.limit,
        "versions": versions(),
        "git_commit": git_commit(),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
    }
    if spec.loras:
        provenance["loras"] = [_lora(lora) for lora in spec.loras]
    if (vae_dtype := _vae_dtype(backbone)) is not None:
        provenance["vae_dtype"] = vae_dtype
    if backbone.slot is not None and backbone.slot.compiled:
        provenance["compiled"] = True  # other rounding
    if calibration is not None:  # an arm needs statistics, and other prompts would give others
        provenance["calibration"] = calibration
    arms = tuple(arm.record() for arm in plan.arms)
    identity = [
        plan.prompts_sha256,
        plan.set_seed,
        plan.samples,
        backbone.steps,
        backbone.identity,
        [a.recipe_hash for a in arms],
    ]
    return Manifest(
        set_id=f"{spec.name}-{hash_of(identity)[:12]}",
        created_at=datetime.now(UTC).replace(microsecond=0),
        backbone=spec.name,
        arms=arms,
        prompts_sha256=plan.prompts_sha256,
        n_prompts=len(plan.prompts),
        samples=plan.samples,
        set_seed=plan.set_seed,
        steps=backbone.steps,
        width=backbone.width,
        height=backbone.height,
        provenance=provenance,
    )


def asked_hash(request: Request, spec: BackboneSpec, plan: Plan, source: CalibrationSource | None) -> str | None:
    """Hash of all that the manifest follows from, known before anything is loaded; None if the weights are not.

    The same request to the same weights with the same libraries makes the same manifest.
    """
    weights = identity_of(spec)
    if weights is None:
        return None
    same_place = replace(request, prompts=Path(), out=Path(), overwrite=False)  # the plan knows the prompts
    return hash_of(
        {
            "weights": weights,
            "spec": repr(spec),
            "request": repr(same_place),
            "arms": [arm.record().model_dump(mode="json") for arm in plan.arms],
            "prompts": [plan.prompts_sha256, plan.used_sha256],
            "stages": repr(plan.stages),
            "calibration": None if source is None else source.to_dict(),
            "versions": package_versions(),
        }
    )


def recorded_statistics(manifest: Manifest, precision: str) -> dict[str, str]:
    """The hashes of the statistics that a precision was applied with in an earlier run; empty if there are none."""
    arms = manifest.provenance.get("arms")
    report = arms.get(precision) if isinstance(arms, dict) else None
    found = report.get("statistics_sha256") if isinstance(report, dict) else None
    return dict(found) if isinstance(found, dict) else {}


def with_precision(manifest: Manifest, arms: set[str], report: PrecisionReport) -> Manifest:
    """The manifest with what a precision did to these arms' denoiser."""
    measured = {
        "denoiser_bytes": report.resident_bytes,
        "packed_bytes": report.packed_bytes,
        "nominal_bytes": report.nominal_bytes,
        "layers_converted": len(report.converted),
        "layers_skipped": report.skipped,
        "layers_kept": report.kept,
    }
    records = tuple(record.model_copy(update=measured) if record.name in arms else record for record in manifest.arms)
    earlier = manifest.provenance.get("arms")
    reports = {**(earlier if isinstance(earlier, dict) else {}), report.precision: report.to_dict()}
    return manifest.model_copy(update={"arms": records, "provenance": {**manifest.provenance, "arms": reports}})


def environment_here() -> dict[str, str]:
    """What makes images in this process, as each row keeps it: versions, threads, commit."""
    import torch

    commit = git_commit()
    return {
        **versions(),
        "threads": str(torch.get_num_threads()),
        **({} if commit is None else {"git_commit": commit}),
    }


def truncated_ids(manifest: Manifest) -> tuple[str, ...]:
    """Ids of the prompts that are longer than the text encoder reads, as the manifest keeps them."""
    ids = manifest.provenance.get("truncated_prompts")
    return tuple(str(one) for one in ids) if isinstance(ids, list | tuple) else ()


def _lora(lora: Lora) -> dict[str, object]:
    """A fused adapter: its file's name, the hash of its tensors, its scale."""
    from qsched.backbones.load import lora_file

    path = lora_file(lora)
    where = {} if lora.file is None else {"source": lora.source, "revision": lora.revision}
    return {"file": path.name, "sha256": lora_digest(path), "scale": lora.scale, **where}


def _vae_dtype(backbone: Backbone) -> str | None:
    """The VAE's dtype if it is not that of the rest."""
    vae = getattr(backbone.pipeline, "vae", None)
    return None if vae is None or vae.dtype is backbone.dtype else str(vae.dtype).removeprefix("torch.")


def truncated_prompts(backbone: Backbone, prompts: tuple[Prompt, ...]) -> list[str]:
    """Ids of the prompts whose end no text encoder sees, because they have more tokens than any of them reads.

    A pipeline with several encoders (CLIP and T5 in FLUX and SD3) reads a prompt whole if one of them does.
    """
    readers = _readers(backbone)
    if not readers:
        return []
    tokenizer, limit = max(readers, key=lambda reader: reader[1])
    return [p.prompt_id for p in prompts if len(tokenizer(p.prompt, truncation=False).input_ids) > limit]


def _readers(backbone: Backbone) -> list[tuple[Any, int]]:
    """Each tokenizer of the pipeline with the number of tokens that its encoder reads."""
    pipeline = backbone.pipeline
    asked = backbone.call_options.get("max_sequence_length")
    if asked is None:
        parameter = inspect.signature(type(pipeline).__call__).parameters.get("max_sequence_length")
        asked = None if parameter is None else parameter.default
    readers = []
    for name, part in sorted(pipeline.components.items()):
        tokenizer = getattr(part, "tokenizer", part)  # a processor holds its tokenizer
        if not name.startswith("tokenizer") or not callable(tokenizer):
            continue
        own = int(tokenizer.model_max_length)
        is_clip = type(tokenizer).__name__.startswith("CLIP")
        readers.append((tokenizer, own if is_clip or not isinstance(asked, int) else asked))
    return readers

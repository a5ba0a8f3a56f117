"""A folder for another lab: what a benchmark showed, with everything that is needed to check it.

    benchmark.yaml, benchmark.json, prompts.json, calibration.json, models/, studies/     as in a benchmark's folder
    submission.json    what it is of, and the hashes that should be published elsewhere
    SHA256SUMS         of every other file

Databases, logs and the pages stay behind. `bench verify` makes win rates and certificates again from the evidence.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsched import __version__
from qsched.bench.identity import read_identity
from qsched.bench.places import Places, StudyPlaces
from qsched.bench.results import open_folder
from qsched.bench.spec import ModelSpec, StudySpec
from qsched.errors import InputError
from qsched.files import link_or_copy, sha256_of_file, write_atomic
from qsched.records import read_manifest
from qsched.records.image_set import MANIFEST_NAME

SUMS, SUBMISSION = "SHA256SUMS", "submission.json"
_IMAGE_FILES = (MANIFEST_NAME, "images.jsonl", "metrics.json", "metrics_images.jsonl")
_STUDY_FILES = ("study.yaml", "simulation.json", "preregistration.json", "content.csv")
_STUDY_FOLDERS = ("evidence", "registrations", "certificates")


@dataclass(frozen=True)
class Submitted:
    """What was written; `unaudited` names studies whose votes nobody can check."""

    folder: Path
    files: int
    sums_sha256: str
    unaudited: tuple[str, ...]


def submit(folder: Path, out: Path) -> Submitted:
    """Write the submission; InputError for a folder that is not empty or has no pictures yet."""
    places = open_folder(folder)
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; a submission goes into a folder of its own")
    models = [model for model in places.benchmark.models if (places.images(model) / MANIFEST_NAME).is_file()]
    if not models:
        raise InputError(f"{folder} has no pictures yet; `qsched bench run` makes them")
    there = Places(out, places.benchmark)
    for path in (places.file, places.identity, places.prompts, places.calibration_prompts):
        if path.is_file():
            copy_file(path, out / path.name)
    unaudited: list[str] = []
    for model in models:
        copy_model(places, there, model)
        for study in places.benchmark.studies_of(model):
            at, target = places.study(study, model), there.study(study, model)
            copy_study(at, target)
            if target.votes is not None and not target.evidence.is_dir():
                unaudited.append(f"{study.name} of {model.name}")
    write_atomic(out / SUBMISSION, (json.dumps(_submission(there, models), indent=1) + "\n").encode())
    sums = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes_of(out)))
    write_atomic(out / SUMS, sums.encode())
    return Submitted(out, sums.count("\n"), hashlib.sha256(sums.encode()).hexdigest(), tuple(unaudited))


def copy_model(places: Places, there: Places, model: ModelSpec) -> None:
    """Image set, scores and coefficients of a model."""
    images, target = places.images(model), there.images(model)
    for name in _IMAGE_FILES:
        if (images / name).is_file():
            copy_file(images / name, target / name)
    for picture in sorted((images / "images").glob("*.png")):
        link_or_copy(picture, target / "images" / picture.name)
    coefficients = images.parent / "coefficients"
    for path in sorted(coefficients.glob("*/*.json")):
        copy_file(path, target.parent / "coefficients" / path.relative_to(coefficients))


def copy_study(at: StudyPlaces, target: StudyPlaces) -> None:
    """Design, votes, evidence, registrations and results of a study."""
    for name in _STUDY_FILES:
        if (at.folder / name).is_file():
            copy_file(at.folder / name, target.folder / name)
    if at.votes is not None:
        copy_file(at.votes, target.folder / at.votes.name)
        looks = at.votes.with_name(f"{at.votes.stem}.looks.json")
        if looks.is_file():
            copy_file(looks, target.folder / looks.name)
    if (at.report / "winrates.json").is_file():
        copy_file(at.report / "winrates.json", target.report / "winrates.json")
    for name in _STUDY_FOLDERS:
        if (at.folder / name).is_dir():
            shutil.rmtree(target.folder / name, ignore_errors=True)  # of a study that was stopped before its votes
            shutil.copytree(at.folder / name, target.folder / name)


def hashes_of(folder: Path) -> Iterator[tuple[str, str]]:
    """(path, SHA-256) of every file below a folder but SHA256SUMS itself."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / SUMS:
            yield path.relative_to(folder).as_posix(), sha256_of_file(path)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file with its time; folders are made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _submission(there: Places, models: list[ModelSpec]) -> dict[str, Any]:
    identity = read_identity(there.folder)
    listed: dict[str, Any] = {}
    for model in models:
        manifest = read_manifest(there.images(model))
        studies = {}
        for study in there.benchmark.studies_of(model):
            at = there.study(study, model)
            if at.votes is None:
                continue
            studies[study.name] = study_hashes(at, study)
        listed[model.name] = {
            "weights": manifest.provenance.get("backbone_weights"),
            "arms": {arm.name: arm.recipe_hash for arm in manifest.arms},
            "studies": studies,
        }
    return {
        "schema_version": 1,
        "made_with": f"qsched {__version__}",
        "benchmark_sha256": identity.benchmark_sha256,
        "models": listed,
    }


def study_hashes(at: StudyPlaces, study: StudySpec) -> dict[str, str | None]:
    """What submission.json says of a study: the hashes that its lab may publish, and who voted."""
    return {
        "votes_sha256": None if at.votes is None else _sha256(at.votes),
        "votes_by": study.votes,
        "evidence_sha256": _sha256(at.evidence / MANIFEST_NAME),
        "preregistration_sha256": _sha256(at.evidence / "preregistration.json"),
    }


def _sha256(path: Path) -> str | None:
    return sha256_of_file(path) if path.is_file() else None

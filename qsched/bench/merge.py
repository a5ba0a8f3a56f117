"""Take another lab's submission into a benchmark's folder: the same benchmark, the same weights, the same arms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsched.bench.identity import read_identity
from qsched.bench.places import Places
from qsched.bench.results import open_folder
from qsched.bench.run import Runner
from qsched.bench.spec import ModelSpec, StudySpec
from qsched.bench.steps import is_of_other_weights
from qsched.bench.submit import copy_model, copy_study
from qsched.bench.verify import verify_submission
from qsched.bench.verify_studies import StudyRules
from qsched.errors import InputError
from qsched.files import sha256_of_file
from qsched.records import iter_rows, read_manifest
from qsched.records.image_set import MANIFEST_NAME


@dataclass(frozen=True)
class Merged:
    """What was taken over, what the folder had already, and what the checks could not show."""

    models: tuple[str, ...]
    studies: tuple[str, ...]
    there_already: tuple[str, ...]
    not_shown: tuple[str, ...]


def merge_submission(folder: Path, submission: Path, *, runner: Runner, rules: StudyRules) -> Merged:
    """Compare, verify, then copy what the folder lacks. InputError names the first thing that does not fit."""
    places, theirs = open_folder(folder), open_folder(submission)
    ours, other = read_identity(folder), read_identity(submission)
    if ours.benchmark_sha256 != other.benchmark_sha256:
        raise InputError(
            f"{submission} is of another benchmark: sha256 {other.benchmark_sha256[:12]}..., not "
            f"{ours.benchmark_sha256[:12]}... (`qsched bench compare` sets two benchmarks side by side)"
        )
    found = _Found([], [], [])
    for model in theirs.benchmark.models:
        if (theirs.images(model) / MANIFEST_NAME).is_file():
            _look_at(model, places, theirs, found)
    checks = verify_submission(submission, runner=runner, rules=rules)
    for check in checks:
        if check.problems:
            raise InputError(f"{submission}: {check.name}: {check.problems[0]}; nothing was merged")
    for model in found.models:
        copy_model(theirs, places, model)
    for model, study in found.studies:
        copy_study(theirs.study(study, model), places.study(study, model))
    names = tuple(f"{study.name} of {model.name}" for model, study in found.studies)
    notes = tuple(f"{check.name}: {note}" for check in checks for note in check.notes)
    return Merged(tuple(model.name for model in found.models), names, tuple(found.there), notes)


@dataclass(frozen=True)
class _Found:
    """What the folder lacks, and what it has."""

    models: list[ModelSpec]
    studies: list[tuple[ModelSpec, StudySpec]]
    there: list[str]


def _look_at(model: ModelSpec, places: Places, theirs: Places, found: _Found) -> None:
    """Add a model of the submission to what was found; InputError if the folder has another one of that name."""
    if (places.images(model) / MANIFEST_NAME).is_file():
        _check_same(places, theirs, model)
        found.there.append(model.name)
    else:
        _check_weights(places, theirs, model)
        found.models.append(model)
    for study in theirs.benchmark.studies_of(model):
        ours, other = places.study(study, model).votes, theirs.study(study, model).votes
        if other is None:
            continue
        if ours is None:
            found.studies.append((model, study))
        elif sha256_of_file(ours) == sha256_of_file(other):
            found.there.append(f"{study.name} of {model.name}")
        else:
            raise InputError(
                f"both have votes of {study.name} of {model.name}, and they differ: a leaderboard shows one set; "
                "pool them with `qsched winrates` and both files, or use `qsched bench compare`"
            )


def _check_weights(places: Places, theirs: Places, model: ModelSpec) -> None:
    """A model that only they have pictures of has the weights that our benchmark.yaml names, if those are here."""
    ours = next(one for one in places.benchmark.models if one.name == model.name)
    if is_of_other_weights(ours, read_manifest(theirs.images(model))):
        raise InputError(f"{model.name}: its weights there are not those of {ours.source} here; one name, one model")


def _check_same(places: Places, theirs: Places, model: ModelSpec) -> None:
    """The two sets of a model have the same weights, arms and pictures; InputError for the first difference."""
    ours, other = read_manifest(places.images(model)), read_manifest(theirs.images(model))
    weights = [one.provenance.get("backbone_weights") for one in (ours, other)]
    if weights[0] != weights[1]:
        raise InputError(f"{model.name}: its weights are {weights[0]} here and {weights[1]} there; one name, one model")
    hashes = {arm.name: arm.recipe_hash for arm in other.arms}
    for arm in ours.arms:
        if hashes.get(arm.name, arm.recipe_hash) != arm.recipe_hash:
            raise InputError(
                f"{model.name}: the arm {arm.name} is another one there (recipe or coefficients differ); give one of "
                "them another name"
            )
    pictures = [
        {(row.arm, row.prompt_id, row.sample_index): row.sha256 for row in iter_rows(one.images(model))}
        for one in (places, theirs)
    ]
    differ = next((key for key, digest in pictures[0].items() if pictures[1].get(key, digest) != digest), None)
    if differ is not None:
        raise InputError(
            f"{model.name}: the pictures differ, the first of {differ[0]} for prompt {differ[1]} (another machine, or "
            "other versions?); votes on other pictures are another study: `qsched bench compare`"
        )

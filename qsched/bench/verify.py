"""Check a submission: files, benchmark, pictures, votes, and that its results follow from its votes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

from qsched.bench.identity import identity_of_folder, read_identity
from qsched.bench.places import Places
from qsched.bench.results import open_folder, read_json
from qsched.bench.run import Runner
from qsched.bench.spec import ModelSpec, StudySpec
from qsched.bench.submit import SUBMISSION, SUMS, hashes_of
from qsched.bench.verify_pictures import picture_notes, picture_problems, stated_models
from qsched.bench.verify_render import render_again
from qsched.bench.verify_scores import computed_again, score_problems, scores_are_here
from qsched.bench.verify_studies import StudyRules, check_study
from qsched.errors import InputError
from qsched.files import sha256_of_file
from qsched.records.image_set import MANIFEST_NAME
from qsched.records.yaml_file import read_utf8

_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One check: its name, what is wrong (nothing: it passed), and what it cannot say."""

    name: str
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def verify_submission(
    folder: Path,
    *,
    runner: Runner,
    rules: StudyRules,
    sums_sha256: str | None = None,
    render: int = 0,
) -> tuple[Check, ...]:
    """Carry out every check; InputError for a folder that is no submission.

    rules          what the study server's code knows of a study
    sums_sha256    what was published of SHA256SUMS
    render         make the pictures of so many prompts of each model again, chosen at random
    """
    if not (folder / SUBMISSION).is_file() or not (folder / SUMS).is_file():
        raise InputError(f"{folder} has no {SUBMISSION} and {SUMS}; give a folder that `qsched bench submit` wrote")
    places = open_folder(folder)
    checks = [Check("files are those of SHA256SUMS", tuple(file_problems(folder, sums_sha256)))]
    name = "benchmark.json follows from benchmark.yaml and the prompts"
    checks.append(Check(name, tuple(_identity_problems(places))))
    stated = stated_models(places)
    there = [model for model in places.benchmark.models if (places.images(model) / MANIFEST_NAME).is_file()]
    lacking = sorted(stated.keys() - {model.name for model in there})
    problems = [f"the pictures of {name} are not here" for name in lacking] if there else ["no model has pictures"]
    checks.append(Check(f"models of {SUBMISSION} are here", tuple(problems)))
    for model in there:
        name = f"{model.name}: pictures and arms (times, sizes and the pictures themselves taken as they are)"
        checks.append(Check(name, tuple(picture_problems(places, model)), picture_notes(places, model)))
        if render:
            again = render_again(places, model, prompts=render, draw=SystemRandom(), runner=runner)
            checks.append(Check(f"{model.name}: {again.words}", again.problems, again.notes))
        if places.benchmark.metrics or scores_are_here(places, model):
            checks.append(_score_check(places, model))
        for study in places.benchmark.studies_of(model):
            checks.append(_study_check(places, model, study, runner=runner, rules=rules))
    return tuple(checks)


def file_problems(folder: Path, published: str | None) -> Iterator[str]:
    """Every file is the one of SHA256SUMS, and that is the one that was published."""
    ours = sha256_of_file(folder / SUMS)
    if published is not None and published.strip().lower() != ours:
        yield f"{SUMS} has sha256 {ours}, published was {published}"
    if link := next((path for path in sorted(folder.rglob("*")) if path.is_symlink()), None):
        yield f"{link.relative_to(folder)} is a link; a submission holds its own files"
    lines = read_utf8(folder / SUMS, max_bytes=64 * 1024 * 1024).splitlines()
    stated = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = dict(hashes_of(folder))
    differ = sorted(name for name in stated.keys() | found.keys() if stated.get(name) != found.get(name))
    for name in differ[:_SHOWN]:
        state = "is missing" if name not in found else "is not listed" if name not in stated else "has another hash"
        yield f"{name} {state}"
    if len(differ) > _SHOWN:
        yield f"{len(differ) - _SHOWN} more files differ"


def _identity_problems(places: Places) -> Iterator[str]:
    stated, found = read_identity(places.folder), identity_of_folder(places)
    if stated != found:
        fields = [name for name in type(found).model_fields if getattr(stated, name) != getattr(found, name)]
        yield f"{', '.join(fields)} are not what the files give"
    submission = read_json(places.folder / SUBMISSION)
    if submission.get("benchmark_sha256") != found.benchmark_sha256:
        yield f"{SUBMISSION} is of another benchmark ({submission.get('benchmark_sha256')})"


def _score_check(places: Places, model: ModelSpec) -> Check:
    """The scores that the leaderboard shows; its name says which values were computed again."""
    if not scores_are_here(places, model):
        return Check(f"{model.name}: scores", (), ("there are none, although the benchmark asks for them",))
    if importlib.util.find_spec("torch") is None:
        note = "they were not checked, which needs torch: pip install 'qsched[score]'"
        return Check(f"{model.name}: scores", (), (note,))
    try:
        again, others = computed_again(places, model)
    except InputError as error:
        return Check(f"{model.name}: scores", (str(error),))
    words = [f"{', '.join(again)} computed again"] if again else []
    words += [f"the values of {', '.join(others)} taken as they are"] if others else []
    return Check(f"{model.name}: scores ({'; '.join(words)})", tuple(score_problems(places, model)))


def _study_check(places: Places, model: ModelSpec, study: StudySpec, *, runner: Runner, rules: StudyRules) -> Check:
    name = f"{model.name}: votes of {study.name}"
    if places.study(study, model).votes is None:
        return Check(name, (), ("there are none",))
    found = check_study(places, model, study, runner=runner, rules=rules)
    made = "certificates" if study.is_fidelity else "win rates"
    return Check(f"{name}, and its {made}", found.problems, found.notes)

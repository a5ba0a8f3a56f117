"""Check a submission: files, benchmark, pictures, votes, and that its results follow from its votes."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsched.bench.identity import identity_of_folder, read_identity
from qsched.bench.places import Places, StudyPlaces
from qsched.bench.results import open_folder, read_json
from qsched.bench.run import Runner
from qsched.bench.spec import ModelSpec, StudySpec
from qsched.bench.steps import EXIT_NOTHING_SHOWN
from qsched.bench.submit import SUBMISSION, SUMS, hashes_of
from qsched.bench.verify_scores import computed_again, score_problems, scores_are_here
from qsched.errors import InputError, QschedError
from qsched.files import sha256_of_file
from qsched.generation.verify import verify_set
from qsched.precision import find_recipe, hash_of
from qsched.records import Manifest, iter_rows, read_manifest
from qsched.records.image_set import MANIFEST_NAME
from qsched.records.same_values import differences
from qsched.records.yaml_file import read_utf8

#: Results that must follow from the votes, not how they were asked for (paths, versions, the command).
_RESULTS = ("n_votes", "n_annotators", "simulated", "n_simulated", "strengths", "pairwise", "strata", "excluded")
_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One check: its name, what is wrong (nothing: it passed), and what it cannot say."""

    name: str
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def verify_submission(folder: Path, *, runner: Runner, sums_sha256: str | None = None) -> tuple[Check, ...]:
    """Carry out every check; InputError for a folder that is no submission.

    sums_sha256    what was published of SHA256SUMS
    """
    if not (folder / SUBMISSION).is_file() or not (folder / SUMS).is_file():
        raise InputError(f"{folder} has no {SUBMISSION} and {SUMS}; give a folder that `qsched bench submit` wrote")
    places = open_folder(folder)
    checks = [Check("files are those of SHA256SUMS", tuple(_file_problems(folder, sums_sha256)))]
    name = "benchmark.json follows from benchmark.yaml and the prompts"
    checks.append(Check(name, tuple(_identity_problems(places))))
    stated = _stated_models(places)
    there = [model for model in places.benchmark.models if (places.images(model) / MANIFEST_NAME).is_file()]
    lacking = sorted(stated.keys() - {model.name for model in there})
    problems = [f"the pictures of {name} are not here" for name in lacking] if there else ["no model has pictures"]
    checks.append(Check(f"models of {SUBMISSION} are here", tuple(problems)))
    for model in there:
        checks.append(Check(f"{model.name}: pictures and arms", tuple(_picture_problems(places, model))))
        if places.benchmark.metrics or scores_are_here(places, model):
            checks.append(_score_check(places, model))
        for study in places.benchmark.studies_of(model):
            at = places.study(study, model)
            if at.votes is not None:
                checks.append(_study_check(places, model, study, at, runner))
    return tuple(checks)


def _file_problems(folder: Path, published: str | None) -> Iterator[str]:
    ours = sha256_of_file(folder / SUMS)
    if published is not None and published.strip().lower() != ours:
        yield f"{SUMS} has sha256 {ours}, published was {published}"
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


def _picture_problems(places: Places, model: ModelSpec) -> Iterator[str]:
    """The set keeps its contract, and is the one that the benchmark asks for."""
    images, benchmark = places.images(model), places.benchmark
    report = verify_set(images, decode=True)  # another lab says that our encoder made it
    for fault in report.findings[:_SHOWN]:
        yield f"{fault.where}: {fault.problem}"
    if len(report.findings) > _SHOWN:
        yield f"{len(report.findings) - _SHOWN} more"
    manifest = read_manifest(images)
    wanted = [places.arm_name(arm) for arm in benchmark.arms_of(model)]
    if [arm.name for arm in manifest.arms] != wanted:
        yield f"the arms are {', '.join(arm.name for arm in manifest.arms)}, and the benchmark has {', '.join(wanted)}"
    used = manifest.requests[-1].used_sha256 if manifest.requests else None
    if used != read_identity(places.folder).prompts_sha256:
        yield "the pictures are of other prompts"
    if (manifest.samples, manifest.set_seed) != (benchmark.samples, benchmark.seed):
        yield f"samples {manifest.samples}, seed {manifest.set_seed}: the benchmark asks for others"
    submitted = _stated_models(places).get(model.name)
    if not isinstance(submitted, dict) or submitted.get("weights") != manifest.provenance.get("backbone_weights"):
        yield f"{SUBMISSION} names other weights than the set"
    yield from _recipe_problems(manifest)


def _stated_models(places: Places) -> dict[str, Any]:
    """What submission.json says of each model; empty if it says nothing."""
    models = read_json(places.folder / SUBMISSION).get("models")
    return models if isinstance(models, dict) else {}


def _recipe_problems(manifest: Manifest) -> Iterator[str]:
    """Each arm's hash is that of its recipe, and the recipe is what the precision means."""
    for arm in manifest.arms:
        if arm.recipe_hash != hash_of(arm.recipe):
            yield f"{arm.name}: its recipe hash is not that of its recipe"
        try:
            known = find_recipe(arm.precision).to_dict()
        except QschedError:
            continue  # a precision with files of its own, which are not here
        if arm.recipe.get("precision") != known:
            yield f"{arm.name}: its recipe is not what {arm.precision} means in this version of qsched"


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


def _study_check(places: Places, model: ModelSpec, study: StudySpec, at: StudyPlaces, runner: Runner) -> Check:
    name = f"{model.name}: votes of {study.name}"
    if not (at.evidence / MANIFEST_NAME).is_file():
        return Check(name, (), ("there is no evidence beside the votes: nobody can tell whether they were changed",))
    problems: list[str] = []
    notes: list[str] = []
    code = runner(("audit", str(at.evidence)))
    if code == EXIT_NOTHING_SHOWN:
        notes.append("the evidence agrees with itself; it was not compared with anything published in time")
    elif code != 0:
        problems.append(f"`qsched audit {at.evidence}` found a problem (exit code {code})")
    votes = at.votes
    table = at.evidence / at.votes_to_be.name
    if votes is None or not table.is_file() or votes.read_bytes() != table.read_bytes():
        problems.append(f"{at.votes_to_be.name} is not the table of the evidence")
    problems += _pair_problems(places, model, at)
    if study.is_fidelity:
        notes.append("the certificate was not made again; `qsched certify` makes it from the checked votes")
    else:
        problems += _report_problems(at)
    return Check(name, tuple(problems), tuple(notes))


def _pair_problems(places: Places, model: ModelSpec, at: StudyPlaces) -> Iterator[str]:
    """The pictures that people judged are those of the set."""
    pictures = {(row.arm, row.prompt_id, row.sample_index): row.sha256 for row in iter_rows(places.images(model))}
    arms = {arm for arm, _, _ in pictures}
    lines = read_utf8(at.evidence / "pairs.jsonl", max_bytes=1024 * 1024 * 1024).splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            pair = json.loads(line)
            for side in ("first", "second"):
                place = pair[f"{side}_arm"], pair["prompt_id"], pair["sample_index"]
                # A trap that the server made is no arm of the set.
                if place[0] in arms and pictures.get(place) != pair[f"{side}_sha256"]:
                    yield f"pair {pair['pair_id']}: its picture of {place[0]} is not in the image set"
                    return
        except (ValueError, KeyError, TypeError):
            yield f"evidence/pairs.jsonl:{number}: not a pair of an evidence: {line!r:.80}"
            return


def _report_problems(at: StudyPlaces) -> Iterator[str]:
    """The results that the leaderboard shows are those of the report that the audit made again."""
    ours, theirs = at.report / "winrates.json", at.evidence / "report" / "winrates.json"
    if not ours.is_file():
        return
    if not theirs.is_file():
        yield "the evidence has no report, so the results cannot be checked"
        return
    shown, made = read_json(ours), read_json(theirs)
    differ = list(differences(*({name: one.get(name) for name in _RESULTS} for one in (shown, made))))
    lacking = [name for name in _RESULTS if name not in shown]
    if differ or lacking:
        names = ", ".join(dict.fromkeys(place.partition(".")[0] for place in (*lacking, *differ)))
        yield f"{names} of report/winrates.json are not what the preregistered plan makes"

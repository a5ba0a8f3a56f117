"""Check the studies of a submission: design, votes, results and certificates are those that the evidence gives.

Win rates and certificates are made again from the votes of the evidence, in a folder of their own, and compared with
those that the leaderboard shows.
"""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import SystemRandom
from typing import Any

import yaml
from pydantic import ValidationError

from qsched.bench.places import Places, StudyPlaces, file_name
from qsched.bench.results import read_json
from qsched.bench.run import Runner
from qsched.bench.spec import ModelSpec, StudySpec
from qsched.bench.steps import EXIT_NOTHING_SHOWN, certify_command, winrates_plan
from qsched.bench.study_file import clause_arms, study_values
from qsched.bench.submit import SUBMISSION, study_hashes
from qsched.bench.verify_pictures import stated_models
from qsched.bench.verify_scores import MOST_AGAIN
from qsched.command_line import counted
from qsched.errors import InputError, MissingExtraError, QschedError
from qsched.records import ImageRow, iter_rows
from qsched.records.image_set import MANIFEST_NAME
from qsched.records.registration import Clauses, Registration, TrapPlan
from qsched.records.same_values import differences
from qsched.records.yaml_file import read_utf8, read_yaml

#: Results that must follow from the votes, not how they were asked for (paths, versions, the command).
RESULTS = (
    *("n_votes", "n_annotators", "n_prompts", "simulated", "n_simulated"),
    *("strengths", "pairwise", "strata", "excluded", "claims"),
)
PAGE, DOCUMENT = "certificate.html", "certificate.json"
_MAX_BYTES = 1024 * 1024 * 1024


@dataclass(frozen=True)
class StudyRules:
    """What only the study server's code knows of a study; this package may not import it, so the command line gives it.

    design_problems    (values of a study.yaml, a stored design) -> differences after which votes mean something else
    difference         (picture of the reference, picture of an arm) -> mean and spot of their difference map
    """

    design_problems: Callable[[dict[str, Any], str], list[str]]
    difference: Callable[[Path, Path], tuple[float, float]]


@dataclass(frozen=True)
class StudyChecked:
    """What is wrong with a study, and what could not be checked; each is a sentence."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]


def check_study(
    places: Places, model: ModelSpec, study: StudySpec, *, runner: Runner, rules: StudyRules
) -> StudyChecked:
    """Every check of one study of one model that has votes."""
    at = places.study(study, model)
    problems: list[str] = []
    notes: list[str] = []
    try:
        if (at.evidence / MANIFEST_NAME).is_file():
            for problem in _evidence_problems(places, model, study, runner=runner, rules=rules, notes=notes):
                problems.append(problem)
        else:
            notes.append("there is no evidence beside the votes: nobody can tell whether they were changed")
        if study.is_fidelity:
            problems += certificate_problems(places, model, study, runner=runner)
        else:
            problems += report_problems(at, winrates_plan(places, model), runner)
    except MissingExtraError as error:
        notes.append(f"not everything was checked: {error}")
    except QschedError as error:
        problems.append(str(error))
    return StudyChecked(tuple(problems), tuple(notes))


def _evidence_problems(
    places: Places, model: ModelSpec, study: StudySpec, *, runner: Runner, rules: StudyRules, notes: list[str]
) -> Iterator[str]:
    """What the evidence says of votes, pictures, design, plan and clauses; adds to `notes`."""
    at = places.study(study, model)
    code = runner(("audit", str(at.evidence)))
    if code == EXIT_NOTHING_SHOWN:
        notes.append("the evidence agrees with itself; it was not compared with anything published in time")
    elif code != 0:
        yield f"`qsched audit {at.evidence}` found a problem (exit code {code})"
    yield from _table_problems(at)
    yield from _hash_problems(places, model, study, at)
    yield from pair_problems(places, model, at)
    stored = _stored_design(at)
    design = json.loads(stored)
    if study.is_fidelity:
        for arm in clause_arms(places, study, model):
            yield from registration_problems(at, arm, design)
        yield from content_problems(places, model, at, rules, design=design)
    else:
        yield from _plan_problems(at, winrates_plan(places, model))
    yield from rules.design_problems(study_values(places, study, model), stored)


def _votes(at: StudyPlaces) -> Path:
    """The table of the evidence, beside which the looks are, or without one the votes."""
    table = at.evidence / at.votes_to_be.name
    if not table.is_file() and at.votes is not None:
        return at.votes
    return table


def _table_problems(at: StudyPlaces) -> Iterator[str]:
    votes = at.votes
    table = at.evidence / at.votes_to_be.name
    if votes is None or not table.is_file() or votes.read_bytes() != table.read_bytes():
        yield f"{at.votes_to_be.name} is not the table of the evidence"


def _hash_problems(places: Places, model: ModelSpec, study: StudySpec, at: StudyPlaces) -> Iterator[str]:
    """The hashes of submission.json are those of the files: a lab may have published them."""
    stated = stated_models(places).get(model.name)
    studies = stated.get("studies") if isinstance(stated, dict) else None
    if not isinstance(studies, dict) or studies.get(study.name) != study_hashes(at, study):
        yield f"{SUBMISSION} states other hashes of this study than its files have"


def _stored_design(at: StudyPlaces) -> str:
    """The design that people voted by first; InputError if the evidence does not have it."""
    path = at.evidence / "designs.jsonl"
    try:
        first = json.loads(read_utf8(path, max_bytes=_MAX_BYTES).partition("\n")[0])
        design = first["design"]
        json.loads(design)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}:1: not a design of an evidence ({type(error).__name__}: {error})") from error
    return str(design)


def pair_problems(places: Places, model: ModelSpec, at: StudyPlaces) -> Iterator[str]:
    """The pictures that people judged are those of the set."""
    pictures = {(row.arm, row.prompt_id, row.sample_index): row.sha256 for row in iter_rows(places.images(model))}
    arms = {arm for arm, _, _ in pictures}
    lines = read_utf8(at.evidence / "pairs.jsonl", max_bytes=_MAX_BYTES).splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            pair = json.loads(line)
            # A set that people rank has a third and perhaps a fourth picture.
            for side in ("first", "second", *(side for side in ("third", "fourth") if f"{side}_arm" in pair)):
                place = pair[f"{side}_arm"], pair["prompt_id"], pair["sample_index"]
                # A trap that the server made is no arm of the set.
                if place[0] in arms and pictures.get(place) != pair[f"{side}_sha256"]:
                    yield f"pair {pair['pair_id']}: its picture of {place[0]} is not in the image set"
                    return
        except (ValueError, KeyError, TypeError):
            yield f"evidence/pairs.jsonl:{number}: not a pair of an evidence: {line!r:.80}"
            return


def _plan_problems(at: StudyPlaces, wanted: tuple[str, ...]) -> Iterator[str]:
    """A preregistered plan is the benchmark's: another one could have been chosen to show something else."""
    path = at.evidence / "preregistration.json"
    if not path.is_file():
        return
    plan = read_json(path).get("plan")
    if plan != list(wanted):
        yield f"the preregistered plan is {plan}, and the benchmark's is {list(wanted)}"


def report_problems(at: StudyPlaces, plan: tuple[str, ...], runner: Runner) -> Iterator[str]:
    """The win rates that the leaderboard shows are those that the benchmark's plan makes from the votes."""
    ours = at.report / "winrates.json"
    if not ours.is_file():
        yield f"there are votes, and no {at.report.name}/{ours.name}"
        return
    with tempfile.TemporaryDirectory(prefix="qsched-verify-") as folder:
        again = Path(folder) / "report"
        command = ("winrates", str(_votes(at)), "--out", str(again), *plan, "--formats", "svg")
        code = runner(command)
        if code not in (0, EXIT_NOTHING_SHOWN):
            yield f"the benchmark's plan makes no report of the votes (exit code {code})"
            return
        shown, made = read_json(ours), read_json(again / "winrates.json")
    differ = list(differences(*({name: one.get(name) for name in RESULTS} for one in (shown, made))))
    lacking = [name for name in RESULTS if name not in shown]
    if differ or lacking:
        names = ", ".join(dict.fromkeys(place.partition(".")[0] for place in (*lacking, *differ)))
        yield (
            f"{names} of report/winrates.json are not what the benchmark's plan makes of the votes"
            f"{_other_versions(shown, made)}"
        )


def _other_versions(shown: dict[str, Any], made: dict[str, Any]) -> str:
    """In which packages two documents differ: a later method or wording of qsched may be the reason."""
    stated, here = shown.get("versions"), made.get("versions")
    if not isinstance(here, dict):
        return ""
    if not isinstance(stated, dict):
        return f"; it does not say which version of qsched made it (here {here.get('qsched')}), so that may be why"
    words = [
        f"{name} {stated[name]} (here {here[name]})" for name in here if stated.get(name, here[name]) != here[name]
    ]
    return f"; it was made with {', '.join(words)}: verify with the same to see whether that is why" if words else ""


def certificate_problems(places: Places, model: ModelSpec, study: StudySpec, *, runner: Runner) -> Iterator[str]:
    """Each certificate is what `qsched certify` makes from the votes and the registration."""
    at, arms = places.study(study, model), clause_arms(places, study, model)
    folder = at.folder / "certificates"
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if surplus := sorted(there - {file_name(arm) for arm in arms}):
        yield f"certificates/{surplus[0]} is of no arm that the study has clauses of"
    for arm in arms:
        where = f"certificates/{file_name(arm)}"
        if not (at.certificate(arm) / DOCUMENT).is_file():
            yield f"there are votes, and no {where}/{DOCUMENT}"
            continue
        with tempfile.TemporaryDirectory(prefix="qsched-verify-") as made:
            code = runner(certify_command(places, study, model, arm, votes=_votes(at), out=Path(made)))
            if code not in (0, EXIT_NOTHING_SHOWN):
                yield f"no certificate of {arm} can be made from the votes (exit code {code})"
                continue
            yield from _compare_certificates(at.certificate(arm), Path(made), where)


def _compare_certificates(theirs: Path, ours: Path, where: str) -> Iterator[str]:
    shown, made = read_json(theirs / DOCUMENT), read_json(ours / DOCUMENT)
    page = (ours / PAGE).read_bytes()
    if not made["registration_sha256"]:  # its time is that of the command
        here, there = made["registration"]["registered_at"], _stated_time(shown)
        if there is None:
            yield f"{where}/{DOCUMENT} does not say when it was made"
            return
        made["registration"]["registered_at"] = there
        page = page.replace(here.encode(), there.encode())
    versions = _other_versions(shown, made)
    if changed := list(differences(*({**one, "versions": None} for one in (shown, made)))):
        yield (
            f"{where}/{DOCUMENT} is not what the votes make: {counted(len(changed), 'value')} changed, first "
            f"{changed[0]}{versions}"
        )
    elif not (theirs / PAGE).is_file():
        yield f"{where}/{PAGE} is missing"
    elif (theirs / PAGE).read_bytes() != page:
        yield f"{where}/{PAGE} does not say what {DOCUMENT} says{versions}"


def _stated_time(certificate: dict[str, Any]) -> str | None:
    """When a certificate says that it was registered; None if it states no time, which could be any words."""
    registration = certificate.get("registration")
    stated = registration.get("registered_at") if isinstance(registration, dict) else None
    if not isinstance(stated, str):
        return None
    try:
        datetime.fromisoformat(stated)
    except ValueError:
        return None
    return stated


def registration_problems(at: StudyPlaces, arm: str, design: dict[str, Any]) -> Iterator[str]:
    """The clauses are those of the design that the study began with."""
    path = at.registration(arm)
    if not path.is_file():
        return
    try:
        found = Registration.model_validate(read_yaml(path, max_bytes=1_000_000, missing="").values())
        section = design["fidelity"]
        clauses = next(Clauses.model_validate(one) for one in section["clauses"] if one["arm"] == arm)
        traps = TrapPlan(share=section["traps"]["share"], least=section["traps"]["least"])
    except (ValidationError, StopIteration, KeyError, TypeError, yaml.YAMLError) as error:
        yield f"registrations/{path.name}: no clauses of {arm} ({type(error).__name__})"
        return
    wanted = Registration(study=at.slug, registered_at=found.registered_at, traps=traps, **clauses.model_dump())
    if found != wanted:
        names = [name for name in Registration.model_fields if getattr(found, name) != getattr(wanted, name)]
        yield f"registrations/{path.name}: {', '.join(names)} differ from the design that people voted by"


def content_problems(
    places: Places, model: ModelSpec, at: StudyPlaces, rules: StudyRules, *, design: dict[str, Any]
) -> Iterator[str]:
    """content.csv says of each picture of an arm whether its content changed; some are measured again, by chance."""
    if not at.content.is_file():
        return
    reader = csv.DictReader(io.StringIO(read_utf8(at.content, max_bytes=_MAX_BYTES)))
    columns = list(reader.fieldnames or ())
    if len(set(columns)) < len(columns):  # `certify` would read the first one, and this function the last
        yield f"content.csv has a column twice: {', '.join(columns)}"
        return
    try:
        stated = {
            (row["arm"], row["prompt_id"], int(row["sample_index"])): (
                row["changed"].lower() == "true",
                float(row["flip_mean"]),
                float(row["flip_spot"]),
            )
            for row in reader
        }
        reference, limit = design["fidelity"]["reference"], float(design["fidelity"]["content_limit"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"content.csv is not what `qsched votes content` writes ({type(error).__name__}: {error})"
        return
    rows = {(row.arm, row.prompt_id, row.sample_index): row for row in iter_rows(places.images(model))}
    wanted = {key for key in rows if key[0] != reference and key[0] in {arm for arm, _, _ in stated}}
    if stated.keys() != wanted:
        yield f"content.csv and the pictures differ, first in {min(stated.keys() ^ wanted)}"
        return
    if wrong := sorted(key for key, (changed, *found) in stated.items() if not _follows(changed, found, limit)):
        yield f"content.csv: {wrong[0]} is called changed or not against its own value and the limit of {limit:g}"
        return
    if lacking := sorted(key for key in wanted if (reference, *key[1:]) not in rows):
        yield f"content.csv: {lacking[0]} has no picture of the reference beside it"
        return
    # At random, so that no submitter can tell which.
    for key in SystemRandom().sample(sorted(wanted), min(MOST_AGAIN, len(wanted))):
        try:
            again = rules.difference(*(_picture(places, model, rows[one]) for one in ((reference, *key[1:]), key)))
        except OSError as error:
            yield f"content.csv: the picture of {key} cannot be read: {error.strerror or error}"
            return
        if list(differences(list(stated[key][1:]), list(again))):
            yield f"content.csv: the difference of {key} is {again[1]:g}, and not {stated[key][2]:g}"
            return


def _follows(changed: bool, found: list[float], limit: float) -> bool:
    """Whether a picture is called changed as its mean and spot say; no words follow from numbers that are none."""
    return all(map(math.isfinite, found)) and changed == (found[1] > limit)


def _picture(places: Places, model: ModelSpec, row: ImageRow) -> Path:
    return places.images(model) / row.file_name

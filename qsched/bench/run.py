"""Make a benchmark in a folder, step by step; a run that was stopped at any point goes on when it is started again."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsched.bench.checks import check_names
from qsched.bench.identity import Identity, begin_folder
from qsched.bench.local_server import free_port, local_server
from qsched.bench.places import Places, StudyPlaces, check_folder_name
from qsched.bench.spec import ModelSpec, StudySpec, read_benchmark
from qsched.bench.steps import (
    EXIT_NOTHING_SHOWN,
    Command,
    ModelStep,
    Options,
    picture_steps,
    report_step,
    shown,
    winrates_plan,
)
from qsched.bench.study_file import clause_arms, needs_preference, preference_studies, study_text
from qsched.errors import InputError, QschedError
from qsched.files import write_atomic
from qsched.generation.executors import find_executor
from qsched.generation.shard import parse_shard
from qsched.records import read_manifest

#: Runs a `qsched` command and returns its exit code.
Runner = Callable[[Command], int]


@dataclass(frozen=True)
class OwnDatabase:
    """Where studies of people are, and what it says of one: (open, paused or closed; the set_id of its image set), or
    None if it is not there."""

    url: str
    state_of: Callable[[str], tuple[str, str] | None]


class StepError(QschedError):
    """A command of a benchmark failed; what it printed says why."""


@dataclass(frozen=True)
class Waiting:
    """A study whose votes are not here yet, and the sentence that says what to do."""

    study: str
    model: str
    words: str


@dataclass(frozen=True)
class RunDone:
    """What a run did: steps carried out and found done, and studies that wait for votes."""

    identity: Identity
    carried_out: int
    found_done: int
    waiting: tuple[Waiting, ...]


@dataclass
class _Run:
    places: Places
    runner: Runner
    say: Callable[[str], None]
    database: OwnDatabase | None
    carried_out: int = 0
    found_done: int = 0

    def step(self, step: ModelStep) -> None:
        """Carry a step out unless its files are there."""
        if step.is_done():
            self.found_done += 1
            return
        self.say(f"== {step.name}")
        for command in step.commands:
            self.command(command)
        self.carried_out += 1

    def command(self, command: Command) -> None:
        """Run one command; StepError if it fails."""
        self.say(f"$ {shown(command)}")
        allowed = (0, EXIT_NOTHING_SHOWN) if command[0] in ("winrates", "certify") else (0,)
        code = self.runner(command)
        if code not in allowed:
            raise StepError(f"this command ended with exit code {code}: {shown(command)}")


def run_benchmark(
    file: Path,
    folder: Path,
    *,
    runner: Runner,
    options: Options | None = None,
    models: Sequence[str] = (),
    database: OwnDatabase | None = None,
    say: Callable[[str], None] = print,
) -> RunDone:
    """Make what is missing of the benchmark `file` in `folder`.

    models      only these; all if empty
    database    where studies of people are: they are created there, and their votes taken out once they are closed

    Raises InputError before anything is made for a file that is wrong or of another benchmark, StepError if a command
    fails; then the same call goes on.
    """
    options = options or Options()
    check_folder_name(folder)
    places = Places(folder, read_benchmark(file))
    chosen = _chosen(places, models)
    check_names(places.benchmark)
    _check_options(options)
    identity = begin_folder(places, source=file)
    run = _Run(places, runner, say, database)
    waiting: list[Waiting] = []
    for model in chosen:
        for step in picture_steps(places, model, options):
            run.step(step)
        if options.shard is None and not options.coefficients_only:
            for study in places.benchmark.studies_of(model):
                waiting += _study(run, study, model)
    return RunDone(identity, run.carried_out, run.found_done, tuple(waiting))


def _chosen(places: Places, models: Sequence[str]) -> tuple[ModelSpec, ...]:
    known = {model.name: model for model in places.benchmark.models}
    for name in models:
        if name not in known:
            raise InputError(f"--model {name}: the models are {', '.join(known)}")
    return tuple(model for model in places.benchmark.models if not models or model.name in models)


def _check_options(options: Options) -> None:
    """What generate-pairs would say after the coefficients are found."""
    find_executor(options.executor or "local", workers=options.workers)
    if options.shard is not None:
        parse_shard(options.shard, os.environ)


def _study(run: _Run, study: StudySpec, model: ModelSpec) -> list[Waiting]:
    """study.yaml, votes as far as they can be had, and the report on them."""
    at = run.places.study(study, model)
    text = study_text(run.places, study, model)
    if not at.study_yaml.is_file() or at.study_yaml.read_text("utf-8") != text:
        if at.votes is not None:
            raise InputError(f"{at.study_yaml} is not the study that its votes are of; restore it, or move the votes")
        write_atomic(at.study_yaml, text.encode(), parents=True)
    if at.votes is None and at.simulated:
        _simulate(run, study, model, at)
    elif at.votes is None and run.database is not None:
        _collect(run, run.database, model, at)
    if at.votes is None:
        return [Waiting(study.name, model.name, _next_words(run, model, at))]
    if needs_preference(run.places, study, model):
        others = [one for one in preference_studies(run.places, model) if run.places.study(one, model).votes is None]
        if others:
            words = f"its preference clause needs the votes of {others[0].name}, which are not here yet"
            return [Waiting(study.name, model.name, words)]
    run.step(report_step(run.places, study, model))
    return []


def _next_words(run: _Run, model: ModelSpec, at: StudyPlaces) -> str:
    """What to do for the votes of a study of people."""
    plan = () if at.is_fidelity else ("--plan", shlex.join(winrates_plan(run.places, model)))
    fix = shown(("study", "preregister", at.slug, *plan, "--out", str(at.preregistration)))
    if run.database is not None:
        return (
            f"study {at.slug} is in the database; `{fix}` before the first vote, then `qsched serve`, both with "
            f"the same --db. When it has its votes, `qsched study close {at.slug}` and run this command again"
        )
    return (
        f"`qsched study check {at.study_yaml}`, create it (`qsched study create`, or --db here), `{fix}`, and let "
        f"people vote; put their votes at {at.votes_to_be} and run this command again"
    )


def _simulate(run: _Run, study: StudySpec, model: ModelSpec, at: StudyPlaces) -> None:
    """Let software vote through a server; the votes file comes last, so that a stopped run begins this study again."""
    run.say(f"== {model.name}: simulated votes of {study.name}")
    for leftover in at.folder.glob(f"{at.database.name}*"):
        leftover.unlink()
    for folder in (at.evidence, at.database.with_name(f"{at.database.stem}-images")):
        shutil.rmtree(folder, ignore_errors=True)
    db = ("--db", f"sqlite:///{at.database.resolve()}")
    url = f"http://127.0.0.1:{(port := free_port())}"
    serve = ("serve", str(at.study_yaml), *db, "--port", str(port), "--simulated-annotators")
    with local_server(serve, url=url, log=at.folder / "server.log"):
        _preregister(run, study, model, at, db)
        simulation = study.simulation
        who = ("--annotators", str(simulation.annotators), "--votes-each", str(simulation.votes_each))
        seed = ("--seed", str(simulation.seed), "--parameters-out", str(at.simulation))
        run.command(("simulate", url, "--study", at.slug, *who, *seed))
    run.command(("study", "close", at.slug, *db))
    _take_out(run, at, db)


def _preregister(run: _Run, study: StudySpec, model: ModelSpec, at: StudyPlaces, db: Command) -> None:
    """Fix the analysis, and the clauses of each arm, before the first vote."""
    plan = () if at.is_fidelity else ("--plan", shlex.join(winrates_plan(run.places, model)))
    run.command(("study", "preregister", at.slug, *plan, "--out", str(at.preregistration), *db))
    for arm in clause_arms(run.places, study, model):
        at.registration(arm).unlink(missing_ok=True)
        run.command(("study", "register", at.slug, "--arm", arm, "--out", str(at.registration(arm)), *db))


def _collect(run: _Run, database: OwnDatabase, model: ModelSpec, at: StudyPlaces) -> None:
    """Create a study of people, or take its votes out once it is closed; InputError for a study of other pictures."""
    db = ("--db", database.url)
    state = database.state_of(at.slug)
    if state is None:
        run.command(("study", "create", str(at.study_yaml), *db))
        run.carried_out += 1
        return
    status, set_id = state
    ours = read_manifest(run.places.images(model)).set_id
    if set_id != ours:
        raise InputError(
            f"the study {at.slug} of the database shows the image set {set_id}, not {ours} (an earlier version of this "
            "benchmark?); give this benchmark another name or --db"
        )
    if status == "closed":
        shutil.rmtree(at.evidence, ignore_errors=True)  # of a run that was stopped before the votes were there
        _take_out(run, at, db)


def _take_out(run: _Run, at: StudyPlaces, db: Command) -> None:
    """Evidence, changed content, votes; the votes file comes last."""
    run.command(("study", "evidence", at.slug, "--out", str(at.evidence), *db))
    if at.is_fidelity:
        run.command(("votes", "content", "--study", at.slug, *db, str(at.content)))
    run.command(("votes", "export", "--study", at.slug, *db, str(at.votes_to_be)))
    run.carried_out += 1

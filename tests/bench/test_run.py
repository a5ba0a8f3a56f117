"""`qsched bench run`: which commands it runs, what it takes for done, and what it refuses."""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from qsched.backbones.find import find_spec
from qsched.backbones.identity import identity_of
from qsched.bench.identity import spec_hash
from qsched.bench.run import OwnDatabase, StepError, run_benchmark
from qsched.bench.spec import ReportSpec, read_benchmark
from qsched.bench.steps import Options
from qsched.cli.bench_runner import run_here
from qsched.errors import InputError
from qsched.generation.arms import parse_arms
from qsched.records import read_manifest
from tests.bench.test_spec import WHOLE
from tests.conftest import write_image_set

PEOPLE = WHOLE.replace("    votes: simulated\n    simulation: {annotators: 4}\n", "")
NAMES = ("fp32", "w3a8", "w3a8+qsched:calibrated")


class Commands:
    """A runner that makes small files of the kind that each command would make."""

    def __init__(self, *, failing: str = "") -> None:
        self.ran: list[tuple[str, ...]] = []
        self.failing = failing

    def __call__(self, command: tuple[str, ...]) -> int:
        self.ran.append(command)
        if command[0] == self.failing:
            return 2
        if command[0] == "calibrate":
            out = Path(command[command.index("--out") + 1])
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text("{}")
        elif command[0] == "generate-pairs" and "--shard" not in command:
            write_image_set(Path(command[command.index("--out") + 1]), prompts=4, arms=NAMES)
        return 0

    @property
    def names(self) -> list[str]:
        return [command[0] for command in self.ran]


def begin(folder: Path, text: str = PEOPLE) -> Path:
    path = folder / "benchmark.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def run(file: Path, runner: Commands, **more):
    return run_benchmark(file, file.parent / "out", runner=runner, say=lambda _: None, **more)


def test_a_run_that_failed_goes_on_where_it_stopped(tmp_path: Path) -> None:
    file = begin(tmp_path)
    first = Commands(failing="generate-pairs")
    with pytest.raises(StepError, match="ended with exit code 2: qsched generate-pairs"):
        run(file, first)
    assert first.names == ["calibrate", "generate-pairs"]
    second = Commands()
    done = run(file, second)
    # The first model's coefficients are there; both models' studies wait for people.
    assert second.names == ["generate-pairs", "calibrate", "generate-pairs"]
    assert (done.carried_out, done.found_done, len(done.waiting)) == (3, 1, 2)
    third = Commands()
    assert run(file, third).carried_out == 0 and third.ran == []


def test_commands_have_what_the_file_and_the_options_say(tmp_path: Path) -> None:
    ran = Commands()
    run(begin(tmp_path), ran, options=Options(executor="ray", workers=3, device="cuda"), models=["flux"])
    calibrate, generate = ran.ran
    out = tmp_path / "out"
    arms = f"fp32,w3a8,w3a8+qsched:{out}/models/flux/coefficients/w3a8/calibrated.json"
    for pair in (("--backbone", "tiny-flux"), ("--arms", arms), ("--steps", "2"), ("--executor", "ray")):
        assert pair in pairwise(generate)
    assert generate[-2:] == ("--device", "cuda") and calibrate[-2:] == ("--device", "cuda")
    study = (out / "studies" / "preference" / "flux" / "study.yaml").read_text()
    assert "slug: small-preference-flux" in study and "images: ../../../models/flux/images" in study


def test_a_shard_makes_its_pictures_only_and_the_next_run_merges(tmp_path: Path) -> None:
    file, ran = begin(tmp_path), Commands()
    with pytest.raises(InputError, match="its shards need the coefficients of w3a8 first"):
        run(file, ran, options=Options(shard="1/2"), models=["tiny-sdxl"])
    run(file, ran, options=Options(coefficients_only=True), models=["tiny-sdxl"])
    run(file, ran, options=Options(shard="1/2"), models=["tiny-sdxl"])
    assert ran.names == ["calibrate", "generate-pairs"] and ("--shard", "1/2") in pairwise(ran.ran[1])
    (tmp_path / "out" / "models" / "tiny-sdxl" / "images" / "shards").mkdir(parents=True)
    after = Commands()
    run(file, after, models=["tiny-sdxl"])
    assert after.names == ["merge"]


def test_a_folder_of_another_benchmark_is_refused(tmp_path: Path) -> None:
    file = begin(tmp_path)
    run(file, Commands(), models=["flux"])
    begin(tmp_path, PEOPLE.replace("title: Small", "title: Smaller"))
    with pytest.raises(InputError, match=r"begun from another benchmark\.yaml"):
        run(file, Commands())
    with pytest.raises(InputError, match="--model x: the models are tiny-sdxl, flux"):
        run(file, Commands(), models=["x"])


def test_prompts_that_changed_in_the_folder_are_refused(tmp_path: Path) -> None:
    file = begin(tmp_path)
    run(file, Commands(), models=["flux"])
    prompts = tmp_path / "out" / "prompts.json"
    prompts.write_text(prompts.read_text().replace('"prompt": "', '"prompt": "not ', 1))
    again = Commands()
    with pytest.raises(InputError, match="are not those that it was begun with"):
        run(file, again)
    assert again.ran == [], "pictures of the earlier prompts are not taken for theirs"


def test_pictures_of_other_weights_are_not_taken_for_done(tmp_path: Path) -> None:
    """generate-pairs then says that the set is of another model; the same pictures would pass for the new one's."""
    file = begin(tmp_path)
    run(file, Commands(), models=["flux"])
    path = tmp_path / "out" / "models" / "flux" / "images" / "manifest.json"
    values = json.loads(path.read_text())
    refusing = Commands(failing="generate-pairs")
    values["provenance"]["backbone_weights"] = identity_of(find_spec("tiny-flux"))
    path.write_text(json.dumps(values))
    run(file, refusing, models=["flux"])
    values["provenance"]["backbone_weights"] = "f" * 64
    path.write_text(json.dumps(values))
    with pytest.raises(StepError):
        run(file, refusing, models=["flux"])
    assert refusing.names == ["generate-pairs"]


def test_pictures_of_other_coefficients_are_not_taken_for_done(tmp_path: Path) -> None:
    """The arm is named after the file, so the name says nothing of what is in it; generate-pairs refuses the set."""
    file = begin(tmp_path)
    run(file, Commands(), models=["flux"])
    folder = tmp_path / "out" / "models" / "flux"
    coefficients, path = folder / "coefficients" / "w3a8" / "calibrated.json", folder / "images" / "manifest.json"
    coefficients.write_text('{"family": "constant", "model": 0.9, "sample": 1.0}')
    values = json.loads(path.read_text())
    (arm,) = parse_arms(
        f"w3a8+qsched:{coefficients}", find_spec("tiny-flux"), steps=2, dtype=None, default_dtype="fp32"
    )
    values["steps"], values["arms"][2] = 2, {**arm.record().model_dump(mode="json")}
    path.write_text(json.dumps(values))
    refusing = Commands(failing="generate-pairs")
    run(file, refusing, models=["flux"])
    assert refusing.ran == []
    coefficients.write_text('{"family": "constant", "model": 0.8, "sample": 1.0}')
    with pytest.raises(StepError):
        run(file, refusing, models=["flux"])
    assert refusing.names == ["generate-pairs"]


def test_the_folder_keeps_the_file_as_it_was_last_given(tmp_path: Path) -> None:
    """Where files are is no part of the benchmark; pages read the folder's own copy."""
    file = begin(tmp_path)
    run(file, Commands(), models=["flux"])
    begin(tmp_path, PEOPLE.replace("title: Small\n", "title: Small\ndescription: In other words.\n"))
    run(file, Commands(), models=["flux"])
    assert "In other words" in (tmp_path / "out" / "benchmark.yaml").read_text()


def test_software_votes_only_where_the_file_says_so_and_only_on_tiny_models(tmp_path: Path) -> None:
    ran = Commands()
    run(begin(tmp_path), ran)
    assert not {"simulate", "serve"} & set(ran.names)
    text = WHOLE.replace("backbone: tiny-flux", "backbone: flux-schnell")
    with pytest.raises(InputError, match="simulated people judge the pictures of tiny-flux and tiny-sdxl only"):
        run(begin(tmp_path, text), Commands())


def test_studies_of_people_are_created_and_their_votes_taken_out_once_closed(tmp_path: Path) -> None:
    file = begin(tmp_path, PEOPLE.replace("  - {name: flux, backbone: tiny-flux, steps: 2}\n", ""))
    state: dict[str, tuple[str, str]] = {}
    database = OwnDatabase("sqlite:///x.db", state.get)
    first = Commands()
    waiting = run(file, first, database=database).waiting
    assert first.ran[-1][:2] == ("study", "create") and "close small-preference-tiny-sdxl" in waiting[0].words
    set_id = read_manifest(tmp_path / "out" / "models" / "tiny-sdxl" / "images").set_id
    assert "qsched study preregister small-preference-tiny-sdxl --plan '--baseline fp32 " in waiting[0].words
    state["small-preference-tiny-sdxl"] = ("open", set_id)
    opened = Commands()
    run(file, opened, database=database)
    assert opened.ran == []
    state["small-preference-tiny-sdxl"] = ("closed", "of-version-1")
    other = Commands()
    with pytest.raises(InputError, match=f"shows the image set of-version-1, not {set_id}"):
        run(file, other, database=database)
    assert other.ran == [], "votes on other pictures are not taken for votes on these"
    state["small-preference-tiny-sdxl"] = ("closed", set_id)
    closed = Commands()
    run(file, closed, database=database)
    assert [command[:2] for command in closed.ran] == [("study", "evidence"), ("votes", "export")]


def test_votes_with_an_old_date_are_counted_anew(tmp_path: Path) -> None:
    """`cp -p` keeps the date of the file; the report on the votes that it replaced does not follow from it."""
    file = begin(tmp_path)
    run(file, Commands(), models=["flux"])
    folder = tmp_path / "out" / "studies" / "preference" / "flux"
    (folder / "votes.csv").write_text("first")
    (folder / "report").mkdir()
    (folder / "report" / "winrates.json").write_text("{}")
    done = Commands()
    run(file, done, models=["flux"])
    assert done.ran == []
    time.sleep(0.05)
    (folder / "votes.csv").write_text("corrected")
    os.utime(folder / "votes.csv", (0, 0))
    again = Commands()
    run(file, again, models=["flux"])
    assert again.names == ["winrates"]


def test_a_design_that_changed_after_the_votes_is_refused(tmp_path: Path) -> None:
    file = begin(tmp_path)
    run(file, Commands(), models=["flux"])
    folder = tmp_path / "out" / "studies" / "preference" / "flux"
    (folder / "votes.csv").write_text("x")
    (folder / "study.yaml").write_text("slug: other\n")
    with pytest.raises(InputError, match="is not the study that its votes are of"):
        run(file, Commands(), models=["flux"])


def test_the_hash_knows_what_is_asked_for_and_not_where_files_are(tmp_path: Path) -> None:
    def hash_with(old: str = "", new: str = "") -> str:
        return spec_hash(read_benchmark(begin(tmp_path, WHOLE.replace(old, new) if old else WHOLE)))

    whole = hash_with()
    for old, new in (("file: demo", "file: other/demo.yaml"), ("backbone: tiny-flux", "backbone: /data/flux")):
        assert hash_with(old, new) == whole
    for old, new in (("limit: 4", "limit: 5"), ("steps: 2", "steps: 3"), ("votes_per_pair: 2", "votes_per_pair: 3")):
        assert hash_with(old, new) != whole


def test_categories_are_asked_for_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="by is category, and prompt single-001 has none"):
        run(begin(tmp_path, PEOPLE + "report: {by: category}\n"), Commands())
    assert not (tmp_path / "out" / "benchmark.json").exists()


@pytest.mark.parametrize(
    ("options", "text", "message"),
    [
        (Options(executor="slurm"), PEOPLE, "executor 'slurm' is unknown; choose local, ray"),
        (Options(workers=2), PEOPLE, "only --executor ray has workers"),
        (Options(shard="3"), PEOPLE, "shard '3': write INDEX/COUNT"),
        (
            Options(),
            PEOPLE.replace("title: Small", "title: Small\nmetrics: [clipscor]"),
            "metric 'clipscor' is unknown",
        ),
    ],
)
def test_nothing_is_made_before_names_and_options_are_checked(tmp_path, options, text, message) -> None:
    ran = Commands()
    with pytest.raises(InputError, match=message):
        run(begin(tmp_path, text), ran, options=options)
    assert ran.ran == [] and not (tmp_path / "out").exists()


def test_a_machine_without_torch_goes_on_with_what_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures come from one with a GPU; the study's own has the server and the analysis."""
    for name in ("torch", "qsched.scoring.objectives", "qsched.scoring.registry"):
        monkeypatch.setitem(sys.modules, name, None)
    ran = Commands()
    assert run(begin(tmp_path, PEOPLE.replace("title: Small", "title: Small\nmetrics: [psnr]")), ran).waiting
    assert "score" in ran.names


def test_a_value_that_a_command_refuses_is_its_exit_code(capfd: pytest.CaptureFixture[str]) -> None:
    """Newer versions of typer have a class of errors of their own; theirs ended a run with a traceback."""
    assert run_here(("winrates", "no-votes.csv", "--out", "r", "--resamples", "20")) == 2
    assert "resamples" in capfd.readouterr().err


def test_a_report_has_the_limits_of_winrates() -> None:
    import annotated_types

    from analysis import options

    for name, option in (
        ("confidence", options.Confidence),
        ("resamples", options.Resamples),
        ("seed", options.Seed),
        ("equivalence_margin", options.EquivalenceMargin),
    ):
        (info,) = option.__metadata__
        rules = ReportSpec.model_fields[name].metadata
        least = next((one.ge for one in rules if isinstance(one, annotated_types.Ge)), None)
        most = next((one.le for one in rules if isinstance(one, annotated_types.Le)), None)
        assert (least, most) == (info.min, info.max), name


def test_a_preference_clause_waits_for_the_votes_that_it_counts(tmp_path: Path) -> None:
    """Without them `certify` refused, once the votes of both studies had been paid."""
    clause = "{arm: w3a8, preference: {margin: 0.1}}"
    text = PEOPLE + (
        "  - name: fidelity\n    models: [tiny-sdxl]\n    study:\n      title: Which differs more?\n"
        f"      design: fidelity\n      fidelity: {{reference: fp32, clauses: [{clause}]}}\n"
    )
    file, ran = begin(tmp_path, text), Commands()
    run(file, ran, models=["tiny-sdxl"])
    studies = tmp_path / "out" / "studies"
    (studies / "fidelity" / "tiny-sdxl" / "triplets.csv").write_text("votes")
    registration = studies / "fidelity" / "tiny-sdxl" / "registrations" / "w3a8.yaml"
    registration.parent.mkdir()
    registration.write_text("study: x\n")
    waiting = run(file, ran, models=["tiny-sdxl"]).waiting
    assert [one.study for one in waiting] == ["preference", "fidelity"]
    assert waiting[1].words == "its preference clause needs the votes of preference, which are not here yet"
    votes = studies / "preference" / "tiny-sdxl" / "votes.csv"
    votes.write_text("votes")
    assert run(file, ran, models=["tiny-sdxl"]).waiting == ()
    assert ran.ran[-1][0] == "certify" and ("--preference", str(votes)) in pairwise(ran.ran[-1])
    alone = begin(tmp_path, text.replace("  - name: preference\n    study: {title: Better?, votes_per_pair: 2}\n", ""))
    with pytest.raises(InputError, match="study fidelity has a preference clause, and tiny-sdxl has no preference"):
        run_benchmark(alone, tmp_path / "other", runner=ran, say=lambda _: None)

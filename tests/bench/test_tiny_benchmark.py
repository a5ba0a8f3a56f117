"""The example on the tiny models, whole: killed and gone on with, reported, submitted, verified, merged.

One run serves all tests; simulated people vote, and everything says so.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qsched.bench.compare import compare_folders
from qsched.bench.local_server import QSCHED
from qsched.bench.merge import merge_submission
from qsched.bench.results import read_results
from qsched.bench.submit import SUMS, hashes_of, submit
from qsched.bench.verify import file_problems, verify_submission
from qsched.cli.bench_studies import study_rules
from qsched.cli.main import app
from qsched.errors import InputError
from qsched.generation.verify import verify_set
from tests.bench.test_spec import SPECS

pytestmark = pytest.mark.slow
FILE = SPECS / "tiny.yaml"


class Again:
    """Stands for the commands of `bench verify`, which one test runs: it gives what the benchmark's folder has."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __call__(self, command: tuple[str, ...]) -> int:
        if command[0] == "audit":
            return 3  # the evidence agrees with itself
        out = Path(command[command.index("--out") + 1])
        study = self.made.joinpath(*Path(command[1]).parts[-5:-2])
        arm = Path(command[command.index("--registration") + 1]).stem if command[0] == "certify" else ""
        shutil.copytree(study / ("certificates" if arm else "report") / arm, out, dirs_exist_ok=True)
        return 0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The benchmark's folder: the first run is killed while it makes pictures, the second one ends."""
    folder = tmp_path_factory.mktemp("bench") / "tiny"
    command = [*QSCHED, "bench", "run", str(FILE), "--out", str(folder)]
    with (folder.parent / "killed.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as running:
        rows = folder / "models" / "tiny-sdxl" / "images" / "images.jsonl"
        deadline = time.monotonic() + 900
        while not (rows.is_file() and rows.stat().st_size) and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL, (folder.parent / "killed.log").read_text()
    done = CliRunner().invoke(app, ["bench", "run", str(FILE), "--out", str(folder)])
    assert done.exit_code == 0, done.output
    assert "simulated votes" in done.output
    return folder


@pytest.fixture(scope="module")
def submission(made: Path) -> Path:
    out = made.parent / "submission"
    submit(made, out)
    return out


def forge(folder: Path) -> None:
    """Write SHA256SUMS anew, as whoever changed a file would."""
    sums = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes_of(folder)))
    (folder / SUMS).write_text(sums)


def problems(folder: Path, made: Path) -> list[str]:
    checks = verify_submission(folder, runner=Again(made), rules=study_rules())
    return [problem for check in checks for problem in check.problems]


def test_a_killed_run_ends_as_a_whole_set_and_nothing_is_made_twice(made: Path) -> None:
    for model in ("tiny-sdxl", "tiny-flux"):
        assert verify_set(made / "models" / model / "images").ok
    again = CliRunner().invoke(app, ["bench", "run", str(FILE), "--out", str(made)])
    assert again.exit_code == 0 and "0 steps carried out" in again.output


def test_the_leaderboard_shows_every_arm_with_votes_sizes_and_a_certificate(made: Path) -> None:
    found = read_results(made)
    assert found.simulated_votes and not any(model.missing for model in found.models)
    for model in found.models:
        base, *others = model.arms
        assert base.nfe == 4 and base.size_bytes is not None and base.seconds is not None
        for arm in others:
            assert arm.size_bytes is not None and arm.size_bytes < base.size_bytes
            assert arm.preferences[0].votes > 0 and set(arm.preferences[0].by_category) == {"single", "texture"}
    (clause,) = found.models[0].arms[2].clauses
    assert clause.status == "registered" and clause.simulated
    shown = CliRunner().invoke(app, ["bench", "report", str(made)])
    assert shown.exit_code == 0 and "Simulated votes." in (made / "site" / "index.html").read_text()


def test_another_folder_verifies_the_submission_with_the_real_commands(submission: Path) -> None:
    moved = submission.parent / "elsewhere"
    shutil.copytree(submission, moved)
    found = CliRunner().invoke(app, ["bench", "verify", str(moved), "--render", "1"])
    assert found.exit_code == 3, found.output  # all passed, against nothing that was published
    assert "FAILED" not in found.output and "passed  the chain holds every vote unchanged" in found.output
    assert "passed  tiny-flux: votes of preference, and its win rates" in found.stdout
    assert "passed  tiny-sdxl: votes of fidelity, and its certificates" in found.stdout
    assert "pictures made again are the same, the least alike has a PSNR of " in found.stdout
    assert "the chain holds" not in found.stdout, "what the commands print is no part of the answer"
    assert not list(moved.rglob("*.db")) and not list(moved.rglob("*.secret")) and not list(moved.rglob("*.log"))
    digest = hashlib.sha256((moved / SUMS).read_bytes()).hexdigest()
    assert list(file_problems(moved, digest)) == []
    assert list(file_problems(moved, "0" * 64)) == [f"{SUMS} has sha256 {digest}, published was {'0' * 64}"]


def test_what_was_changed_in_a_submission_is_found_even_with_forged_checksums(
    made: Path, submission: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "forged"
    shutil.copytree(submission, copy)
    assert problems(copy, made) == []
    report = copy / "studies" / "preference" / "tiny-flux" / "report" / "winrates.json"
    text = report.read_text()
    winrates = json.loads(text)
    winrates["pairwise"][0]["win_rate"] += 0.01
    report.write_text(json.dumps(winrates))
    assert problems(copy, made)[0].endswith("winrates.json has another hash")
    forge(copy)
    assert problems(copy, made) == [
        "pairwise of report/winrates.json are not what the benchmark's plan makes of the votes"
    ]
    report.write_text(text)

    manifest = copy / "models" / "tiny-sdxl" / "images" / "manifest.json"
    whole = manifest.read_text()
    values = json.loads(whole)
    values["arms"][1]["recipe"]["precision"]["weight_bits"] = 8
    manifest.write_text(json.dumps(values))
    forge(copy)
    assert any("its recipe" in problem for problem in problems(copy, made))
    manifest.write_text(whole)

    benchmark = copy / "benchmark.yaml"
    benchmark.write_text(benchmark.read_text().replace("votes_per_pair: 10", "votes_per_pair: 20"))
    forge(copy)
    assert any("are not what the files give" in problem for problem in problems(copy, made))


def test_a_lab_that_made_one_model_takes_the_other_from_a_submission(
    made: Path, submission: Path, tmp_path: Path
) -> None:
    ours = tmp_path / "ours"
    shutil.copytree(made, ours)
    shutil.rmtree(ours / "models" / "tiny-sdxl")
    for study in ("preference", "fidelity"):
        shutil.rmtree(ours / "studies" / study / "tiny-sdxl")
    assert read_results(ours).models[0].missing == ("its pictures are not made yet",)
    done = merge_submission(ours, submission, runner=Again(made), rules=study_rules())
    assert (done.models, done.studies) == (("tiny-sdxl",), ("preference of tiny-sdxl", "fidelity of tiny-sdxl"))
    assert read_results(ours).models == read_results(made).models
    again = merge_submission(ours, submission, runner=Again(made), rules=study_rules())
    assert again.models == again.studies == () and len(again.there_already) == 5
    changes = compare_folders(made, ours).changes
    assert changes and all(change.verdict.startswith("the same votes") for change in changes)

    manifest = ours / "models" / "tiny-flux" / "images" / "manifest.json"
    values = json.loads(manifest.read_text())
    other = {**values, "provenance": {**values["provenance"], "backbone_weights": "f" * 64}}
    manifest.write_text(json.dumps(other))
    with pytest.raises(InputError, match="tiny-flux: its weights are ffff"):
        merge_submission(ours, submission, runner=Again(made), rules=study_rules())
    other = json.loads(json.dumps(values))
    other["arms"][2]["recipe_hash"] = "0" * 64
    manifest.write_text(json.dumps(other))
    with pytest.raises(InputError, match=r"the arm w3a8\+qsched is another one there"):
        merge_submission(ours, submission, runner=Again(made), rules=study_rules())
    manifest.write_text(json.dumps(values))

    identity = ours / "benchmark.json"
    identity.write_text(identity.read_text().replace(read_results(made).identity.benchmark_sha256, "0" * 64))
    with pytest.raises(InputError, match="is of another benchmark"):
        merge_submission(ours, submission, runner=Again(made), rules=study_rules())

"""`--executor ray`: whoever measures a batch, and whenever, the search ends as in one process."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from qsched.calibration.calibrate import calibrate, seeds_of
from qsched.calibration.evaluate import LocalMeasurer
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.trajectory import TrajectoryRenderer
from qsched.cli.main import app
from tests.calibration.conftest import PROMPTS, planted
from tests.calibration.pipelines import random_flux


class Workers:
    """Two workers with models of their own; the last batch of a question is done first."""

    def __init__(self, objective, settings):
        self.asked: list[int] = []
        self._workers = []
        for _ in range(2):
            backbone = planted(random_flux(), 1 / 1.1)
            renderer = TrajectoryRenderer(backbone, steps=backbone.steps, batch_rows=settings.batch_rows)
            self._workers.append(LocalMeasurer(renderer, objective, PROMPTS[:5], seeds_of(PROMPTS[:5], settings)))

    def measure(self, batches):
        for number, batch in reversed(list(enumerate(batches))):
            self.asked.append(len(batch))
            yield number, self._workers[number % 2].measure_one(batch)


@pytest.mark.parametrize("strategy", ["grid", "race"])
def test_batches_that_come_back_in_another_order_give_the_same_search(strategy, tmp_path, nearness):
    settings = CalibrationSettings(strategy=strategy, size=3, batch_rows=8)

    def search(name, measurer=None):
        path = tmp_path / f"{name}.journal.jsonl"
        model = planted(random_flux(), 1 / 1.1)
        return calibrate(
            model, nearness, PROMPTS[:5], PROMPTS[5:], settings, journal=path, identity={}, measurer=measurer
        )

    plain, workers = search("plain"), Workers(nearness, settings)
    found = search("elsewhere", workers)
    assert list(found.gains) == list(plain.gains), "what the search knows comes in the order of the batches"
    assert {c: v.tolist() for c, v in found.gains.items()} == {c: v.tolist() for c, v in plain.gains.items()}
    assert found.qsched == plain.qsched and found.equals == plain.equals
    assert sum(workers.asked) == plain.pictures and max(workers.asked) <= 8
    # Two workers evaluate the first step of five prompts, instead of one.
    assert found.search_nfe == plain.search_nfe + 5
    again = Workers(nearness, settings)
    assert search("elsewhere", again).qsched == plain.qsched and again.asked == [], "the journal has it all"


def call(*words):
    return CliRunner().invoke(app, ["calibrate", "--backbone", "tiny-sdxl", "--prompts", "calibration", *words])


@pytest.mark.parametrize(
    "words, rule",
    [
        (["--executor", "ray"], "too few pictures to hand out"),
        (["--executor", "ray", "--strategy", "race", "--budget-nfe", "500"], "with a budget"),
        (["--executor", "ray", "--strategy", "race", "--early-decode", "half"], "with --early-decode"),
        (["--executor", "ray", "--strategy", "grid", "--shard", "1/2"], "two ways to share"),
        (["--executor", "slurm"], "choose local or ray"),
        (["--workers", "2"], "only --executor ray has workers"),
    ],
)
def test_what_cannot_be_handed_out_is_refused(words, rule, tmp_path):
    done = call("--out", str(tmp_path / "c.json"), *words)
    assert done.exit_code != 0 and rule in str(done.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_workers_of_ray_find_what_one_process_finds(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    common = ["--precision", "w3a8", "--strategy", "grid", "--grid-size", "2", "--batch", "4", "--no-control"]
    common += ["--n-prompts", "4", "--n-heldout", "4"]
    found = []
    for name, words in (("here", []), ("there", ["--executor", "ray", "--workers", "2"])):
        out = tmp_path / f"{name}.json"
        done = call("--out", str(out), *common, *words)
        assert done.exit_code == 0, (done.output, done.exception)
        journal = [json.loads(line) for line in out.with_suffix(".journal.jsonl").read_text().splitlines()[1:]]
        found.append({(json.dumps(line["candidate"]), line["prompt"]): (line["tc"], line["iq"]) for line in journal})
    assert found[0] == found[1] and len(found[0]) == 20

"""A benchmark with a study of people, from the file to the leaderboard: a real database, software votes over HTTP."""

from __future__ import annotations

import shlex
from pathlib import Path

import anyio

from qsched.bench.results import read_results
from qsched.bench.run import OwnDatabase, run_benchmark
from qsched.bench.site import write_site
from qsched.cli.bench_runner import run_here
from qsched.cli.bench_studies import study_state
from study_server.owner import make_settings
from tests.bench.test_run import begin
from tests.conftest import write_image_set
from tests.study_server.visiting import Visitor, serving

TEXT = """\
schema_version: 1
name: small
version: "1"
title: A study of people
models: [{name: tiny-sdxl}]
arms: [fp32, w3a8]
prompts: [{file: demo, limit: 3}]
studies:
  - name: preference
    study: {title: Better?, votes_per_pair: 2, repeat_rate: 0}
report: {resamples: 100}
"""
SLUG = "small-preference-tiny-sdxl"


def runner(command: tuple[str, ...]) -> int:
    """The real commands, but the pictures are drawn."""
    if command[0] != "generate-pairs":
        return run_here(command)
    write_image_set(Path(command[command.index("--out") + 1]), prompts=3, arms=("fp32", "w3a8"))
    return 0


def test_a_study_of_people_goes_from_the_file_to_the_leaderboard(tmp_path: Path) -> None:
    file, out, url = begin(tmp_path, TEXT), tmp_path / "out", f"sqlite:///{tmp_path / 'study.db'}"
    database = OwnDatabase(url, lambda slug: study_state(url, slug))
    (waiting,) = run_benchmark(file, out, runner=runner, database=database, say=lambda _: None).waiting
    _, preregister, _ = waiting.words.split("`", 2)
    assert run_here((*shlex.split(preregister)[1:], "--db", url)) == 0

    async def vote() -> None:
        settings = make_settings(database_url=url, allow_simulated=True)
        async with serving(settings) as browser:
            for _ in range(2):
                await (await Visitor(browser(), SLUG).enter("?simulated=1")).vote_all()

    anyio.run(vote)
    still = run_benchmark(file, out, runner=runner, database=database, say=lambda _: None)
    assert len(still.waiting) == 1, "it is not closed"
    assert run_here(("study", "close", SLUG, "--db", url)) == 0
    done = run_benchmark(file, out, runner=runner, database=database, say=lambda _: None)
    assert not done.waiting and (out / "studies" / "preference" / "tiny-sdxl" / "evidence" / "manifest.json").is_file()
    (one,) = read_results(out).models[0].arms[1].preferences
    assert one.votes == 6 and read_results(out).simulated_votes
    assert "Simulated votes." in write_site(out).read_text("utf-8"), "although the file says people"

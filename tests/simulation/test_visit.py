"""Simulated annotators against the real server, over real HTTP."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import polars as pl
import pytest

from qsched.errors import InputError
from qsched.simulation import Population, draw_annotators, visit_study
from qsched.simulation.visit import VisitError


@pytest.fixture
def server(small_image_set, tmp_path, request):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "qsched", "serve", small_image_set, "--db", f"sqlite:///{tmp_path}/v.db"]
    process = subprocess.Popen(
        [*command, "--port", str(port), *request.param], stdout=(tmp_path / "log").open("wb"), stderr=subprocess.STDOUT
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            urlopen(f"{url}/healthz", timeout=2).close()
            break
        except (URLError, ConnectionError):
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
    yield url
    process.terminate()
    process.wait(10)


def grain(image, _prompt):
    """The set's first arm is the smoothest: score = absence of grain."""
    return 1 - float(np.asarray(image, dtype=float)[:8, :8].std()) / 40


def visit(url, *, score=grain):
    people = draw_annotators(4, population=Population(sensitivity_median=60, tie_threshold=0.1), seed=1)
    return asyncio.run(visit_study(url, study="drawn", annotators=people, votes_each=9, score=score, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("server", [["--simulated-annotators"]], indirect=True)
def test_their_votes_are_counted_marked_and_follow_the_ground_truth(server, tmp_path):
    summary = visit(server)
    assert (summary.annotators, summary.votes) == (4, 36)
    out = tmp_path / "votes.parquet"
    export = ["votes", "export", "--study", "drawn", "--db", f"sqlite:///{tmp_path}/v.db", str(out)]
    subprocess.run([sys.executable, "-m", "qsched", *export], check=True)
    votes = pl.read_parquet(out)
    assert votes.height == 36
    assert votes["simulated"].all()
    decided = votes.filter(pl.col("choice").is_in(["left", "right"])).with_columns(
        winner=pl.when(pl.col("choice") == "left").then("left_arm").otherwise("right_arm")
    )
    smooth = decided.filter((pl.col("left_arm") == "fp32") | (pl.col("right_arm") == "fp32"))
    assert (smooth["winner"] == "fp32").mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("server", [[]], indirect=True)
def test_a_server_that_did_not_ask_for_them_turns_them_away(server):
    with pytest.raises(VisitError, match=r"/s/drawn answered 403.* start its server with --simulated-annotators$"):
        visit(server)


@pytest.mark.slow
@pytest.mark.parametrize("server", [["--simulated-annotators"]], indirect=True)
def test_a_prompt_that_the_judge_does_not_know_is_one_plain_error(server):
    def judge(_image, prompt):
        raise InputError(f"{prompt!r} is not of the domain")

    with pytest.raises(InputError, match="not of the domain"):
        visit(server, score=judge)

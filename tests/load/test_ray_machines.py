"""A Ray cluster of two machines, of which one is lost in the middle of a run: the set is that of one process."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qsched.generation import Request, generate_pairs, verify_set
from qsched.records import iter_rows
from tests.load.test_machines import machines

__all__ = ["machines"]
pytestmark = [pytest.mark.load, pytest.mark.slow]
PICTURES, KEPT, PORT = 160, 20, 6399
PATIENCE = 300.0


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def wait_for(what, words: str) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, f"waited in vain for {words}"
        time.sleep(0.2)


def processes_in(namespace: str) -> list[int]:
    found = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True)
    return [int(pid) for pid in found.stdout.split()]


def test_a_lost_node_loses_only_what_it_was_making(machines, random_pipelines, tmp_path, monkeypatch) -> None:
    ray = pytest.importorskip("ray")
    namespace, there = next(iter(machines.items()))
    here = f"{there[: there.rindex('.')]}.{int(there.split('.')[-1]) - 1}"
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")  # every machine needs the same one
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    prompts = tmp_path / "p.txt"
    prompts.write_text("".join(f"a ring, number {n}\n" for n in range(PICTURES)))
    model, out = str(random_pipelines["flux"]), tmp_path / "set"
    options = ["--backbone", model, "--arms", "fp32", "--prompts", str(prompts), "--device", "cpu", "--steps", "4"]
    command = [sys.executable, "-m", "qsched", "generate-pairs", *options, "--batch-size", "2", "--out", str(out)]
    start = [str(Path(sys.executable).with_name("ray")), "start", "--num-cpus", "1", "--block"]
    address, folder = f"{here}:{PORT}", Path("/tmp") / f"qsray{os.getpid()}"  # sockets have short paths
    head = [*start, "--head", "--port", str(PORT), "--node-ip-address", here, "--include-dashboard", "false"]
    node = ["ip", "netns", "exec", namespace, *start, "--address", address, "--node-ip-address", there]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    started = []
    try:
        started.append(subprocess.Popen([*head, "--temp-dir", str(folder)], **quiet))
        wait_for(lambda: any(folder.glob("session_latest/sockets/raylet*")) or started[0].poll() is not None, "a node")
        assert started[0].poll() is None, "the first node did not start"
        started.append(subprocess.Popen(node, **quiet))
        wait_for(lambda: two_nodes(ray, address), "the second node")
        environment = {**os.environ, "RAY_ADDRESS": address, "PYTHONPATH": str(Path(__file__).parents[2])}
        driver = subprocess.Popen(
            [*command, "--executor", "ray", "--workers", "2"],
            **{**quiet, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True},
            env=environment,
        )
        started.append(driver)
        wait_for(lambda: lines_of(out / "images.jsonl") >= KEPT or driver.poll() is not None, "the first pictures")
        assert driver.poll() is None, driver.communicate()[0]
        for pid in processes_in(namespace):
            os.kill(pid, signal.SIGKILL)
        assert lines_of(out / "images.jsonl") < PICTURES, "there is something left to lose"
        said, _ = driver.communicate(timeout=PATIENCE)
    finally:
        for process in reversed(started):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pid in processes_in(namespace):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    assert driver.returncode == 0, said
    assert "1 worker(s) died and were replaced" in " ".join(said.split())
    assert verify_set(out).ok
    request = Request(model, "fp32", prompts, tmp_path / "alone", device="cpu", steps=4, batch_size=2)
    generate_pairs(request)
    sets = [[(row.prompt_id, row.sha256) for row in iter_rows(folder)] for folder in (out, tmp_path / "alone")]
    assert sets[0] == sets[1] and len(sets[0]) == PICTURES


def two_nodes(ray, address: str) -> bool:
    """Whether the cluster has both; asked in a process of its own, because this one stays out of it."""
    code = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR'); "
    code += "print(sum(node['Alive'] for node in ray.nodes()))"
    del ray
    asked = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True, check=False)
    return asked.stdout.strip().endswith("2")

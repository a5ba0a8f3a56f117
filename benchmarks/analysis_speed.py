"""Speed and memory beside the peers, in one run on one machine; every task in a fresh process, imports excluded.

    pip install -e '.[analysis,bench]'                     in a venv of its own: arena-rank pins an older numpy
    python benchmarks/analysis_speed.py                    all tasks; writes benchmarks/results/analysis_speed.{json,md}
    python benchmarks/analysis_speed.py --tasks point      only the point fit; the record keeps its other tasks

Tasks (votes of 8 arms in a parquet file of strings: model_a, model_b, winner, judge, prompt_id):
  point     point fit of 1M votes, from the file
  two-way   ours: fit and default two-way interval, 1,000 resamples by annotator, by prompt and by vote, from the file;
            peers: 1,000 vote-level resamples, the most they offer
  vote      vote level against vote level, 1,000 resamples, from the file; the peers' rows are those of two-way where
            both tasks are in the run, measured once
  memory    10M votes: peak resident memory of a fit, and of ours with the intervals
  command   the whole command, `python analysis/winrates.py FILE`, on 80,000 votes of 400 annotators in a file with all
            columns of the votes table: imports, estimate, page, tables and figures
  command-large   the same on 1M votes of 20,000 annotators

Ours are the documented calls, `fit_bradley_terry(count_votes(exclude(read_votes(FILE))[0]))`, which the command makes
too: no task has a way of its own.

Seconds are the best of up to three repeats by the wall clock; CPU seconds (with child processes) stand beside them, for
a machine that others use too. The default takes some four minutes on two cores and at most eight (--budget): what would
begin after that is recorded as not run.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.analysis_peers import CHOIX, PEERS_VOTE, SCALE, TASKS
from benchmarks.machine import machine

RESULTS = Path(__file__).parent / "results"
#: Of what takes part.
PACKAGES = ("numpy", "scipy", "polars", "pandas", "scikit-learn", "evalica", "choix", "arena-rank", "jax")
ARMS, ANNOTATORS, PROMPTS = 8, 20_000, 1_000
#: Annotators and prompts of the tasks that have others.
CROWDS = {"command": (400, 150)}
#: Repeats of one measurement end when they have taken this long, in seconds.
ENOUGH = 6.0


def write_votes(path: Path, n: int, annotators: int, prompts: int, *, whole: bool, seed: int = 0) -> None:
    """Votes with strengths from -0.6 to 0.6 and a fifth of ties; `whole`: with all columns of the votes table."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(seed)
    i = rng.integers(0, ARMS, n)
    j = (i + rng.integers(1, ARMS, n)) % ARMS
    theta = np.linspace(-0.6, 0.6, ARMS)
    choice = np.where(rng.random(n) < 1 / (1 + np.exp(theta[j] - theta[i])), 0, 1)
    choice = np.where(rng.random(n) < 0.2, 2, choice)

    def texts(form: str, codes: Any) -> pl.Series:
        names = pl.Series([form.format(k) for k in range(int(codes.max()) + 1)])
        return names.gather(codes)

    annotator, prompt = np.sort(rng.integers(0, annotators, n)), rng.integers(0, prompts, n)
    if not whole:
        judge = rng.permutation(annotator)
        columns = {
            "model_a": texts("model-{:02d}", i),
            "model_b": texts("model-{:02d}", j),
            "winner": pl.Series(["model_a", "model_b", "tie"]).gather(choice),
            "judge": texts("judge-{:06d}", judge),
            "prompt_id": texts("prompt-{:05d}", prompt),
        }
        pl.DataFrame(columns).write_parquet(path)
        return
    place = np.arange(n) - np.searchsorted(annotator, annotator)
    served = pl.Series(np.datetime64("2026-03-02", "us") + (12_000 * place).astype("timedelta64[ms]"))
    spent = rng.lognormal(8, 0.45, n).astype(int) + 300
    pairs = np.minimum(i, j) * ARMS + np.maximum(i, j)
    pl.DataFrame(
        {
            "study": pl.Series(["study"]).new_from_index(0, n),
            "question": pl.Series(["Which picture is better?"]).new_from_index(0, n),
            "pair_id": texts("pair-{:07d}", prompt * ARMS * ARMS + pairs),
            "prompt_id": texts("prompt-{:05d}", prompt),
            "category": texts("category-{}", prompt % 6),
            "left_arm": texts("model-{:02d}", i),
            "right_arm": texts("model-{:02d}", j),
            "choice": pl.Series(["left", "right", "tie"]).gather(choice),
            "annotator": texts("annotator-{:06d}", annotator),
            "session": texts("session-{:06d}", annotator),
            "served_at": served.dt.replace_time_zone("UTC"),
            "response_ms": spent,
            "kind": pl.Series(["task"]).new_from_index(0, n),
            "simulated": pl.Series([False]).new_from_index(0, n),
            "sample_index": pl.Series([0]).new_from_index(0, n),
        }
    ).write_parquet(path)


def worker(task: str, name: str, path: str, repeats: int) -> None:
    """Runs in a fresh process: prints seconds (best of up to `repeats`) and peak memory as JSON."""
    maker = dict(TASKS[task])[name]
    work = maker(path)
    before = _peak_mib()
    times: list[float] = []
    cpu_times: list[float] = []
    while len(times) < repeats and sum(times) < ENOUGH:
        started, cpu_started = time.perf_counter(), _cpu_seconds()
        work()
        times.append(time.perf_counter() - started)
        cpu_times.append(_cpu_seconds() - cpu_started)
    scale = SCALE.get(name, 1.0)
    found = {
        "seconds": min(times) * scale,
        "cpu_seconds": min(cpu_times) * scale,
        "all": [value * scale for value in times],
        "peak_mib": _peak_mib(),
        "before_mib": before,
    }
    print("RESULT " + json.dumps(found))


def _cpu_seconds() -> float:
    """User and system time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def _peak_mib() -> float:
    """Of this process or of its largest child, whichever is more."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def measure(task: str, name: str, path: Path, *, limit: float) -> dict[str, Any]:
    """One peer on one task: a fresh process, three repeats where they are short."""
    repeats = 1 if task in ("memory", "command-large") or name == CHOIX else 3
    call = [sys.executable, __file__, "--worker", task, name, str(path), str(repeats)]
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"not finished within {limit:.0f} s"}
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return dict(json.loads(line.removeprefix("RESULT ")))
    return {"failed": (done.stderr.strip().splitlines() or ["no output"])[-1][:200]}


def render(record: dict[str, Any]) -> str:
    """Markdown: per task the seconds, the peak memory and the ratio to ours (above 1: ours is faster)."""
    first = record["machine"]
    packages = ", ".join(f"{name} {version or 'not installed'}" for name, version in first["versions"].items())
    lines = ["# Speed and memory beside the peers", ""]
    lines += [f"Machine: {first['cpu']}, {first['cpus']} cores. Python {first['python']}, {packages}."]
    lines += ["", "Made by `python benchmarks/analysis_speed.py`; its first lines say what each task does.", ""]
    for task, rows in record["tasks"].items():
        again = record.get("again", {}).get(task)
        ours = next((row.get("seconds") for name, row in rows.items() if name.startswith("ours")), None)
        lines += [f"## {task} ({record['votes'][task]:,} votes, {ARMS} arms)", ""]
        if again:
            where = f"commit {again['commit']}, {again['cpu']}, {again['cpus']} cores"
            lines += [f"Measured again after the others, with `--tasks {task}`: {where}.", ""]
        lines += ["| | seconds | CPU seconds | peak MiB | times ours |", "|---|---|---|---|---|"]
        for name, row in rows.items():
            if "failed" in row:
                lines.append(f"| {name} | failed: {row['failed']} | | | |")
                continue
            ratio = f"{row['seconds'] / ours:.1f}" if ours else ""
            numbers = f"{row['seconds']:.3f} | {row['cpu_seconds']:.3f} | {row['peak_mib']:.0f}"
            lines.append(f"| {name} | {numbers} | {ratio} |")
        lines.append("")
    return "\n".join(lines)


def _record(path: Path, tasks: list[str]) -> dict[str, Any]:
    """The record to fill in: of all tasks a new one, of some the one at `path` without them."""
    where = machine(*PACKAGES)
    if not path.is_file() or set(TASKS) <= set(tasks):
        return {"machine": where, "votes": {}, "tasks": {}}
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    record["again"] = {**record.get("again", {}), **dict.fromkeys(tasks, where)}
    for task in tasks:
        if task in record["tasks"]:
            record["tasks"][task] = {}
    return record


def main() -> int:
    """Measure the chosen tasks in one run, print and write."""
    if len(sys.argv) > 1 and sys.argv[1] == "--worker":
        worker(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
        return 0
    if len(sys.argv) > 1 and sys.argv[1] == "--write":
        seed = int(sys.argv[7]) if len(sys.argv) > 7 else 0
        write_votes(Path(sys.argv[2]), *map(int, sys.argv[3:6]), whole=sys.argv[6] == "whole", seed=seed)
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--only", default="", help="only peers whose name starts so")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a peer may take")
    parser.add_argument("--budget", type=float, default=450.0, help="seconds after which nothing more is begun")
    parser.add_argument("--votes", type=int, default=1_000_000, help="of each task; memory takes ten times as many")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    args = parser.parse_args()
    args.results.mkdir(parents=True, exist_ok=True)
    target = args.results / "analysis_speed.json"
    tasks = args.tasks.split(",")
    record = _record(target, tasks)
    started = time.monotonic()
    shared: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks:
            n = {"memory": 10 * args.votes, "command": args.votes * 2 // 25}.get(task, args.votes)
            record["votes"][task] = n
            whole = "whole" if task.startswith("command") else "arena"
            path = Path(folder) / f"votes{n}-{whole}.parquet"
            if not path.exists():
                # In a process of its own: a child's peak memory starts at that of the process which started it.
                crowd = map(str, CROWDS.get(task, (ANNOTATORS, PROMPTS)))
                subprocess.run([sys.executable, __file__, "--write", str(path), str(n), *crowd, whole], check=True)
            for name, maker in TASKS[task]:
                if not name.startswith(args.only):
                    continue
                if (name, maker) in PEERS_VOTE and name in shared:
                    found = shared[name]
                elif time.monotonic() - started > args.budget:
                    found = {"failed": f"not run: the {args.budget:.0f} s of --budget were over"}
                else:
                    found = measure(task, name, path, limit=min(args.limit, args.budget))
                if (name, maker) in PEERS_VOTE:
                    shared[name] = found
                record["tasks"].setdefault(task, {})[name] = found
                print(task, "|", name, "|", {k: v for k, v in found.items() if k != "all"}, flush=True)
    target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (args.results / "analysis_speed.md").write_text(render(record) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

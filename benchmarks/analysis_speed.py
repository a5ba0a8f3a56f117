"""Speed and memory beside the peers, in one run on one machine; every task in a fresh process, imports excluded.

    pip install -e '.[bench]'       arena-rank, evalica, choix, scikit-learn, pandas
    python benchmarks/analysis_speed.py                    all tasks; writes benchmarks/results/analysis_speed.{json,md}
    python benchmarks/analysis_speed.py --tasks point      only the point fit

Tasks (votes of 8 arms in a parquet file of strings: model_a, model_b, winner, judge, prompt_id):
  point     point fit of 1M votes, from the file
  two-way   ours: fit and default two-way interval, 1,000 resamples by annotator, by prompt and by vote, from the file;
            peers: 1,000 vote-level resamples, the most they offer
  vote      vote level against vote level, 1,000 resamples, from the file; the peers' rows are those of two-way where
            both tasks are in the run, measured once
  memory    10M votes: peak resident memory of a fit, and of ours with the intervals

Seconds are the best of up to three repeats by the wall clock; CPU seconds (with child processes) stand beside them, for
a machine that others use too. The default takes some four minutes on two cores and at most eight (--budget): what would
begin after that is recorded as not run.

FastChat's method is written here from its definition (rating_systems.py of its present form): pandas codes the names,
numpy.unique makes the table of outcomes, L-BFGS-B fits each multinomial resample in a pool of processes. Its older form
is a logistic regression (scikit-learn) on one row a vote. choix leaves resampling to its user: once votes are resampled
and their matrix of wins made anew (100 times, the time then scaled by ten), once the matrix itself is resampled
(multinomial), which is the idea of our own bootstrap and not something that choix offers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ARMS, ANNOTATORS, PROMPTS = 8, 20_000, 1_000


def write_votes(path: Path, n: int) -> None:
    """Votes with strengths from -0.6 to 0.6 and a fifth of ties."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    i = rng.integers(0, ARMS, n)
    j = (i + rng.integers(1, ARMS, n)) % ARMS
    theta = np.linspace(-0.6, 0.6, ARMS)
    choice = np.where(rng.random(n) < 1 / (1 + np.exp(theta[j] - theta[i])), 0, 1)
    choice = np.where(rng.random(n) < 0.2, 2, choice)

    def texts(form: str, codes: Any) -> pl.Series:
        names = pl.Series([form.format(k) for k in range(int(codes.max()) + 1)])
        return names.gather(codes)

    pl.DataFrame(
        {
            "model_a": texts("model-{:02d}", i),
            "model_b": texts("model-{:02d}", j),
            "winner": pl.Series(["model_a", "model_b", "tie"]).gather(choice),
            "judge": texts("judge-{:06d}", rng.integers(0, ANNOTATORS, n)),
            "prompt_id": texts("prompt-{:05d}", rng.integers(0, PROMPTS, n)),
        }
    ).write_parquet(path)


# --- ours ---------------------------------------------------------------------------------------------------------


def ours_point(path: str) -> Callable[[], Any]:
    from analysis.stats import fit_bradley_terry, scan_counts

    return lambda: fit_bradley_terry(scan_counts(path, clusters=False))


def ours_two_way(path: str) -> Callable[[], Any]:
    from analysis.stats import fit_bradley_terry, scan_counts, uncertainty_of

    def work() -> Any:
        counts = scan_counts(path)
        return uncertainty_of(fit_bradley_terry(counts), counts, resamples=1000)

    return work


def ours_vote(path: str) -> Callable[[], Any]:
    from analysis.stats import fit_bradley_terry, scan_counts, uncertainty_of

    def work() -> Any:
        counts = scan_counts(path, clusters=False)
        return uncertainty_of(fit_bradley_terry(counts), counts, intervals="vote", resamples=1000)

    return work


# --- peers --------------------------------------------------------------------------------------------------------


def evalica_point(path: str) -> Callable[[], Any]:
    import evalica
    import pandas as pd

    words = {
        "model_a": evalica.Winner.X,
        "model_b": evalica.Winner.Y,
        "tie": evalica.Winner.Draw,
    }

    def work() -> Any:
        frame = pd.read_parquet(path, columns=["model_a", "model_b", "winner"])
        return evalica.bradley_terry(frame["model_a"], frame["model_b"], frame["winner"].map(words)).scores

    return work


def choix_counts(path: str) -> Any:
    """choix takes a list of pairs, or a matrix of wins that its user makes; the matrix is the fast way."""
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(path, columns=["model_a", "model_b", "winner"])
    names = sorted(set(frame["model_a"].unique()) | set(frame["model_b"].unique()))
    table = frame.groupby(["model_a", "model_b", "winner"], observed=True).size()
    wins = np.zeros((len(names), len(names)))
    for (a, b, winner), n in table.items():
        i, j = names.index(a), names.index(b)
        wins[i, j] += n * {"model_a": 1.0, "model_b": 0.0, "tie": 0.5}[winner]
        wins[j, i] += n * {"model_a": 0.0, "model_b": 1.0, "tie": 0.5}[winner]
    return wins


def choix_fit(wins: Any) -> Any:
    """choix's maximum likelihood on a matrix of wins."""
    import choix

    return choix.ilsr_pairwise_dense(wins)


def choix_point(path: str) -> Callable[[], Any]:
    import choix  # noqa: F401  imported before the clock starts

    return lambda: choix_fit(choix_counts(path))


def choix_vote(path: str) -> Callable[[], Any]:
    """Votes resampled and counted anew for each of 100 fits; the time is scaled to 1,000 in `SCALE`."""
    import choix  # noqa: F401
    import numpy as np
    import pandas as pd

    def work() -> Any:
        frame = pd.read_parquet(path, columns=["model_a", "model_b", "winner"])
        names = sorted(set(frame["model_a"].unique()) | set(frame["model_b"].unique()))
        k, place = len(names), {name: index for index, name in enumerate(names)}
        a, b = frame["model_a"].map(place).to_numpy(), frame["model_b"].map(place).to_numpy()
        score = frame["winner"].map({"model_a": 1.0, "model_b": 0.0, "tie": 0.5}).to_numpy()
        rng, draws = np.random.default_rng(0), []
        for _ in range(100):
            at = rng.integers(0, len(a), len(a))
            wins = np.bincount(a[at] * k + b[at], score[at], k * k).reshape(k, k)
            wins += np.bincount(b[at] * k + a[at], 1 - score[at], k * k).reshape(k, k)
            draws.append(choix_fit(wins))
        return draws

    return work


def choix_table_vote(path: str) -> Callable[[], Any]:
    """The matrix of wins resampled, 1,000 times."""
    import choix  # noqa: F401
    import numpy as np

    def work() -> Any:
        wins = choix_counts(path)
        total, share = round(wins.sum()), wins.ravel() / wins.sum()
        rng = np.random.default_rng(0)
        return [choix_fit(rng.multinomial(total, share).reshape(wins.shape).astype(float)) for _ in range(1000)]

    return work


def fastchat_table(path: str) -> tuple[int, Any, Any, Any]:
    """Number of models, then pairs (U, 2), scores (U,) and counts (U,) of the distinct outcomes."""
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(path, columns=["model_a", "model_b", "winner"])
    code, names = pd.factorize(pd.concat([frame["model_a"], frame["model_b"]]))
    n = len(frame)
    outcome = np.select([frame["winner"] == "model_a", frame["winner"] == "model_b"], [2, 0], 1)
    rows, counts = np.unique(np.column_stack([code[:n], code[n:], outcome]), return_counts=True, axis=0)
    return len(names), rows[:, :2], rows[:, 2] / 2, counts.astype(float)


def fastchat_fit(weights: Any, k: int, pairs: Any, scores: Any) -> Any:
    """Weighted Bradley-Terry likelihood by L-BFGS-B, strengths in units of a factor ten."""
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import expit

    base = np.log(10.0)

    def loss(theta: Any) -> tuple[float, Any]:
        p = expit(base * (theta[pairs[:, 0]] - theta[pairs[:, 1]]))
        value = -(weights * (scores * np.log(p) + (1 - scores) * np.log(1 - p))).sum()
        pull = -base * weights * (scores - p)
        gradient = np.bincount(pairs[:, 0], pull, k) - np.bincount(pairs[:, 1], pull, k)
        return value, gradient

    return minimize(loss, np.zeros(k), jac=True, method="L-BFGS-B", options={"maxiter": 100, "gtol": 1e-6}).x


def fastchat_point(path: str) -> Callable[[], Any]:
    import pandas  # noqa: F401
    import scipy.optimize  # noqa: F401

    def work() -> Any:
        k, pairs, scores, counts = fastchat_table(path)
        return fastchat_fit(counts / counts.sum(), k, pairs, scores)

    return work


def fastchat_vote(path: str) -> Callable[[], Any]:
    import multiprocessing
    from functools import partial

    import numpy as np
    import pandas  # noqa: F401
    import scipy.optimize  # noqa: F401

    def work() -> Any:
        k, pairs, scores, counts = fastchat_table(path)
        drawn = np.random.default_rng(0).multinomial(round(counts.sum()), counts / counts.sum(), size=1000)
        with multiprocessing.Pool(os.cpu_count()) as pool:
            fit = partial(fastchat_fit, k=k, pairs=pairs, scores=scores)
            return list(pool.imap_unordered(fit, drawn / counts.sum()))

    return work


def logistic_point(path: str) -> Callable[[], Any]:
    """A row a vote, a tie as two rows of half weight."""
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    def work() -> Any:
        frame = pd.read_parquet(path, columns=["model_a", "model_b", "winner"])
        n = len(frame)
        code, names = pd.factorize(pd.concat([frame["model_a"], frame["model_b"]]))
        rows = np.arange(n)
        x = np.zeros((n, len(names)))
        x[rows, code[:n]], x[rows, code[n:]] = np.log(10.0), -np.log(10.0)
        tie = (frame["winner"] == "tie").to_numpy()
        y = (frame["winner"] == "model_a").to_numpy().astype(float)
        x = np.concatenate([x, x[tie]])
        y = np.concatenate([y, np.ones(int(tie.sum()))])
        weight = np.concatenate([np.where(tie, 0.5, 1.0), np.full(int(tie.sum()), 0.5)])
        return LogisticRegression(fit_intercept=False, C=1e12, tol=1e-6).fit(x, y, sample_weight=weight).coef_

    return work


def arena_point(path: str) -> Callable[[], Any]:
    import pandas as pd
    from arena_rank.models.bradley_terry import BradleyTerry
    from arena_rank.utils.data_utils import PairDataset

    def work() -> Any:
        frame = pd.read_parquet(path, columns=["model_a", "model_b", "winner"])
        data = PairDataset.from_pandas(frame)
        model = BradleyTerry(n_competitors=len(data.competitors))
        return model.compute_ratings_and_cis(data, significance_level=0.05)

    return work


CHOIX = "choix in a loop, votes resampled (100, scaled)"
PEERS_VOTE = [
    (CHOIX, choix_vote),
    ("choix in a loop, its matrix resampled", choix_table_vote),
    ("FastChat's method", fastchat_vote),
]
#: Repeats of one measurement end when they have taken this long, in seconds.
ENOUGH = 6.0
#: What the time of a task is multiplied by, where fewer resamples are run.
SCALE = {CHOIX: 10.0}

#: task -> (name, maker): the maker imports what it needs and returns the work to be timed.
TASKS: dict[str, list[tuple[str, Callable[[str], Callable[[], Any]]]]] = {
    "point": [
        ("ours", ours_point),
        ("choix I-LSR on a table made by the user", choix_point),
        ("evalica", evalica_point),
        ("FastChat's method", fastchat_point),
        ("FastChat's older form, a row a vote", logistic_point),
        ("arena-rank (with its sandwich interval)", arena_point),
    ],
    "two-way": [("ours, two-way", ours_two_way), *PEERS_VOTE],
    "vote": [("ours, vote level", ours_vote), *PEERS_VOTE],
    "memory": [
        ("ours, point", ours_point),
        ("ours, vote level", ours_vote),
        ("ours, two-way", ours_two_way),
        ("choix I-LSR on a table made by the user", choix_point),
        ("FastChat's method", fastchat_point),
        ("evalica", evalica_point),
        ("arena-rank (with its sandwich interval)", arena_point),
    ],
}


def worker(task: str, name: str, path: str, repeats: int) -> None:
    """Runs in a fresh process: prints seconds (best of up to `repeats`) and peak memory as JSON."""
    maker = dict(TASKS[task])[name]
    work = maker(path)
    before = _peak_mib()
    times, cpu_times = [], []
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
    repeats = 1 if task == "memory" or name == CHOIX else 3
    call = [sys.executable, __file__, "--worker", task, name, str(path), str(repeats)]
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"not finished within {limit:.0f} s"}
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return dict(json.loads(line.removeprefix("RESULT ")))
    return {"failed": (done.stderr.strip().splitlines() or ["no output"])[-1][:200]}


def versions() -> dict[str, str]:
    """Of what took part."""
    found = {"python": platform.python_version()}
    for name in ("numpy", "scipy", "polars", "pandas", "scikit-learn", "evalica", "choix", "arena-rank", "jax"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def cpu() -> str:
    """Processor's name and number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{named[0] if named else platform.processor()}, {os.cpu_count()} cores, {platform.system()}"


def render(record: dict[str, Any]) -> str:
    """Markdown: per task the seconds, the peak memory and the ratio to ours (above 1: ours is faster)."""
    lines = ["# Speed and memory beside the peers", "", f"Machine: {record['machine']}. Versions: "]
    lines[-1] += ", ".join(f"{k} {v}" for k, v in record["versions"].items()) + "."
    lines += ["", "Made by `python benchmarks/analysis_speed.py`; what each line does is told at its top.", ""]
    for task, rows in record["tasks"].items():
        ours = next((row.get("seconds") for name, row in rows.items() if name.startswith("ours")), None)
        lines += [f"## {task} ({record['votes'][task]:,} votes, {ARMS} arms)", ""]
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


def main() -> int:
    """Measure the chosen tasks in one run, print and write."""
    if len(sys.argv) > 1 and sys.argv[1] == "--worker":
        worker(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
        return 0
    if len(sys.argv) > 1 and sys.argv[1] == "--write":
        write_votes(Path(sys.argv[2]), int(sys.argv[3]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--only", default="", help="only peers whose name starts so")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a peer may take")
    parser.add_argument("--budget", type=float, default=450.0, help="seconds after which nothing more is begun")
    parser.add_argument("--votes", type=int, default=1_000_000, help="of each task; memory takes ten times as many")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    args = parser.parse_args()
    args.results.mkdir(parents=True, exist_ok=True)
    target = args.results / "analysis_speed.json"
    record: dict[str, Any] = {"machine": cpu(), "versions": versions(), "votes": {}, "tasks": {}}
    started = time.monotonic()
    shared: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for task in args.tasks.split(","):
            n = 10 * args.votes if task == "memory" else args.votes
            record["votes"][task] = n
            path = Path(folder) / f"votes{n}.parquet"
            if not path.exists():
                # In a process of its own: a child's peak memory starts at that of the process which started it.
                subprocess.run([sys.executable, __file__, "--write", str(path), str(n)], check=True)
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

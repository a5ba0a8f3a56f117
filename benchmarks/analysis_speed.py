"""Speed and memory beside the peers, in one run on one machine; every task in a fresh process, imports excluded.

    pip install -e '.[bench]'       arena-rank, evalica, choix, scikit-learn, pandas
    python benchmarks/analysis_speed.py                    all tasks; writes benchmarks/results/analysis_speed.{json,md}
    python benchmarks/analysis_speed.py --tasks point      only the point fit

Tasks (votes of 8 arms in a parquet file of strings: model_a, model_b, winner, judge, prompt_id):
  point     point fit of 1M votes, from the file
  two-way   ours: fit and default two-way interval, 1,000 resamples by annotator, by prompt and by vote, from the file;
            peers: 1,000 vote-level resamples, the most they offer
  vote      vote level against vote level, 1,000 resamples, from the file
  memory    10M votes: peak resident memory of a fit, and of ours with the two-way interval

FastChat's method is written here from its definition: logistic regression (scikit-learn) without penalty on one row a
vote, log-odds scaled to Elo, a tie as half a win for each side, bootstrap by resampled votes. Its newer form aggregates
the votes to a table first; both are timed, the table form also for the bootstrap.
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
    """A loop around choix, the resampling of the matrix of wins written by the user (multinomial)."""
    import choix  # noqa: F401
    import numpy as np

    def work() -> Any:
        wins = choix_counts(path)
        total, share = round(wins.sum()), wins.ravel() / wins.sum()
        rng = np.random.default_rng(0)
        return [choix_fit(rng.multinomial(total, share).reshape(wins.shape).astype(float)) for _ in range(1000)]

    return work


def fastchat_table(path: str) -> tuple[Any, Any, Any, Any, Any]:
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(path, columns=["model_a", "model_b", "winner"])
    names = pd.unique(pd.concat([frame["model_a"], frame["model_b"]]))
    place = pd.Series(range(len(names)), index=names)
    a, b = frame["model_a"].map(place).to_numpy(), frame["model_b"].map(place).to_numpy()
    outcome = frame["winner"].map({"model_a": 0, "model_b": 1, "tie": 2}).to_numpy()
    cell = (a * len(names) + b) * 3 + outcome
    counts = np.bincount(cell, minlength=3 * len(names) ** 2)
    return names, a, b, outcome, counts


def fastchat_fit(k: int, a: Any, b: Any, outcome: Any, weight: Any) -> Any:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    n = len(a)
    x = np.zeros((2 * n, k))
    rows = np.arange(n)
    base = np.log(10.0)
    x[rows, a], x[rows, b] = base, -base
    x[n + rows, a], x[n + rows, b] = base, -base
    y = np.concatenate([np.ones(n), np.zeros(n)])
    w = np.concatenate([weight * np.array([2, 0, 1])[outcome], weight * np.array([0, 2, 1])[outcome]])
    keep = w > 0
    model = LogisticRegression(fit_intercept=False, C=1e12, tol=1e-6)
    model.fit(x[keep], y[keep], sample_weight=w[keep])
    return 400 * model.coef_[0] + 1000


def fastchat_cells(path: str) -> tuple[int, Any, Any, Any, Any]:
    import numpy as np

    names, _, _, _, counts = fastchat_table(path)
    k = len(names)
    cell = np.flatnonzero(counts)
    return k, cell // 3 // k, cell // 3 % k, cell % 3, counts[cell]


def fastchat_point(path: str) -> Callable[[], Any]:
    import sklearn.linear_model  # noqa: F401

    def work() -> Any:
        k, a, b, outcome, n = fastchat_cells(path)
        return fastchat_fit(k, a, b, outcome, n)

    return work


def fastchat_rows_point(path: str) -> Callable[[], Any]:
    import numpy as np
    import sklearn.linear_model  # noqa: F401

    def work() -> Any:
        names, a, b, outcome, _ = fastchat_table(path)
        return fastchat_fit(len(names), a, b, outcome, np.ones(len(a)))

    return work


def fastchat_vote(path: str) -> Callable[[], Any]:
    import numpy as np
    import sklearn.linear_model  # noqa: F401

    def work() -> Any:
        k, a, b, outcome, n = fastchat_cells(path)
        rng = np.random.default_rng(0)
        draws = []
        for _ in range(1000):
            m = rng.multinomial(n.sum(), n / n.sum())
            draws.append(fastchat_fit(k, a, b, outcome, m))
        return draws

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


#: task -> (name, maker): the maker imports what it needs and returns the work to be timed.
TASKS: dict[str, list[tuple[str, Callable[[str], Callable[[], Any]]]]] = {
    "point": [
        ("ours", ours_point),
        ("evalica", evalica_point),
        ("choix I-LSR on a table made by the user", choix_point),
        ("FastChat's method on a table", fastchat_point),
        ("FastChat's method, a row a vote", fastchat_rows_point),
        ("arena-rank (with its sandwich interval)", arena_point),
    ],
    "two-way": [
        ("ours, two-way", ours_two_way),
        ("choix in a loop, vote level", choix_vote),
        ("FastChat's method on a table, vote level", fastchat_vote),
    ],
    "vote": [
        ("ours, vote level", ours_vote),
        ("choix in a loop, vote level", choix_vote),
        ("FastChat's method on a table, vote level", fastchat_vote),
    ],
    "memory": [
        ("ours, point", ours_point),
        ("ours, two-way", ours_two_way),
        ("FastChat's method on a table, point", fastchat_point),
        ("evalica, point", evalica_point),
    ],
}


def worker(task: str, name: str, path: str, repeats: int) -> None:
    """Runs in a fresh process: prints seconds (best of `repeats`) and peak memory as JSON."""
    maker = dict(TASKS[task])[name]
    work = maker(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("RESULT " + json.dumps({"seconds": min(times), "all": times, "peak_mib": peak, "before_mib": before}))


def measure(task: str, name: str, path: Path, *, limit: float) -> dict[str, Any]:
    """One peer on one task: a fresh process, three repeats where they are short."""
    slow = task == "memory" or name.startswith(("choix in", "FastChat's method on a table, v"))
    repeats = 1 if slow else 3
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
        n = "10M" if task == "memory" else "1M"
        lines += [f"## {task} ({n} votes, {ARMS} arms)", ""]
        lines += ["| | seconds | peak MiB | times ours |", "|---|---|---|---|"]
        for name, row in rows.items():
            if "failed" in row:
                lines.append(f"| {name} | failed: {row['failed']} | | |")
                continue
            ratio = f"{row['seconds'] / ours:.1f}" if ours else ""
            lines.append(f"| {name} | {row['seconds']:.3f} | {row['peak_mib']:.0f} | {ratio} |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Measure the chosen tasks, keep the others as they were, print and write."""
    if len(sys.argv) > 1 and sys.argv[1] == "--worker":
        worker(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
        return 0
    if len(sys.argv) > 1 and sys.argv[1] == "--write":
        write_votes(Path(sys.argv[2]), int(sys.argv[3]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--only", default="", help="only peers whose name starts so")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds a peer may take")
    args = parser.parse_args()
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    target = results / "analysis_speed.json"
    record: dict[str, Any] = {"machine": cpu(), "versions": versions(), "tasks": {}}
    if target.exists():
        earlier = json.loads(target.read_text(encoding="utf-8"))
        if (earlier["machine"], earlier["versions"]) == (record["machine"], record["versions"]):
            record["tasks"] = earlier["tasks"]
    with tempfile.TemporaryDirectory() as folder:
        for task in args.tasks.split(","):
            n = 10_000_000 if task == "memory" else 1_000_000
            path = Path(folder) / f"votes{n}.parquet"
            if not path.exists():
                # In a process of its own: a child's peak memory starts at that of the process which started it.
                subprocess.run([sys.executable, __file__, "--write", str(path), str(n)], check=True)
            for name, _ in TASKS[task]:
                if name.startswith(args.only):
                    found = measure(task, name, path, limit=args.limit)
                    record["tasks"].setdefault(task, {})[name] = found
                    print(task, "|", name, "|", {k: v for k, v in found.items() if k != "all"}, flush=True)
    target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (results / "analysis_speed.md").write_text(render(record) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""How often 95 % intervals hold: simulated crossed studies with known truth, analysed by the project's own functions.

    python -m benchmarks.coverage                       all scenarios, 400 studies each; rewrites docs/coverage.md
    python -m benchmarks.coverage --only S1,T21         these only
    python -m benchmarks.coverage --studies 1000        600 studies more than the first: results are kept
    python -m benchmarks.coverage --studies 50 --no-write
    python -m benchmarks.coverage --only T1,T2 --results other.json --no-write        on another core or machine
    python -m benchmarks.coverage --join other.json     takes over the scenarios of which other.json has more studies

Interrupted, the same command resumes. Results of other code, settings or package versions are not continued but
replaced. Exit code 1 if the default leaves 93 to 97 %, or all pairs at once fall below 93 %, by more than two standard
errors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from analysis.stats import Estimate, EstimateSettings, NoEstimateError, VoteCounts, estimate, spread_of, uncertainty_of
from analysis.stats.results import IntervalKind
from benchmarks.crossed_studies import SCENARIOS, Array, Scenario, marginal_truth, simulate
from benchmarks.machine import machine

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "coverage.json"
ALTERNATIVES: tuple[IntervalKind, ...] = ("vote", "annotator", "prompt")
#: The files of analysis/stats in which an interval is made.
METHODS = (
    *("bootstrap", "bradley_terry", "contrasts", "covariance", "fit", "likelihood", "raw_rates", "refits"),
    *("simultaneous", "small_samples", "spread", "uncertainty"),
)
#: A record is saved after this many studies.
SAVE_EVERY = 25


def analyse(s: Scenario, number: int, *, resamples: int, seed: int) -> dict[str, float] | None:
    """Shares of intervals that hold in one study, by column; None without an estimate."""
    theta, rate = marginal_truth(s)
    first, second = np.triu_indices(s.arms, 1)
    truth = theta[first] - theta[second]
    counts = simulate(s, np.random.default_rng([seed, number]))
    try:
        result = estimate(counts, EstimateSettings(resamples=resamples, seed=number))
    except NoEstimateError:
        return None
    rows = result.pairwise
    low, high, low_all, high_all, p_holm, value = (
        np.array([getattr(row, name) for row in rows])
        for name in ("low", "high", "low_all", "high_all", "p_holm", "log_odds")
    )
    holds = (low <= truth) & (truth <= high)
    raw = [(row.raw.low, row.raw.high) for row in rows]
    raw_low, raw_high = np.array([[np.nan if bound is None else bound for bound in pair] for pair in raw]).T
    by_arm = {row.arm: row for row in result.strengths}
    order = [by_arm[arm] for arm in result.fit.arms]
    strengths = [(row.low <= x <= row.high) for row, x in zip(order, theta, strict=True)]
    wrong = (p_holm < 0.05) & (np.sign(value) * np.where(np.abs(truth) < 1e-9, 0.0, np.sign(truth)) <= 0)
    found = {
        "default": float(holds.mean()),
        "all pairs": float(np.all((low_all <= truth) & (truth <= high_all))),
        "raw rates": _share(raw_low, raw_high, rate[first, second]),
        "strengths": float(np.mean(strengths)),
        "ranks": float(_ranks_hold(result, theta)),
        "wrong by Holm": float(wrong.any()),
        "width": float((high - low).mean()),
    }
    if s.rare_people or s.rare_prompts:
        found["rare arm"] = float(holds[second == s.arms - 1].mean())
    return {**found, **_alternatives(counts, result, truth, ALTERNATIVES if s.name.startswith("S") else ("vote",))}


def _alternatives(
    counts: VoteCounts, result: Estimate, truth: Array, kinds: tuple[IntervalKind, ...]
) -> dict[str, float]:
    """The same contrasts with the analytic sandwich, and with what others call random."""
    first, second = np.triu_indices(counts.n_arms, 1)
    difference = result.fit.log_strengths[first] - result.fit.log_strengths[second]
    found: dict[str, float] = {}
    wanted: tuple[IntervalKind, ...] = ("two-way", *kinds)
    for kind in wanted:
        unc = uncertainty_of(result.fit, counts, intervals=kind, method="sandwich")
        half = spread_of(unc, first, second).half_width(0.95)
        found["sandwich" if kind == "two-way" else kind] = float((np.abs(difference - truth) <= half).mean())
        if kind == "vote":
            found["width by vote"] = float(2 * half.mean())
    return found


def _share(low: Array, high: Array, truth: Array) -> float:
    known = np.isfinite(low)
    return float(((low <= truth) & (truth <= high))[known].mean()) if known.any() else float("nan")


def _ranks_hold(result: Estimate, theta: Array) -> bool:
    by_arm = {row.arm: row for row in result.strengths}
    return all(
        by_arm[arm].rank_low <= 1 + (theta > value + 1e-9).sum()
        and by_arm[arm].rank_high >= len(theta) - (theta < value - 1e-9).sum()
        for arm, value in zip(result.fit.arms, theta, strict=True)
    )


def run_scenario(s: Scenario, record: dict[str, Any], args: argparse.Namespace, save: Any) -> None:
    """Bring the record of one scenario to `args.studies` studies."""
    started = time.process_time()
    for number in range(record.get("studies", 0), args.studies):
        found = analyse(s, number, resamples=args.resamples, seed=args.seed)
        record["studies"] = number + 1
        if found is None:
            record["no estimate"] = record.get("no estimate", 0) + 1
        for name, value in (found or {}).items():
            if np.isfinite(value):
                n, total, squares = record.setdefault("sums", {}).get(name, (0, 0.0, 0.0))
                record["sums"][name] = (n + 1, total + value, squares + value**2)
        if (number + 1) % SAVE_EVERY == 0 or number + 1 == args.studies:
            record["seconds"] = record.get("seconds", 0.0) + time.process_time() - started
            started = time.process_time()
            save()


def mean(record: dict[str, Any], name: str) -> float:
    """Mean of a column; not a number if no study has it."""
    n, total, _ = record.get("sums", {}).get(name, (0, 0.0, 0.0))
    return total / n if n else float("nan")


def error(record: dict[str, Any], name: str) -> float:
    """Standard error of the mean of a column."""
    n, total, squares = record["sums"][name]
    return float(np.sqrt(max(squares / n - (total / n) ** 2, 0.0) / n))


def table(records: dict[str, Any]) -> str:
    """Markdown table, one line for each scenario."""
    head = ["scenario", "sa", "sp", "careless", "people", "prompts", "votes each", "arms", "vote", "annotator"]
    head += [
        "prompt",
        "sandwich",
        "**default**",
        "± (s.e.)",
        "width / vote-level",
        "rare arm",
        "strengths",
        "raw rates",
    ]
    head += ["all pairs at once", "± (s.e.)", "all ranks", "wrong by Holm", "studies"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for s in SCENARIOS:
        r = records.get(s.name)
        if r is None or "sums" not in r:
            continue
        cells = [f"{s.name} {s.words}".strip(), f"{s.sa:g}", f"{s.sp:g}", f"{s.careless:g}"]
        cells += [str(n) for n in (s.annotators, s.prompts, s.votes_each, s.arms)]
        cells += [_cell(mean(r, name)) for name in ("vote", "annotator", "prompt", "sandwich")]
        cells += [f"**{mean(r, 'default'):.3f}**", _cell(error(r, "default"))]
        cells += [f"{mean(r, 'width') / mean(r, 'width by vote'):.2f}"]
        cells += [_cell(mean(r, name)) for name in ("rare arm", "strengths", "raw rates", "all pairs")]
        cells += [_cell(error(r, "all pairs")), *(_cell(mean(r, name)) for name in ("ranks", "wrong by Holm"))]
        missing = r.get("no estimate", 0)
        cells += [f"{r['studies']}" + (f" ({missing} without an estimate)" if missing else "")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def document(result: dict[str, Any]) -> str:
    """docs/coverage.md."""
    records, made, settings = result["scenarios"], result["machine"], result["settings"]
    packages = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    minutes = sum(r.get("seconds", 0.0) for r in records.values()) / 60
    studies = min(r["studies"] for r in records.values())
    options = f"--studies {studies} --resamples {settings['resamples']} --seed {settings['seed']}"
    command = f"python -m benchmarks.coverage {options}"
    return f"""# Which 95 % intervals hold: simulated studies

<!-- numbers: coverage.json, fixed -->
Made by `{command}`
in {minutes:.0f} minutes of one processor (Python {made["python"]}, {packages}, commit {made["commit"]}).
The sums behind all figures are in `benchmarks/results/coverage.json`.

<!-- numbers: fixed -->
Each line: simulated studies in which annotators and prompts are crossed. `sa`, `sp`: standard deviations (log-odds) of
each annotator's and each prompt's own taste for each arm; `careless`: share of coin tosses; annotators differ in tie
rate (5 to 35 %) and side preference (sd 0.2). The truth is the marginal win rate over infinitely many annotators and
prompts. S: the scenarios of the methods study; T: other truths; P: few prompts. S10, T3 and T4: loads from a lognormal
or a Pareto distribution (a few annotators give most votes). S11, T5: after the first batch two thirds (90 %) of the
pairs are drawn by closeness of the running strengths. T21 to T23: the last arm is shown only to five people or on five
prompts; "rare arm" is the coverage of its contrasts alone.

Figures are shares of intervals that cover, averaged over all pairs (win rates from the model); "raw rates" are the
intervals of the raw win rate of each pair; "all pairs at once" and "all ranks" are shares of studies in which every
interval holds; "wrong by Holm" is the share of studies in which some pair is significant after Holm's adjustment
although its arms are equal or the order is the other way round.

<!-- numbers: coverage.json, fixed -->
{table(records)}

**Default**: variance by annotator + by prompt - by both (bootstrap), never narrower than the vote-level interval
(`analysis/stats/spread.py`); every contrast with its own small-sample factor and t quantile
(`analysis/stats/small_samples.py`); "all pairs at once" by `analysis/stats/simultaneous.py`. "sandwich" is the same
without resampling. "vote" (sandwich, normal quantile) is what arena tools print; "annotator" and "prompt" are one-way
with t quantiles and the same floor.
"""


def fingerprint() -> str:
    """Changes with any line of the files that make the figures."""
    files = [ROOT / "analysis" / "stats" / f"{name}.py" for name in METHODS]
    files += [ROOT / "benchmarks" / name for name in ("coverage.py", "crossed_studies.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def load(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Results of an earlier run with the same code, settings and packages; otherwise none."""
    made = machine("numpy", "scipy", "polars")
    fresh: dict[str, Any] = {"machine": made, "settings": settings, "code": fingerprint(), "scenarios": {}}
    if not path.exists():
        return fresh
    earlier = json.loads(path.read_text(encoding="utf-8"))
    same = all(earlier.get(key) == fresh[key] for key in ("settings", "code"))
    same = same and earlier["machine"]["versions"] == made["versions"]
    return earlier if same else fresh


def studies_of(result: dict[str, Any], name: str) -> int:
    """How many studies a record has of a scenario."""
    return int(result["scenarios"].get(name, {}).get("studies", 0))


def main() -> int:
    """Run, print, write; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--only", default="", help="names of scenarios, separated by commas")
    parser.add_argument("--results", type=Path, default=RESULTS, help="record to resume and complete")
    parser.add_argument("--join", type=Path, action="append", default=[], help="records of other runs to take over")
    parser.add_argument("--no-write", action="store_true", help="leave docs/coverage.md as it is")
    args = parser.parse_args()
    chosen = [s for s in SCENARIOS if not args.only or s.name in args.only.split(",")]
    settings = {"resamples": args.resamples, "seed": args.seed}
    result = load(args.results, settings)
    for path in args.join:
        other = load(path, settings)["scenarios"]
        if not other:
            parser.error(f"{path} is missing, or of other code, settings or package versions; run it again")
        more = {name: one for name, one in other.items() if one["studies"] > studies_of(result, name)}
        result["scenarios"] |= more

    def save() -> None:
        args.results.parent.mkdir(exist_ok=True)
        part = args.results.with_suffix(".part")
        part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        part.replace(args.results)

    if args.join:
        save()
    for s in chosen:
        record = result["scenarios"].setdefault(s.name, {})
        run_scenario(s, record, args, save)
        shown = {name: round(mean(record, name), 3) for name in record["sums"]}
        print(s.name, s.words, record["studies"], shown, flush=True)
    if not args.no_write:
        (ROOT / "docs" / "coverage.md").write_text(document(result), encoding="utf-8")
    missed = [
        f"{name}: {column} {mean(r, column):.3f}"
        for name, r in result["scenarios"].items()
        for column, low, high in (("default", 0.93, 0.97), ("all pairs", 0.93, 1.0))
        if not low - 2 * error(r, column) <= mean(r, column) <= high + 2 * error(r, column)
    ]
    if missed:
        print("Outside the goal:", "; ".join(missed), file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())

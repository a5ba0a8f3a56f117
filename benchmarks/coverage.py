"""How often 95 % intervals hold: simulated crossed studies with known truth, analysed by the project's own functions.

    python benchmarks/coverage.py                         all scenarios, 400 studies each; rewrites docs/coverage.md
    python benchmarks/coverage.py --only S1,S4            these again, the other lines as they were
    python benchmarks/coverage.py --studies 100 --no-write

Columns: share of studies whose interval covers the truth, averaged over all pairs of arms (win-rate intervals from the
model), for the default and for the usual alternatives; then the default's strengths, raw rates and all pairs at once.
The script fails (exit 1) if the default leaves 93 to 97 % in a scenario.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.stats import EstimateSettings, NoEstimateError, estimate, spread_of, uncertainty_of
from benchmarks.crossed_studies import SCENARIOS, Scenario, marginal_truth, simulate

ROOT = Path(__file__).resolve().parent.parent
ALTERNATIVES: tuple[Literal["vote", "annotator", "prompt"], ...] = ("vote", "annotator", "prompt")
COLUMNS = (*ALTERNATIVES, "percentile", "sandwich", "default", "strengths", "raw rates", "all pairs", "ranks")


def run_scenario(s: Scenario, *, studies: int, resamples: int, seed: int) -> dict[str, float]:
    """Coverage by column, mean width of default and vote-level intervals relative to each other, failures, seconds."""
    theta, rate = marginal_truth(s)
    first, second = np.triu_indices(s.arms, 1)
    truth, true_rate = theta[first] - theta[second], rate[first, second]
    hits: dict[str, list[float]] = {name: [] for name in COLUMNS}
    widths: dict[str, list[float]] = {"default": [], "vote": []}
    failures = 0
    started = time.perf_counter()
    for number in range(studies):
        counts = simulate(s, np.random.default_rng([seed, number]))
        try:
            result = estimate(counts, EstimateSettings(resamples=resamples, seed=number))
        except NoEstimateError:
            failures += 1
            continue
        rows = result.pairwise
        low, high = (np.array([getattr(row, side) for row in rows]) for side in ("low", "high"))
        low_all, high_all = (np.array([getattr(row, side) for row in rows]) for side in ("low_all", "high_all"))
        hits["default"].append(_share(low, high, truth))
        hits["all pairs"].append(float(np.all((low_all <= truth) & (truth <= high_all))))
        hits["raw rates"].append(
            _share(
                np.array([np.nan if row.raw.low is None else row.raw.low for row in rows]),
                np.array([np.nan if row.raw.high is None else row.raw.high for row in rows]),
                true_rate,
            )
        )
        by_arm = {row.arm: row for row in result.strengths}
        order = [by_arm[arm] for arm in result.fit.arms]
        strengths_low, strengths_high = (np.array([getattr(row, side) for row in order]) for side in ("low", "high"))
        hits["strengths"].append(_share(strengths_low, strengths_high, theta))
        hits["ranks"].append(float(_ranks_hold(order, theta)))
        widths["default"].append(float((high - low).mean()))
        fit = result.fit
        difference = fit.log_strengths[first] - fit.log_strengths[second]
        kinds: tuple[Literal["two-way", "vote", "annotator", "prompt"], ...] = ("two-way", *ALTERNATIVES)
        for kind in kinds:
            unc = uncertainty_of(fit, counts, intervals=kind, method="sandwich")
            half = spread_of(unc, first, second).half_width(0.95)
            hits["sandwich" if kind == "two-way" else kind].append(_share(difference - half, difference + half, truth))
            if kind == "vote":
                widths["vote"].append(float(2 * half.mean()))
        # As arena tools do it: resampled votes and percentiles.
        unc = uncertainty_of(fit, counts, intervals="vote", resamples=resamples, seed=number)
        assert unc.draws is not None, "resampling keeps its draws"
        draws = unc.draws[:, first] - unc.draws[:, second]
        draws_low, draws_high = np.quantile(draws, [0.025, 0.975], axis=0)
        hits["percentile"].append(_share(draws_low, draws_high, truth))
    out = {name: float(np.mean(values)) for name, values in hits.items()}
    out["error of default"] = float(np.std(hits["default"]) / np.sqrt(len(hits["default"])))
    out["relative width"] = float(np.mean(widths["default"]) / np.mean(widths["vote"]))
    out["no estimate"] = failures
    out["seconds"] = time.perf_counter() - started
    return out


def _share(low: NDArray[np.float64], high: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    known = np.isfinite(low)
    return float(((low <= truth) & (truth <= high))[known].mean())


def _ranks_hold(rows, theta: NDArray[np.float64]) -> bool:  # type: ignore[no-untyped-def]
    return all(
        row.rank_low <= 1 + (theta > value + 1e-9).sum() and row.rank_high >= len(theta) - (theta < value - 1e-9).sum()
        for row, value in zip(rows, theta, strict=True)
    )


def table(results: dict[str, dict[str, float]], scenarios: dict[str, Scenario]) -> str:
    """Markdown table, one row per scenario."""
    head = ["scenario", "sa", "sp", "careless", "annotators", "prompts", "votes each", "vote", "vote, percentile"]
    head += ["annotator", "prompt", "two-way sandwich", "**default**", "± (s.e.)", "width / vote-level"]
    head += ["strengths", "raw rates", "all pairs at once", "all ranks"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, r in results.items():
        s = scenarios[name]
        cells = [name, f"{s.sa:g}", f"{s.sp:g}", f"{s.careless:g}"]
        cells += [str(s.annotators), str(s.prompts), str(s.votes_each)]
        cells += [f"{r[column]:.3f}" for column in ("vote", "percentile", "annotator", "prompt", "sandwich")]
        cells += [f"**{r['default']:.3f}**", f"{r['error of default']:.3f}", f"{r['relative width']:.2f}"]
        cells += [f"{r[column]:.3f}" for column in ("strengths", "raw rates", "all pairs", "ranks")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def machine() -> str:
    """Processor, system and versions, for the provenance line."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "polars"))
    return f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, {packages}"


def document(results: dict[str, dict[str, float]], args: argparse.Namespace) -> str:
    """docs/coverage.md."""
    seconds = sum(r["seconds"] for r in results.values())
    return f"""# Which 95 % intervals hold: simulated studies

Made by `python benchmarks/coverage.py --studies {args.studies} --resamples {args.resamples} --seed {args.seed}`
in {seconds / 60:.1f} minutes on one core ({machine()}).

Each row is one scenario: {args.studies} simulated studies with 8 arms, pairs of arms drawn at random, annotators and
prompts crossed. `sa` and `sp` are the standard deviations (log-odds) of each annotator's and each prompt's own taste
for each arm; `careless` is the share of votes that are coin tosses. Annotators differ in tie rate (5 to 35 %) and
side preference (sd 0.2). The truth is the marginal win rate over infinitely many annotators and prompts. In S10 the
number of votes per annotator is lognormal (most give few votes, some very many). In S11, after a tenth of the votes,
two thirds of the pairs are drawn by how close the running strengths are.

Figures are shares of intervals that cover, averaged over the 28 pairs (win rates from the model). "raw rates" are the
intervals of the raw win rate of each pair. "all pairs at once" and "all ranks" are shares of studies in which every
interval covers.

{table(results, {s.name: s for s in SCENARIOS})}

**Default** is variance by annotator + by prompt - by both (bootstrap), with a t quantile of min(clusters) - 1 degrees
of freedom. Clusters of unequal size count as their effective number (Kish; the 40 annotators of S10 count as about
18). The interval is never narrower than the vote-level one (`analysis/stats/spread.py`). "two-way sandwich" is the
same without resampling. "vote" (sandwich, normal quantile) and "vote, percentile" (bootstrap) are what arena tools
print. "annotator" and "prompt" are one-way intervals with t quantiles and the same floor.
"""


def kept(path: Path, record: dict[str, object]) -> dict[str, dict[str, float]]:
    """Results of an earlier run with the same settings on the same machine, to be completed or replaced."""
    if not path.exists():
        return {}
    earlier = json.loads(path.read_text(encoding="utf-8"))
    scenarios = earlier.pop("scenarios")
    return scenarios if earlier == record else {}


def main() -> int:
    """Run, print, write; 1 if the default leaves 93 to 97 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--only", default="", help="names of scenarios, separated by commas")
    parser.add_argument("--no-write", action="store_true")
    args = parser.parse_args()
    chosen = [s for s in SCENARIOS if not args.only or s.name.split()[0] in args.only.split(",")]
    folder = ROOT / "benchmarks" / "results"
    record = {"machine": machine(), "studies": args.studies, "resamples": args.resamples, "seed": args.seed}
    results = kept(folder / "coverage.json", record)
    for s in chosen:
        results[s.name] = run_scenario(s, studies=args.studies, resamples=args.resamples, seed=args.seed)
        shown = {key: round(value, 3) for key, value in results[s.name].items()}
        print(s.name, shown, flush=True)
    print(table(results, {s.name: s for s in SCENARIOS}))
    if not args.no_write:
        results = {s.name: results[s.name] for s in SCENARIOS if s.name in results}
        (ROOT / "docs" / "coverage.md").write_text(document(results, args), encoding="utf-8")
        folder.mkdir(exist_ok=True)
        text = json.dumps({**record, "scenarios": results}, indent=1)
        (folder / "coverage.json").write_text(text + "\n", encoding="utf-8")
    outside = [name for name, r in results.items() if not 0.93 <= r["default"] <= 0.97]
    if outside:
        print(f"The default leaves 93 to 97 % in: {', '.join(outside)}", file=sys.stderr)
    return 1 if outside else 0


if __name__ == "__main__":
    raise SystemExit(main())

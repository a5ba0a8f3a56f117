"""What a metric adds to votes: coverage and gain of `analysis.stats.metric_assisted` in simulated studies.

    python benchmarks/metric_assisted.py --studies 200       writes benchmarks/results/metric_assisted.{json,md}

Setting H1 of benchmarks/human_hours.py (a baseline and seven variants, even pairs). The metric of arm k on prompt p
goes with the prompt's taste v_pk: r v_pk + sqrt(1 - r^2) noise, all of it times an arbitrary factor and moved by an
arbitrary number for each arm, so that its own ranking of the arms is wrong. It is known for the voted prompts and for M
more.

Gates: coverage of the seven contrasts from 93 to 97 % for every r, also 0, and with heavy tails. All is simulated.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.stats.metric_assisted import CodedVotes, assisted_contrasts
from benchmarks.human_hours import ARMS, CARELESS, SD, WIN_RATES, Array, strengths
from benchmarks.machine import machine
from benchmarks.publishing import publish, studies_parser

COVERAGE = (0.93, 0.97)


@dataclass(frozen=True)
class Case:
    """People, prompts with votes and without, votes of each person, r; `heavy`: noise of the metric from t(2.5)."""

    prompts: int
    r: float
    people: int = 200
    others: int = 5000
    each: int = 51
    heavy: bool = False


CASES = (
    *(Case(prompts, r) for prompts in (30, 100, 300) for r in (0.0, 0.5, 0.9)),
    Case(100, 0.5, heavy=True),
    Case(100, 0.9, people=40),
    Case(100, 0.9, others=100),
)


def study(case: Case, seed: int) -> tuple[CodedVotes, Array, Array]:
    """Votes, and the metric of the voted and of the other prompts."""
    rng = np.random.default_rng([seed, CASES.index(case)])
    u, v = rng.normal(0, SD, (case.people, 8)), rng.normal(0, SD, (case.prompts + case.others, 8))
    noise = rng.standard_t(2.5, v.shape) if case.heavy else rng.normal(size=v.shape)
    metric = (case.r * v + np.sqrt(1 - case.r**2) * SD * noise) * 7 + rng.normal(0, 20, 8)
    careless = rng.random(case.people) < CARELESS
    n = case.people * case.each
    annotator, prompt = np.repeat(np.arange(case.people), case.each), rng.integers(0, case.prompts, n)
    worth = strengths() + u[annotator] + v[prompt]
    worth[careless[annotator]] = 0.0
    i, j = np.triu_indices(8, 1)
    pair, swapped = rng.integers(0, 28, n), rng.random(n) < 0.5
    left, right = np.where(swapped, j[pair], i[pair]), np.where(swapped, i[pair], j[pair])
    rows = np.arange(n)
    outcome = np.where(rng.random(n) < expit(worth[rows, left] - worth[rows, right]), 0, 1)
    return CodedVotes(left, right, outcome, annotator, prompt), metric[: case.prompts], metric[case.prompts :]


def run(case: Case, studies: int) -> dict[str, Any]:
    """Coverage without and with the metric, and by how much the variance falls."""
    truth = np.array(WIN_RATES)
    plain, assisted, times = [], [], []
    for seed in range(studies):
        found = assisted_contrasts(*_arguments(*study(case, seed)))
        plain.append([row.low <= t <= row.high for row, t in zip(found, truth, strict=True)])
        assisted.append([row.low_assisted <= t <= row.high_assisted for row, t in zip(found, truth, strict=True)])
        times.append([row.times for row in found])
    covered = np.mean(assisted, axis=1)
    return {
        **asdict(case),
        "studies": studies,
        "coverage_plain": float(np.mean(plain)),
        "coverage": float(covered.mean()),
        "coverage_se": float(covered.std(ddof=1) / np.sqrt(studies)),
        "times": float(np.exp(np.mean(np.log(times)))),
        "passes": bool(COVERAGE[0] <= covered.mean() <= COVERAGE[1]),
    }


def _arguments(votes: CodedVotes, voted: Array, others: Array) -> tuple[Any, ...]:
    return votes, ARMS, 0, voted, others


def render(record: dict[str, Any]) -> str:
    """Markdown, with how it was made."""
    where = record["machine"]
    lines = [
        "# What a metric adds to votes",
        "",
        f"Made by `python benchmarks/metric_assisted.py --studies {record['studies']}` (commit {where['commit']}, "
        f"Python {where['python']}, numpy {where['versions']['numpy']}). Simulated people and a simulated metric.",
        "",
        "| people | prompts | more prompts | r | coverage without | with (s.e.) | variance without over with |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in record["cases"]:
        tail = ", heavy tails" if row["heavy"] else ""
        lines.append(
            f"| {row['people']} | {row['prompts']} | {row['others']:,} | {row['r']}{tail} "
            f"| {row['coverage_plain']:.3f} | {row['coverage']:.3f} ({row['coverage_se']:.3f}) | {row['times']:.2f} |"
        )
    failed = sum(not row["passes"] for row in record["cases"])
    lines += ["", f"Gate (coverage 93 to 97 %): {f'missed in {failed} rows' if failed else 'met in every row'}."]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run, print, write; exit code 1 if the gate is missed."""
    parser = studies_parser(__doc__)
    args = parser.parse_args()
    record: dict[str, Any] = {
        "machine": machine("numpy", "scipy"),
        "studies": args.studies,
        "cases": [run(case, args.studies) for case in CASES],
    }
    text = render(record)
    publish(args.results, "metric_assisted", record, text)
    return 0 if all(row["passes"] for row in record["cases"]) else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""What a person's hour buys: designs of a study compared at equal person-time, in simulated studies.

    python benchmarks/human_hours.py --studies 200        writes benchmarks/results/human_hours.{json,md}

Setting H1: a baseline and seven variants with win rates .500 to .646 against it, tastes of annotators and prompts with
sd .5 (log-odds, each arm), 5 % careless people, no ties. A vote takes 8 s, a ranking of four pictures 24 s or 12 s, and
bringing one person in 180 s. All designs spend the same person-time with the same people on the same prompts:

  even pairs       28 pairs alike, Bradley-Terry; the reference
  raw rates        the same votes; only those of a pair count for its win rate
  baseline only    seven pairs
  mixed            pairs without the baseline a quarter as often
  rankings         the baseline and three variants ranked at once; every two of the four are a vote, clustered by
                   annotator and by prompt

The quantity is the half-width h of a variant's 95 % interval against the baseline (win rate, two-way). From
h^2 = q (1/A + 1/P) + c/N with q of `qsched.planning` follow c and the least hours for +-3 points (as in `least_time`);
the ratio to even pairs is paired by study (same people, same prompts), with an interval from resampled studies.

Gates: coverage of the variants' intervals from 93 to 97 %, wrong claims (an interval on the wrong side of an even rate)
in at most 3 % of contrasts. Everything here is simulated: it says what a design can do if people are as assumed.
Dropping decided arms while the study runs is in benchmarks/dropping.py.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.stats import EstimateSettings, VoteCounts, count_codes, estimate, raw_pairs
from benchmarks.machine import machine
from benchmarks.publishing import publish, studies_parser
from qsched.planning import StudyPlan, variance_law, vote_moments

Array: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int64]
Design = Literal["even", "baseline", "mixed", "rankings"]

WIN_RATES = (0.512, 0.525, 0.537, 0.550, 0.574, 0.646, 0.500)
ARMS = tuple(f"arm{number}" for number in range(8))  # the baseline first
SD, CARELESS, ARRIVAL, PAIR_SECONDS, WANTED = 0.5, 0.05, 180.0, 8.0, 0.03
COVERAGE, WRONG = (0.93, 0.97), 0.03


@dataclass(frozen=True)
class Way:
    """A design, how its votes are counted, and the seconds of one task."""

    name: str
    design: Design
    seconds: float = PAIR_SECONDS
    raw: bool = False
    votes_per_task: int = 1


WAYS = (
    Way("even pairs", "even"),
    Way("even pairs, raw rates", "even", raw=True),
    Way("baseline only", "baseline"),
    Way("mixed", "mixed"),
    Way("rankings of four, 24 s", "rankings", seconds=24.0, votes_per_task=6),
    Way("rankings of four, 12 s", "rankings", seconds=12.0, votes_per_task=6),
)


@dataclass(frozen=True)
class Outcome:
    """Of one study: squared half-widths, coverage and wrong claims of the seven contrasts; tasks in all."""

    squares: Array
    covered: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    tasks: int


def strengths(win_rates: tuple[float, ...] = WIN_RATES) -> Array:
    """Log-odds at which careful people prefer a variant to the baseline at its win rate; the baseline is 0."""
    rates = [(rate - 0.5) / (1 - CARELESS) + 0.5 for rate in win_rates]
    tastes = {"tie_rate": 0.0, "annotator_sd": SD, "prompt_sd": SD}
    return np.array([0.0, *(vote_moments(rate, **tastes).log_odds for rate in rates)])


def draw(way: Way, *, people: int, prompts: int, tasks_each: int, seed: int) -> VoteCounts:
    """One study. The people and prompts of a seed are the same in every design."""
    who = np.random.default_rng([seed, 0])
    u, v = who.normal(0, SD, (people, 8)), who.normal(0, SD, (prompts, 8))
    careless = who.random(people) < CARELESS
    rng = np.random.default_rng([seed, 1, WAYS.index(way)])
    n = people * tasks_each
    annotator, prompt = np.repeat(np.arange(people), tasks_each), rng.integers(0, prompts, n)
    worth = strengths() + u[annotator] + v[prompt]
    worth[careless[annotator]] = 0.0
    if way.design == "rankings":
        return _rankings(worth, annotator, prompt, rng)
    first, second = _pairs(way.design, n, rng)
    rows = np.arange(n)
    left_wins = rng.random(n) < expit(worth[rows, first] - worth[rows, second])
    outcome = np.where(left_wins, 0, 1)
    return count_codes(first, second, outcome, arms=ARMS, annotator=annotator, prompt=prompt)


def _pairs(design: Design, n: int, rng: np.random.Generator) -> tuple[Codes, Codes]:
    i, j = np.triu_indices(8, 1)
    weight = np.ones(28)
    if design == "baseline":
        weight = (i == 0).astype(np.float64)
    elif design == "mixed":
        weight = np.where(i == 0, 1.0, 0.25)
    pair = rng.choice(28, size=n, p=weight / weight.sum())
    swapped = rng.random(n) < 0.5
    return np.where(swapped, j[pair], i[pair]), np.where(swapped, i[pair], j[pair])


def _rankings(worth: Array, annotator: Codes, prompt: Codes, rng: np.random.Generator) -> VoteCounts:
    """Rankings of the baseline and three variants: worth plus Gumbel noise (Plackett-Luce), as six votes each."""
    n = len(worth)
    three = rng.random((n, 7)).argsort(axis=1)[:, :3] + 1
    shown = np.column_stack([np.zeros(n, dtype=np.int64), three])
    perceived = np.take_along_axis(worth, shown, axis=1) + rng.gumbel(size=(n, 4))
    a, b = np.triu_indices(4, 1)
    left, right = shown[:, a].ravel(), shown[:, b].ravel()
    outcome = np.where(perceived[:, a] > perceived[:, b], 0, 1).ravel()
    return count_codes(left, right, outcome, arms=ARMS, annotator=np.repeat(annotator, 6), prompt=np.repeat(prompt, 6))


def judge(way: Way, counts: VoteCounts, tasks: int) -> Outcome:
    """The seven contrasts with the baseline, from the report's own estimator (sandwich) or from raw rates."""
    low, high = np.zeros(7), np.zeros(7)
    if way.raw:
        for row in raw_pairs(counts):
            if row.arm_a == ARMS[0] and row.low is not None and row.high is not None:
                low[ARMS.index(row.arm_b) - 1], high[ARMS.index(row.arm_b) - 1] = 1 - row.high, 1 - row.low
    else:
        for pair in estimate(counts, EstimateSettings(method="sandwich")).pairwise:
            if pair.arm_a == ARMS[0]:
                at = ARMS.index(pair.arm_b) - 1
                low[at], high[at] = 1 - pair.win_probability_high, 1 - pair.win_probability_low
    truth = np.array(WIN_RATES)
    wrong = np.where(truth > 0.5, high < 0.5, (low > 0.5) | (high < 0.5))
    return Outcome(((high - low) / 2) ** 2, (low <= truth) & (truth <= high), wrong, tasks)


def run(*, studies: int, people: int, prompts: int, votes_each: int) -> dict[str, Any]:
    """Every design in the same studies; numbers by design."""
    outcomes: dict[str, list[Outcome]] = {way.name: [] for way in WAYS}
    for seed in range(studies):
        for way in WAYS:
            each = max(1, round(votes_each * PAIR_SECONDS / way.seconds))
            counts = draw(way, people=people, prompts=prompts, tasks_each=each, seed=seed)
            outcomes[way.name].append(judge(way, counts, people * each))
    law = variance_law(StudyPlan(annotators=2, prompts=2, votes_per_pair=1, tie_rate=0.0, adjust="none"), 0.5)
    q = 1.96**2 * law.by_people / 16 * (1 - CARELESS) ** 2
    found = {way.name: _summary(way, outcomes[way.name], q, people, prompts) for way in WAYS}
    reference = outcomes[WAYS[0].name]
    for way in WAYS:
        found[way.name] |= _ratio(way, outcomes[way.name], reference, q, people, prompts)
    return found


def _summary(way: Way, outcomes: list[Outcome], q: float, people: int, prompts: int) -> dict[str, Any]:
    squares = np.array([each.squares.mean() for each in outcomes])
    covered = np.array([each.covered.mean() for each in outcomes])
    wrong = np.array([each.wrong.mean() for each in outcomes])
    hours = (people * ARRIVAL + outcomes[0].tasks * way.seconds) / 3600
    return {
        "tasks": outcomes[0].tasks,
        "hours": hours,
        "half_width": math.sqrt(float(squares.mean())),
        "coverage": float(covered.mean()),
        "coverage_se": float(covered.std(ddof=1) / math.sqrt(len(covered))),
        "wrong": float(wrong.mean()),
        "c": _c(squares, outcomes[0].tasks, q, people, prompts),
        "hours_for_3_points": _hours(way, squares, outcomes[0].tasks, q, people, prompts),
        "passes": bool(COVERAGE[0] <= covered.mean() <= COVERAGE[1] and wrong.mean() <= WRONG),
    }


def _c(squares: Array, tasks: int, q: float, people: int, prompts: int) -> float:
    return tasks * (float(squares.mean()) - q * (1 / people + 1 / prompts))


def _hours(way: Way, squares: Array, tasks: int, q: float, people: int, prompts: int) -> float:
    """Least person-time for the wanted half-width on these prompts (STATS: T_min)."""
    c = max(_c(squares, tasks, q, people, prompts), 0.0)
    return (math.sqrt(q * ARRIVAL) + math.sqrt(c * way.seconds)) ** 2 / (WANTED**2 - q / prompts) / 3600


def _ratio(
    way: Way, outcomes: list[Outcome], reference: list[Outcome], q: float, people: int, prompts: int
) -> dict[str, float]:
    """Hours of even pairs over those of this design, with a 95 % interval over resampled studies."""
    rng = np.random.default_rng(11)
    own = np.array([each.squares.mean() for each in outcomes])
    theirs = np.array([each.squares.mean() for each in reference])

    def ratio(rows: Codes) -> float:
        mine = _hours(way, own[rows], outcomes[0].tasks, q, people, prompts)
        return _hours(WAYS[0], theirs[rows], reference[0].tasks, q, people, prompts) / mine

    draws = [ratio(rng.integers(0, len(own), len(own))) for _ in range(1000)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"times": ratio(np.arange(len(own))), "times_low": float(low), "times_high": float(high)}


def render(record: dict[str, Any]) -> str:
    """Markdown, with how it was made."""
    asked, where = record["asked"], record["machine"]
    lines = [
        "# What a person's hour buys",
        "",
        f"Made by `python benchmarks/human_hours.py --studies {asked['studies']}` (commit {where['commit']}, Python "
        f"{where['python']}, numpy {where['versions']['numpy']}). Simulated people; its first lines describe the "
        "setting.",
        f"{asked['people']} people, {asked['prompts']} prompts, {asked['votes_each']} pair votes of each person or the "
        "same time in rankings.",
        "",
        "| design | hours | tasks | half-width, points | coverage (s.e.) | wrong | hours for ±3 | even pairs over it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in record["designs"].items():
        lines.append(
            f"| {name} | {row['hours']:.1f} | {row['tasks']:,} | {100 * row['half_width']:.2f} | {row['coverage']:.3f} "
            f"({row['coverage_se']:.3f}) | {row['wrong']:.3f} | {row['hours_for_3_points']:.1f} | {row['times']:.2f} "
            f"({row['times_low']:.2f} to {row['times_high']:.2f}) |"
        )
    failed = [name for name, row in record["designs"].items() if not row["passes"]]
    verdict = f"missed by {', '.join(failed)}" if failed else "all met"
    lines += ["", f"Gates (coverage 93 to 97 %, wrong claims at most 3 %): {verdict}."]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run, print, write; exit code 1 if a gate is missed."""
    parser = studies_parser(__doc__)
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--votes-each", type=int, default=51)
    args = parser.parse_args()
    asked = {name: getattr(args, name) for name in ("studies", "people", "prompts", "votes_each")}
    record: dict[str, Any] = {
        "machine": machine("numpy", "scipy", "polars"),
        "asked": asked,
        "ways": [asdict(way) for way in WAYS],
        "designs": run(**asked),
    }
    text = render(record)
    publish(args.results, "human_hours", record, text)
    return 0 if all(row["passes"] for row in record["designs"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())

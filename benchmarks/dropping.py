"""What dropping decided arms saves: simulated studies that are looked at by the code of `qsched study look`.

    python benchmarks/dropping.py --studies 100        writes benchmarks/results/dropping.{json,md}

The people, tastes and win rates are those of benchmarks/human_hours.py (setting H1), on 3,000 prompts. Seven variants
are decided against a baseline (better, worse, equivalent within 3 points) with level .05 for all together, by people
who give 20 votes each:

  fixed           28 pairs alike, one analysis at the end with level .05/7 for each arm: the reference
  pairs           pairs without the baseline a quarter as often; 18 looks, horizon 18,000 votes of each arm;
                  group-sequential bounds; decided arms are dropped
  anytime         the same with the anytime bounds, which need no horizon
  rankings        the baseline and three open variants ranked at once (six votes each), five rankings of each person

Two truths: H1, and borders (half of the arms at .500, where better and worse are wrong; half at .530, where equivalent
and worse are). Gates: a wrong claim in at most 3 % of the studies of each truth, and the bounds with which the arms
ended hold for all seven together in at least 95 %, each within two standard errors.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.stats import VoteCounts, count_codes
from analysis.stats.stopping import look_at_arms
from benchmarks.human_hours import ARMS, CARELESS, PAIR_SECONDS, RESULTS, SD, WIN_RATES, strengths
from benchmarks.machine import machine
from qsched.files import write_atomic
from qsched.records.stopping import ArmLook, StoppingRule

Array: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int64]
Design = Literal["fixed", "pairs", "rankings"]

BORDERS = (0.500, 0.530, 0.500, 0.530, 0.500, 0.530, 0.500)
MARGIN, LEVEL, ARRIVAL, MOST_WRONG = 0.03, 0.05, 180.0, 0.03
#: Hours of votes of the fixed design that are tried, each by itself.
FIXED_HOURS = (60, 80, 100, 120, 140, 170, 200)
#: How many people come before the votes are counted again.
PEOPLE_AT_ONCE = 4


@dataclass(frozen=True)
class Way:
    """A design with dropping: its rule, and the tasks that one person does, each of so many seconds."""

    name: str
    design: Design
    rule: StoppingRule
    tasks_each: int = 20
    seconds: float = PAIR_SECONDS
    votes_per_task: int = 1


def _rule(**more: Any) -> StoppingRule:
    return StoppingRule(baseline=ARMS[0], margin=MARGIN, level=LEVEL, **{"looks": 18, "horizon": 18_000, **more})


WAYS = (
    Way("pairs", "pairs", _rule()),
    Way("anytime", "pairs", _rule(bounds="anytime")),
    Way("rankings", "rankings", _rule(horizon=30_000), tasks_each=5, seconds=24.0, votes_per_task=6),
)


@dataclass(frozen=True)
class Votes:
    """Rows of votes: people, prompts, the two arms, and whether the first was preferred."""

    person: Codes
    prompt: Codes
    first: Codes
    second: Codes
    first_wins: NDArray[np.bool_]

    def counts(self) -> VoteCounts:
        """For the analysis."""
        outcome = np.where(self.first_wins, 0, 1)
        return count_codes(self.first, self.second, outcome, arms=ARMS, annotator=self.person, prompt=self.prompt)


class People:
    """Draws the votes of one study, person after person."""

    def __init__(self, rates: tuple[float, ...], *, prompts: int, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 77])
        self._worth = strengths(rates)
        self._prompts = self._rng.normal(0, SD, (prompts, 8))
        self._came = 0

    def vote(self, way: Way, undecided: list[int], people: int) -> Votes:
        """The votes of the next people on the arms that are still asked about."""
        rng, n = self._rng, people * way.tasks_each
        person = np.repeat(np.arange(people), way.tasks_each)
        prompt = rng.integers(0, len(self._prompts), n)
        worth = self._worth + rng.normal(0, SD, (people, 8))[person] + self._prompts[prompt]
        worth[(rng.random(people) < CARELESS)[person]] = 0.0
        person += self._came
        self._came += people
        if way.design == "rankings":
            return _ranked(worth, person, prompt, undecided, rng)
        i, j = np.triu_indices(8, 1)
        asked = [0, *undecided]
        weight = np.where(i == 0, 1.0, 1.0 if way.design == "fixed" else 0.25)
        weight *= np.isin(i, asked) & np.isin(j, asked)
        pair = rng.choice(28, size=n, p=weight / weight.sum())
        swapped = rng.random(n) < 0.5
        first, second = np.where(swapped, j[pair], i[pair]), np.where(swapped, i[pair], j[pair])
        rows = np.arange(n)
        wins = rng.random(n) < expit(worth[rows, first] - worth[rows, second])
        return Votes(person, prompt, first, second, wins)


def _ranked(worth: Array, person: Codes, prompt: Codes, undecided: list[int], rng: np.random.Generator) -> Votes:
    """The baseline and up to three open arms, ranked by worth plus Gumbel noise (Plackett-Luce)."""
    n, shown = len(worth), min(3, len(undecided))
    order = rng.random((n, len(undecided))).argsort(axis=1)[:, :shown]
    arms = np.column_stack([np.zeros(n, dtype=np.int64), np.array(undecided)[order]])
    seen = np.take_along_axis(worth, arms, axis=1) + rng.gumbel(size=arms.shape)
    a, b = np.triu_indices(shown + 1, 1)
    wins = (seen[:, a] > seen[:, b]).ravel()
    return Votes(np.repeat(person, len(a)), np.repeat(prompt, len(a)), arms[:, a].ravel(), arms[:, b].ravel(), wins)


def _joined(parts: list[Votes]) -> Votes:
    return Votes(*(np.concatenate([getattr(part, name) for part in parts]) for name in Votes.__dataclass_fields__))


def run_dropping(way: Way, rates: tuple[float, ...], *, prompts: int, seed: int) -> dict[str, Any]:
    """One study: votes, looks and drops until every arm is decided or the last look is over."""
    people, parts = People(rates, prompts=prompts, seed=seed), list[Votes]()
    undecided, came, shown_votes = list(range(1, 8)), 0, np.zeros(8)
    ended: dict[int, tuple[int, ArmLook]] = {}
    look = 0
    while undecided and look < (way.rule.last_look or 2 * way.rule.looks):
        look += 1
        while shown_votes[undecided].min() < way.rule.votes_at(look):
            part = people.vote(way, undecided, PEOPLE_AT_ONCE)
            parts.append(part)
            came += PEOPLE_AT_ONCE
            shown_votes += np.bincount(part.first, minlength=8) + np.bincount(part.second, minlength=8)
        parts = [_joined(parts)]
        found = look_at_arms(
            parts[0].counts(), way.rule, look=look, arms=7, undecided=tuple(ARMS[arm] for arm in undecided)
        )
        for one in found:
            ended[ARMS.index(one.arm)] = look, one
        undecided = [arm for arm in undecided if ended[arm][1].decision == "open"]
    return {
        "tasks": came * way.tasks_each,
        "people": came,
        "looks": look,
        "arms": [_judged(ended[arm][1], rates[arm - 1]) for arm in range(1, 8)],
    }


def run_fixed(rates: tuple[float, ...], *, prompts: int, seed: int) -> list[dict[str, Any]]:
    """One even study of each of FIXED_HOURS of votes, analysed once, level .05/7 each (the last of one look)."""
    way = Way("fixed", "fixed", _rule(looks=2))
    people, parts, found = People(rates, prompts=prompts, seed=seed), list[Votes](), []
    came = 0
    for hours in FIXED_HOURS:
        wanted = round(hours * 3600 / PAIR_SECONDS / way.tasks_each)
        parts = [_joined([*parts, people.vote(way, list(range(1, 8)), wanted - came)])]
        came = wanted
        # One look has the plain normal quantile; StoppingRule asks for two, so the level says it.
        once = way.rule.model_copy(update={"looks": 1})
        arms = look_at_arms(parts[0].counts(), once, look=1, arms=7, undecided=ARMS[1:])
        judged = [_judged(one, rate) for one, rate in zip(arms, rates, strict=True)]
        found.append({"hours": hours, "people": came, "arms": judged})
    return found


def _judged(one: ArmLook, rate: float) -> dict[str, Any]:
    low, high = one.low or 0.0, 1.0 if one.high is None else one.high
    wrong = {
        "open": False,
        "better": rate <= 0.5,
        "worse": rate >= 0.5,
        "equivalent": abs(rate - 0.5) >= MARGIN - 1e-9,
    }[one.decision]
    return {"decision": one.decision, "wrong": wrong, "covered": low <= rate <= high}


def summary(studies: list[dict[str, Any]], way: Way) -> dict[str, Any]:
    """Shares over studies, with what they cost."""
    n = len(studies)
    tasks = np.array([each["tasks"] for each in studies])
    people = np.array([each["people"] for each in studies])
    wrong = float(np.mean([any(arm["wrong"] for arm in each["arms"]) for each in studies]))
    together = float(np.mean([all(arm["covered"] for arm in each["arms"]) for each in studies]))
    return {
        "studies": n,
        "hours": float(tasks.mean() * way.seconds / 3600),
        "hours_se": float((tasks * way.seconds / 3600).std(ddof=1) / math.sqrt(n)),
        "hours_with_arrival": float((tasks * way.seconds + people * ARRIVAL).mean() / 3600),
        "hours_at_12_s": float(tasks.mean() * 12 / 3600) if way.design == "rankings" else None,
        "people": float(people.mean()),
        "looks": float(np.mean([each["looks"] for each in studies])),
        "decided": float(np.mean([arm["decision"] != "open" for each in studies for arm in each["arms"]])),
        "all_decided": float(np.mean([all(a["decision"] != "open" for a in each["arms"]) for each in studies])),
        "wrong": wrong,
        "covered": float(np.mean([arm["covered"] for each in studies for arm in each["arms"]])),
        "covered_together": together,
        "passes": wrong <= MOST_WRONG + 2 * math.sqrt(MOST_WRONG * (1 - MOST_WRONG) / n)
        and together >= 1 - LEVEL - 2 * math.sqrt(LEVEL * (1 - LEVEL) / n),
    }


def fixed_summary(studies: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """By size: how many studies decide everything, and how many say something wrong."""
    return [
        {
            "hours": hours,
            "all_decided": float(np.mean([all(a["decision"] != "open" for a in s[k]["arms"]) for s in studies])),
            "wrong": float(np.mean([any(a["wrong"] for a in s[k]["arms"]) for s in studies])),
            "covered_together": float(np.mean([all(a["covered"] for a in s[k]["arms"]) for s in studies])),
        }
        for k, hours in enumerate(FIXED_HOURS)
    ]


def hours_to_decide(rows: list[dict[str, Any]], share: float) -> float | None:
    """Hours at which this share of fixed studies decides all arms, between the sizes that were tried."""
    reached = [row["all_decided"] for row in rows]
    if max(reached) < share:
        return None
    return float(np.interp(share, np.maximum.accumulate(reached), [row["hours"] for row in rows]))


def render(record: dict[str, Any]) -> str:
    """Markdown, with how it was made."""
    where, asked = record["machine"], record["asked"]
    lines = [
        "# What dropping decided arms saves",
        "",
        f"Made by `python benchmarks/dropping.py --studies {asked['studies']} --ways {' '.join(asked['ways'])}` "
        f"(commit {where['commit']}, Python {where['python']}, numpy {where['versions']['numpy']}). Simulated "
        "people; the first lines of the program describe the setting. "
        f"{asked['prompts']:,} prompts.",
        "",
        "| truth | way | hours of tasks (s.e.) | with 180 s a person | people | looks | all seven decided "
        "| a wrong claim | bounds hold, one arm | all seven |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for truth, ways in record["dropping"].items():
        for name, row in ways.items():
            hours = f"{row['hours']:.0f} ({row['hours_se']:.1f})"
            if row["hours_at_12_s"] is not None:
                hours += f" at 24 s, {row['hours_at_12_s']:.0f} at 12 s"
            lines.append(
                f"| {truth} | {name} | {hours} | {row['hours_with_arrival']:.0f} | {row['people']:.0f} | "
                f"{row['looks']:.1f} | {row['all_decided']:.1%} | {row['wrong']:.1%} | {row['covered']:.1%} | "
                f"{row['covered_together']:.1%} |"
            )
    if record["fixed"]:
        lines += ["", "The fixed even design, truth H1, by hours of votes:", ""]
        lines += ["| hours | all seven decided | a wrong claim | intervals hold, all seven |", "|---|---|---|---|"]
        lines += [
            f"| {row['hours']} | {row['all_decided']:.1%} | {row['wrong']:.1%} | {row['covered_together']:.1%} |"
            for row in record["fixed"]
        ]
        reach = {share: hours_to_decide(record["fixed"], share) for share in (0.8, 0.9)}
        said = "; ".join(
            f"{share:.0%} decide all seven " + ("at no size tried" if hours is None else f"after {hours:.0f} hours")
            for share, hours in reach.items()
        )
        lines += ["", f"Of fixed studies, {said}."]
    missed = [
        f"{t}, {name}" for t, ways in record["dropping"].items() for name, row in ways.items() if not row["passes"]
    ]
    verdict = f"missed by {'; '.join(missed)}" if missed else "all met"
    lines += ["", f"Gates (within two standard errors): {verdict}."]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run, print, write; exit code 1 if a gate is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--prompts", type=int, default=3000)
    parser.add_argument("--ways", nargs="*", default=[way.name for way in WAYS], choices=[way.name for way in WAYS])
    parser.add_argument("--no-fixed", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    record: dict[str, Any] = {
        "machine": machine("numpy", "scipy", "polars"),
        "asked": {"studies": args.studies, "prompts": args.prompts, "ways": args.ways},
        "dropping": {},
        "fixed": [],
    }
    for truth, rates in {"H1": WIN_RATES, "borders": BORDERS}.items():
        for way in WAYS:
            if way.name in args.ways:
                runs = [run_dropping(way, rates, prompts=args.prompts, seed=seed) for seed in range(args.studies)]
                record["dropping"].setdefault(truth, {})[way.name] = summary(runs, way)
                print(truth, way.name, record["dropping"][truth][way.name], flush=True)
    if not args.no_fixed:
        fixed = [run_fixed(WIN_RATES, prompts=args.prompts, seed=seed) for seed in range(args.studies)]
        record["fixed"] = fixed_summary(fixed)
    text = render(record)
    print(text)
    write_atomic(args.results / "dropping.json", (json.dumps(record, indent=1) + "\n").encode(), parents=True)
    write_atomic(args.results / "dropping.md", text.encode(), parents=True)
    passed = all(row["passes"] for ways in record["dropping"].values() for row in ways.values())
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""What dropping decided arms saves, and how often a claim is wrong: simulated studies that are looked at as they grow.

    python benchmarks/dropping.py                 writes benchmarks/results/dropping.{json,md}, 15 min of one processor

The people, tastes and win rates are those of benchmarks/human_hours.py (setting H1), on 3,000 prompts. Seven variants
are decided against a baseline (better, worse, equivalent within 3 points) by people who give 20 votes each. Bounds and
decisions are those of `qsched study look`; the estimate is its twin (benchmarks/growing_counts.py):

  pairs           pairs without the baseline a quarter as often; 18 looks, horizon 18,000 votes of each arm;
                  group-sequential bounds at the default level; decided arms are dropped
  pairs, far      the same with a horizon of 24,000, with which nearly all arms are decided
  anytime         the same with the anytime bounds, which need no horizon
  rankings        the baseline and three open variants ranked at once (six votes each), five rankings of each person
  fixed           pairs, all alike or mixed, one analysis at the end at the same level: the reference

Three truths: H1; borders (half of the arms at .500, where better and worse are wrong; half at .530, where equivalent
and worse are); even (all at .500). Gates: a wrong claim in at most 3 % of the studies of each truth, and the bounds
with which the arms ended hold for all seven together in at least 95 %, each within two standard errors; H1 by pairs in
at most half of the hours of the fixed study of pairs alike that decides all seven as often. A last table varies the
rule: level, shape, number of looks, and one-sided bounds for "equivalent".
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.stats.scales import log_odds
from analysis.stats.spread import Spread
from analysis.stats.stopping import decide, half_width_at_look
from benchmarks.growing_counts import GrowingCounts
from benchmarks.human_hours import ARMS, CARELESS, PAIR_SECONDS, RESULTS, SD, WIN_RATES, strengths
from benchmarks.machine import machine
from qsched.files import write_atomic
from qsched.planning import wang_tsiatis_bounds
from qsched.records.stopping import Decision, StoppingRule

Array: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int64]
Design = Literal["alike", "mixed", "rankings"]

BORDERS = (0.500, 0.530, 0.500, 0.530, 0.500, 0.530, 0.500)
TRUTHS = {"H1": WIN_RATES, "borders": BORDERS, "even": (0.5,) * 7}
MARGIN, ARRIVAL, MOST_WRONG, LEAST_HELD, MOST_HOURS = 0.03, 180.0, 0.03, 0.95, 0.5
#: Hours of votes of the fixed designs that are tried.
FIXED_HOURS = (80, 100, 120, 140, 160, 180, 200, 230, 260)
ALL = tuple(range(1, 8))
LEAST_PEOPLE = 4


@dataclass(frozen=True)
class Way:
    """A design with dropping: its rule, and the tasks that one person does, each of so many seconds.

    `shape` of the bounds, and whether "equivalent" takes the one-sided bound of the level, are not options of the rule.
    """

    name: str
    design: Design
    rule: StoppingRule
    tasks_each: int = 20
    seconds: float = PAIR_SECONDS
    shape: float | None = None
    one_sided: bool = False


def _rule(**more: Any) -> StoppingRule:
    return StoppingRule(baseline=ARMS[0], margin=MARGIN, **{"looks": 18, "horizon": 18_000, **more})


PAIRS = Way("pairs", "mixed", _rule())
WAYS = (
    PAIRS,
    Way("pairs, far", "mixed", _rule(horizon=24_000)),
    Way("anytime", "mixed", _rule(bounds="anytime")),
    Way("rankings", "rankings", _rule(horizon=30_000), tasks_each=5, seconds=24.0),
)
ALTERNATIVES = (
    PAIRS,
    replace(PAIRS, name="level .05", rule=_rule(level=0.05)),
    replace(PAIRS, name="level .02", rule=_rule(level=0.02)),
    replace(PAIRS, name="one-sided equivalence", one_sided=True),
    replace(PAIRS, name="shape 0 (O'Brien and Fleming)", shape=0.0),
    replace(PAIRS, name="shape 1/2 (Pocock)", shape=0.5),
    replace(PAIRS, name="10 looks", rule=_rule(looks=10)),
    replace(PAIRS, name="36 looks", rule=_rule(looks=36)),
    replace(PAIRS, name="10 votes a person", tasks_each=10),
)


@cache
def _choice(design: Design, undecided: tuple[int, ...]) -> tuple[Codes, float]:
    """Numbers of pairs to draw from, alike, and the least share of votes that an open arm has."""
    i, j = np.triu_indices(8, 1)
    often = np.where(i == 0, 4, 4 if design == "alike" else 1)
    often *= np.isin(i, (0, *undecided)) & np.isin(j, (0, *undecided))
    table = np.repeat(np.arange(28), often)
    return table, min(float(((i[table] == arm) | (j[table] == arm)).mean()) for arm in undecided)


class People:
    """Draws the votes of one study, person after person, and counts them."""

    def __init__(self, way: Way, rates: tuple[float, ...], *, prompts: int, seed: int) -> None:
        self._way, self._rng = way, np.random.default_rng([seed, 77])
        self._worth = strengths(rates)
        self._prompts = self._rng.normal(0, SD, (prompts, 8))
        self.counts = GrowingCounts(arms=8, prompts=prompts)

    def vote_until(self, votes: int, undecided: tuple[int, ...]) -> None:
        """People come until every open arm has so many votes."""
        shown = min(4, 1 + len(undecided))
        share = _choice(self._way.design, undecided)[1]
        each = self._way.tasks_each * (share if self._way.design != "rankings" else (shown - 1) ** 2 / len(undecided))
        while (missing := votes - self.counts.votes_of_arms()[list(undecided)].min()) > 0:
            self.vote(max(LEAST_PEOPLE, math.ceil(missing / each)), undecided)

    def vote(self, people: int, undecided: tuple[int, ...] = ALL) -> None:
        """The votes of the next people on the arms that are still asked about."""
        rng, n = self._rng, people * self._way.tasks_each
        person, prompt = np.repeat(np.arange(people), self._way.tasks_each), rng.integers(0, len(self._prompts), n)
        taste = (self._worth + rng.normal(0, SD, (people, 8))).ravel()
        careful = rng.random(people) >= CARELESS
        if self._way.design == "rankings":
            worth = taste.reshape(people, 8)[person] + self._prompts[prompt]
            self.counts.add(*_ranked(worth * careful[person][:, None], person, prompt, undecided, rng))
            return
        table, _ = _choice(self._way.design, undecided)
        i, j = np.triu_indices(8, 1)
        pair = table[rng.integers(0, len(table), n)]
        first, second = i[pair], j[pair]
        of_prompts = self._prompts.ravel()
        gap = taste[person * 8 + first] - taste[person * 8 + second]
        gap += of_prompts[prompt * 8 + first] - of_prompts[prompt * 8 + second]
        self.counts.add(person, prompt, first, second, rng.random(n) < expit(gap * careful[person]))


def _ranked(
    worth: Array, person: Codes, prompt: Codes, undecided: tuple[int, ...], rng: np.random.Generator
) -> tuple[Codes, Codes, Codes, Codes, NDArray[np.bool_]]:
    """The baseline and up to three open arms, ranked by worth plus Gumbel noise (Plackett-Luce), as votes on pairs."""
    n, shown = len(worth), min(3, len(undecided))
    order = rng.random((n, len(undecided))).argsort(axis=1)[:, :shown]
    arms = np.column_stack([np.zeros(n, dtype=np.int64), np.array(undecided)[order]])
    seen = np.take_along_axis(worth, arms, axis=1) + rng.gumbel(size=arms.shape)
    a, b = np.triu_indices(shown + 1, 1)
    wins = (seen[:, a] > seen[:, b]).ravel()
    return np.repeat(person, len(a)), np.repeat(prompt, len(a)), arms[:, a].ravel(), arms[:, b].ravel(), wins


def claims(way: Way, difference: Array, spread: Spread, *, look: int) -> list[tuple[Decision, float, float]]:
    """Decision and interval (log-odds) of each of the seven arms at a look."""
    half = half_width_at_look(spread, way.rule, look=look, arms=7)
    narrow = half
    if way.shape is not None or way.one_sided:
        half = _half_width(way, spread, look, way.rule.level / 7)
        narrow = _half_width(way, spread, look, way.rule.level / 7 * (2 if way.one_sided else 1))
    found = []
    for d, h, e in zip(difference.tolist(), half.tolist(), narrow.tolist(), strict=True):
        decision = decide(d - h, d + h, margin=MARGIN)
        if decision == "open" and decide(d - e, d + e, margin=MARGIN) == "equivalent":
            decision = "equivalent"
        found.append((decision, d - h, d + h))
    return found


def _half_width(way: Way, spread: Spread, look: int, alpha: float) -> Array:
    bound = wang_tsiatis_bounds(way.rule.looks, alpha, shape=0.25 if way.shape is None else way.shape)[look - 1]
    return spread.half_width_at(math.erfc(bound / math.sqrt(2)), bound)


def run_dropping(way: Way, rates: tuple[float, ...], *, prompts: int, seed: int) -> dict[str, Any]:
    """One study: votes, looks and drops until every arm is decided or the last look is over."""
    people, undecided, look = People(way, rates, prompts=prompts, seed=seed), ALL, 0
    ended: dict[int, tuple[Decision, float, float]] = {}
    while undecided and look < (way.rule.last_look or 2 * way.rule.looks):
        look += 1
        people.vote_until(way.rule.votes_at(look), undecided)
        found = claims(way, *people.counts.differences(), look=look)
        ended.update({arm: found[arm - 1] for arm in undecided})
        undecided = tuple(arm for arm in undecided if ended[arm][0] == "open")
    came = people.counts.people
    arms = [_judged(*ended[arm], rates[arm - 1]) for arm in ALL]
    return {"tasks": came * way.tasks_each, "people": came, "looks": look, "arms": arms}


def run_fixed(design: Design, rates: tuple[float, ...], *, prompts: int, seed: int) -> list[dict[str, Any]]:
    """One study, analysed as if it ended after each of FIXED_HOURS of votes, by one look at the default level."""
    # One look has the plain normal quantile; StoppingRule asks for two, so the copy is not checked.
    way = Way("fixed", design, PAIRS.rule.model_copy(update={"looks": 1}))
    people, found = People(way, rates, prompts=prompts, seed=seed), []
    for hours in FIXED_HOURS:
        people.vote(round(hours * 3600 / PAIR_SECONDS / way.tasks_each) - people.counts.people)
        arms = claims(way, *people.counts.differences(), look=1)
        found.append({"hours": hours, "arms": [_judged(*one, rate) for one, rate in zip(arms, rates, strict=True)]})
    return found


def _judged(decision: Decision, low: float, high: float, rate: float) -> dict[str, Any]:
    wrong = {
        "open": False,
        "better": rate <= 0.5,
        "worse": rate >= 0.5,
        "equivalent": abs(rate - 0.5) >= MARGIN - 1e-9,
    }[decision]
    return {"decision": decision, "wrong": wrong, "covered": low <= log_odds(rate) <= high}


def shares(studies: list[list[dict[str, Any]]]) -> dict[str, float]:
    """Over studies, each given by its arms: all decided, a wrong claim, bounds that held."""
    return {
        "all_decided": float(np.mean([all(arm["decision"] != "open" for arm in arms) for arms in studies])),
        "wrong": float(np.mean([any(arm["wrong"] for arm in arms) for arms in studies])),
        "covered": float(np.mean([arm["covered"] for arms in studies for arm in arms])),
        "covered_together": float(np.mean([all(arm["covered"] for arm in arms) for arms in studies])),
    }


def summary(studies: list[dict[str, Any]], way: Way) -> dict[str, Any]:
    """Shares over studies, with what they cost."""
    n, found = len(studies), shares([each["arms"] for each in studies])
    tasks, people = (np.array([each[name] for each in studies]) for name in ("tasks", "people"))
    wrong = found["wrong"]
    return {
        "studies": n,
        "hours": float(tasks.mean() * way.seconds / 3600),
        "hours_se": float((tasks * way.seconds / 3600).std(ddof=1) / math.sqrt(n)),
        "hours_with_arrival": float((tasks * way.seconds + people * ARRIVAL).mean() / 3600),
        "hours_at_12_s": float(tasks.mean() * 12 / 3600) if way.design == "rankings" else None,
        "people": float(people.mean()),
        "looks": float(np.mean([each["looks"] for each in studies])),
        **found,
        "wrong_se": math.sqrt(wrong * (1 - wrong) / n),
        "passes": wrong <= MOST_WRONG + 2 * math.sqrt(MOST_WRONG * (1 - MOST_WRONG) / n)
        and found["covered_together"] >= LEAST_HELD - 2 * math.sqrt(LEAST_HELD * (1 - LEAST_HELD) / n),
    }


def hours_to_decide(rows: list[dict[str, Any]], share: float) -> float | None:
    """Hours at which this share of fixed studies decides all arms, between the sizes that were tried."""
    reached = np.maximum.accumulate([row["all_decided"] for row in rows])
    return None if reached[-1] < share else float(np.interp(share, reached, [row["hours"] for row in rows]))


def simulate(way: Way, truth: str, *, studies: int, prompts: int, first_seed: int) -> dict[str, Any]:
    """Many studies of one way and truth."""
    seeds = range(first_seed, first_seed + studies)
    row = summary([run_dropping(way, TRUTHS[truth], prompts=prompts, seed=seed) for seed in seeds], way)
    print(truth, way.name, {name: round(value, 4) for name, value in row.items() if value is not None}, flush=True)
    return row


def main() -> int:
    """Run, print, write; exit code 1 if a gate is missed."""
    from benchmarks.dropping_tables import render

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=800, help="of each way at the borders; a third of it elsewhere")
    parser.add_argument("--prompts", type=int, default=3000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    asked = {"studies": args.studies, "prompts": args.prompts, "first_seed": args.first_seed}
    few, rest = max(2, args.studies // 3), {"prompts": args.prompts, "first_seed": args.first_seed}
    record: dict[str, Any] = {"machine": machine("numpy", "scipy"), "asked": asked}
    record["dropping"] = {
        truth: {
            way.name: simulate(way, truth, studies=args.studies if truth == "borders" else few, **rest) for way in ways
        }
        for truth, ways in {"H1": WAYS, "borders": WAYS, "even": (PAIRS,)}.items()
    }
    record["fixed"] = {}
    for design in ("alike", "mixed"):
        found = [
            run_fixed(design, WIN_RATES, prompts=args.prompts, seed=seed)
            for seed in range(args.first_seed, args.first_seed + few)
        ]
        columns = zip(*found, strict=True)
        record["fixed"][design] = [
            {"hours": hours, **shares([each["arms"] for each in column])}
            for hours, column in zip(FIXED_HOURS, columns, strict=True)
        ]
    record["alternatives"] = {
        way.name: {truth: simulate(way, truth, studies=few, **rest) for truth in ("H1", "borders")}
        for way in ALTERNATIVES
    }
    record["against_fixed"] = {
        way.name: {
            design: None if hours is None else record["dropping"]["H1"][way.name]["hours"] / hours
            for design in ("alike", "mixed")
            for hours in [hours_to_decide(record["fixed"][design], record["dropping"]["H1"][way.name]["all_decided"])]
        }
        for way in WAYS
    }
    record["missed"] = missed_gates(record)
    text = render(record)
    print(text)
    write_atomic(args.results / "dropping.json", (json.dumps(record, indent=1) + "\n").encode(), parents=True)
    write_atomic(args.results / "dropping.md", text.encode(), parents=True)
    return 1 if record["missed"] else 0


def missed_gates(record: dict[str, Any]) -> list[str]:
    """What did not hold, in words."""
    found = [
        f"{truth}, {name}"
        for truth, ways in record["dropping"].items()
        for name, row in ways.items()
        if not row["passes"]
    ]
    ratio = record["against_fixed"][PAIRS.name]["alike"]
    if ratio is None or ratio > MOST_HOURS:
        found.append("hours of H1 by pairs")
    return found


if __name__ == "__main__":
    raise SystemExit(main())

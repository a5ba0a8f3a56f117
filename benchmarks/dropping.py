"""What dropping decided arms saves, and how often a claim is wrong: simulated studies that are looked at as they grow.

    python benchmarks/dropping.py --work FILE     writes benchmarks/results/dropping.{json,md}, 20 min of one processor

Interrupted, the same command goes on with what FILE has. The people, tastes and win rates are those of
benchmarks/human_hours.py (setting H1), on 3,000 prompts. Seven variants are decided against a baseline (better, worse,
equivalent within 3 points) by people who give 80 s of votes each. Bounds and decisions are those of `qsched study
look`; the estimate is its twin (benchmarks/growing_counts.py):

  pairs           pairs without the baseline a quarter as often, ten of each person; 18 looks; group-sequential bounds
                  at the default level, shape .4; equivalence by two one-sided tests; decided arms are dropped
  rankings        the baseline and three open variants ranked at once (six votes each), three rankings of each person;
                  with two open arms three pictures, with one two, as the server hands them out
  anytime         pairs with the anytime bounds, which need no horizon
  fixed           pairs, all alike or mixed, one analysis at the end at the same level: the reference

A pair takes 8 s; a ranking of four 24 s, of three 18 s, of two pictures 8 s; or, where people are fast, 12, 9 and 8 s.
Three truths: H1; borders (half of the arms at .500, where better and worse are wrong; half at .530, where equivalent
and worse are); even (all at .500). Gates: a wrong claim in at most 3 % of the studies of each truth, and the bounds
with which the arms ended hold for all seven together in at least 95 %, each within two standard errors; hours of H1
over those of the fixed study of mixed pairs that decides all seven as often: pairs at most 1/2, rankings 1/3. A last
table varies one part of "pairs" at a time.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.stats.scales import log_odds
from analysis.stats.spread import Spread
from analysis.stats.stopping import decide_arms
from benchmarks.growing_counts import GrowingCounts
from benchmarks.human_hours import ARMS, CARELESS, PAIR_SECONDS, SD, WIN_RATES, strengths
from benchmarks.machine import machine
from benchmarks.publishing import publish, studies_parser
from qsched.files import write_atomic
from qsched.records.stopping import Decision, StoppingRule

Array: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int64]
Design = Literal["alike", "mixed", "baseline", "rankings"]

BORDERS = (0.500, 0.530, 0.500, 0.530, 0.500, 0.530, 0.500)
TRUTHS = {"H1": WIN_RATES, "borders": BORDERS, "even": (0.5,) * 7}
MARGIN, ARRIVAL, MOST_WRONG, LEAST_HELD = 0.03, 180.0, 0.03, 0.95
MOST_HOURS = {"pairs": 1 / 2, "rankings": 1 / 3}
#: Seconds of a task by its number of pictures.
PAIR, RANKING, FAST_RANKING = {2: PAIR_SECONDS}, {2: 8.0, 3: 18.0, 4: 24.0}, {2: 8.0, 3: 9.0, 4: 12.0}
#: How often a pair without the baseline is shown, one with it four times.
OTHERS = {"alike": 4, "mixed": 1, "baseline": 0}
#: Hours of votes of the fixed designs that are tried.
FIXED_HOURS = (80, 100, 120, 140, 160, 180, 200, 230, 260)
ALL = tuple(range(1, 8))
LEAST_PEOPLE = 4


@dataclass(frozen=True)
class Way:
    """A design with dropping: its rule, and the tasks that one person does."""

    name: str
    design: Design
    rule: StoppingRule
    tasks_each: int = 10


def _rule(**more: Any) -> StoppingRule:
    kept = {"looks": 18, "horizon": 18_000, "shape": 0.4, "equivalence": "one-sided", **more}
    return StoppingRule(baseline=ARMS[0], margin=MARGIN, **kept)


PAIRS = Way("pairs", "mixed", _rule())
RANKINGS = Way("rankings", "rankings", _rule(horizon=27_000), tasks_each=3)
ANYTIME = Way("anytime", "mixed", _rule(bounds="anytime", shape=0.25))
WAYS = (PAIRS, RANKINGS, ANYTIME)
FIXED: dict[str, tuple[Design, int]] = {
    "alike": ("alike", 10),
    "mixed": ("mixed", 10),
    "mixed, 20 votes a person": ("mixed", 20),
}
ALTERNATIVES = (
    replace(PAIRS, name="equivalence by the interval", rule=_rule(equivalence="interval")),
    replace(PAIRS, name="shape 0 (O'Brien and Fleming)", rule=_rule(shape=0.0)),
    replace(PAIRS, name="shape 1/4", rule=_rule(shape=0.25)),
    replace(PAIRS, name="shape 1/2 (Pocock)", rule=_rule(shape=0.5)),
    replace(PAIRS, name="9 looks", rule=_rule(looks=9)),
    replace(PAIRS, name="36 looks", rule=_rule(looks=36)),
    replace(PAIRS, name="horizon 24,000", rule=_rule(horizon=24_000)),
    replace(PAIRS, name="all pairs alike", design="alike"),
    replace(PAIRS, name="baseline pairs only", design="baseline"),
    replace(PAIRS, name="20 votes a person", tasks_each=20),
    replace(PAIRS, name="5 votes a person", tasks_each=5),
)


@cache
def _choice(design: Design, undecided: tuple[int, ...]) -> tuple[Codes, float]:
    """Numbers of pairs to draw from, alike, and the least share of votes that an open arm has."""
    i, j = np.triu_indices(8, 1)
    often = np.where(i == 0, 4, OTHERS[design])
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
        self.tasks: dict[int, int] = {}

    def vote_until(self, votes: int, undecided: tuple[int, ...]) -> None:
        """People come until every open arm has so many votes."""
        if self._way.design == "rankings":
            share = min(3, len(undecided)) ** 2 / len(undecided)
        else:
            share = _choice(self._way.design, undecided)[1]
        each = self._way.tasks_each * share
        while (missing := votes - self.counts.votes_of_arms()[list(undecided)].min()) > 0:
            self.vote(max(LEAST_PEOPLE, math.ceil(missing / each)), undecided)

    def vote(self, people: int, undecided: tuple[int, ...] = ALL) -> None:
        """The votes of the next people on the arms that are still asked about."""
        rng, n = self._rng, people * self._way.tasks_each
        pictures = min(4, 1 + len(undecided)) if self._way.design == "rankings" else 2
        self.tasks[pictures] = self.tasks.get(pictures, 0) + n
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
    """Decision and bounds (log-odds) of each of the seven arms at a look."""
    return decide_arms(difference, spread, way.rule, look=look, arms=7)


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
    arms = [_judged(*ended[arm], rates[arm - 1]) for arm in ALL]
    return {"tasks": people.tasks, "people": people.counts.people, "looks": look, "arms": arms}


def run_fixed(design: Design, each: int, rates: tuple[float, ...], *, prompts: int, seed: int) -> list[dict[str, Any]]:
    """One study, analysed as if it ended after each of FIXED_HOURS of votes, by one look at the default level."""
    # One look has the plain normal quantile; StoppingRule asks for two, so the copy is not checked.
    way = Way("fixed", design, PAIRS.rule.model_copy(update={"looks": 1}), tasks_each=each)
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
    people, wrong = np.array([each["people"] for each in studies]), found["wrong"]
    hours = _hours(studies, RANKING if way.design == "rankings" else PAIR)
    return {
        "studies": n,
        "hours": float(hours.mean()),
        "hours_se": float(hours.std(ddof=1) / math.sqrt(n)),
        "hours_with_arrival": float((hours + people * ARRIVAL / 3600).mean()),
        "hours_fast": float(_hours(studies, FAST_RANKING).mean()) if way.design == "rankings" else None,
        "people": float(people.mean()),
        "looks": float(np.mean([each["looks"] for each in studies])),
        **found,
        "wrong_se": math.sqrt(wrong * (1 - wrong) / n),
        "passes": wrong <= MOST_WRONG + 2 * math.sqrt(MOST_WRONG * (1 - MOST_WRONG) / n)
        and found["covered_together"] >= LEAST_HELD - 2 * math.sqrt(LEAST_HELD * (1 - LEAST_HELD) / n),
    }


def _hours(studies: list[dict[str, Any]], seconds: dict[int, float]) -> Array:
    return np.array([sum(seconds[k] * n for k, n in each["tasks"].items()) / 3600 for each in studies])


def hours_to_decide(rows: list[dict[str, Any]], share: float) -> float | None:
    """The least hours at which this share of fixed studies decides all arms, between the sizes that were tried."""
    reached = np.maximum.accumulate([row["all_decided"] for row in rows])
    hours = [row["hours"] for row in rows]
    enough = np.flatnonzero(reached >= share)
    if not len(enough):
        return None
    k = int(enough[0])
    return float(hours[0] if k == 0 else np.interp(share, reached[k - 1 : k + 1], hours[k - 1 : k + 1]))


def simulate(way: Way, truth: str, *, studies: int, prompts: int, first_seed: int) -> dict[str, Any]:
    """Many studies of one way and truth."""
    seeds = range(first_seed, first_seed + studies)
    row = summary([run_dropping(way, TRUTHS[truth], prompts=prompts, seed=seed) for seed in seeds], way)
    print(truth, way.name, {name: round(value, 4) for name, value in row.items() if value is not None}, flush=True)
    return row


class Cells:
    """The parts of the record that are done, kept in a file so that an interrupted run goes on."""

    def __init__(self, path: Path | None, asked: dict[str, Any]) -> None:
        self._path, self._asked = path, asked
        kept = json.loads(path.read_text()) if path is not None and path.is_file() else {}
        self._done: dict[str, Any] = kept["done"] if kept.get("asked") == asked else {}

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """What `make` returns, or returned before."""
        if key not in self._done:
            self._done[key] = make()
            if self._path is not None:
                text = json.dumps({"asked": self._asked, "done": self._done})
                write_atomic(self._path, text.encode(), parents=True)
        return self._done[key]


def main() -> int:
    """Run, print, write; exit code 1 if a gate is missed."""
    from benchmarks.dropping_tables import render

    parser = studies_parser(__doc__)
    parser.add_argument("--prompts", type=int, default=3000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="keeps what is done, so that an interrupted run goes on")
    args = parser.parse_args()
    asked = {"studies": args.studies, "prompts": args.prompts, "first_seed": args.first_seed}
    n, half, rest = args.studies, max(2, args.studies // 2), {"prompts": args.prompts, "first_seed": args.first_seed}
    cells = Cells(args.work, asked | {"ways": repr((WAYS, FIXED, ALTERNATIVES))})

    def simulated(way: Way, truth: str, studies: int) -> Any:
        return cells.get(f"{truth}: {way.name}", lambda: simulate(way, truth, studies=studies, **rest))

    record: dict[str, Any] = {"machine": machine("numpy", "scipy"), "asked": asked}
    # A wrong claim is rare: at the borders, where it is likeliest, more studies.
    asked_of = {"H1": (WAYS, n), "borders": ((PAIRS, RANKINGS), 3 * half), "even": ((PAIRS, RANKINGS), half)}
    record["dropping"] = {
        truth: {way.name: simulated(way, truth, studies) for way in ways} for truth, (ways, studies) in asked_of.items()
    }
    record["fixed"] = {
        name: cells.get(f"fixed: {name}", partial(_fixed_rows, design, each, half, rest))
        for name, (design, each) in FIXED.items()
    }
    record["alternatives"] = {way.name: simulated(way, "H1", max(2, half // 2)) for way in ALTERNATIVES}
    record["against_fixed"] = {
        name: _against_fixed(row, record["fixed"])
        for name, row in (record["dropping"]["H1"] | record["alternatives"]).items()
    }
    record["missed"] = missed_gates(record)
    text = render(record)
    publish(args.results, "dropping", record, text)
    return 1 if record["missed"] else 0


def _fixed_rows(design: Design, each: int, studies: int, rest: dict[str, int]) -> list[dict[str, Any]]:
    first, prompts = rest["first_seed"], rest["prompts"]
    found = [run_fixed(design, each, WIN_RATES, prompts=prompts, seed=seed) for seed in range(first, first + studies)]
    columns = zip(*found, strict=True)
    return [
        {"hours": hours, **shares([one["arms"] for one in column])}
        for hours, column in zip(FIXED_HOURS, columns, strict=True)
    ]


def _against_fixed(row: dict[str, Any], fixed: dict[str, Any]) -> dict[str, float | None]:
    """Hours over those of each fixed design that decides all seven as often."""
    hours = {name: hours_to_decide(rows, row["all_decided"]) for name, rows in fixed.items()}
    return {name: None if value is None else row["hours"] / value for name, value in hours.items()}


def missed_gates(record: dict[str, Any]) -> list[str]:
    """What did not hold, in words."""
    found = [
        f"{truth}, {name}"
        for truth, ways in record["dropping"].items()
        for name, row in ways.items()
        if not row["passes"]
    ]
    for name, most in MOST_HOURS.items():
        ratio = record["against_fixed"][name]["mixed"]
        if ratio is None or ratio > most:
            found.append(f"hours of H1 by {name}")
    return found


if __name__ == "__main__":
    raise SystemExit(main())

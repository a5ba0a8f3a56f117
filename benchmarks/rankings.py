"""Ranking studies handed out by the server's rules: do the intervals hold, and does the check against pairs?

    python benchmarks/rankings.py               writes benchmarks/results/rankings.{json,md}

A baseline and seven variants (setting H1 of benchmarks/human_hours.py) on 50 prompts, 40 people. The sets are those
that `qsched study create` plans, chosen for each person by the rule of the server (fewest votes first, no recent
prompt, each set once per person) from a window of eight; people come one after the other. A person ranks by worth,
taste (sd .5 of people and of prompts) and Gumbel noise (Plackett-Luce), 5 % rank at random. Every two pictures of a
ranking are a vote, as in the export, and the report's estimator makes contrasts with the baseline with two-way
intervals.

As many votes of other people judge pairs of the same images, and the report's comparison of the two (by study, Holm) is
made once when both ask the same, and once when rankings go by another taste for one arm (1.0 in log-odds).
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.stats import EstimateSettings, VoteCounts, compare_strata, count_codes, estimate
from benchmarks.human_hours import ARMS, CARELESS, SD, WIN_RATES, strengths
from benchmarks.machine import machine
from benchmarks.publishing import publish, studies_parser
from study_server.assignment.policy import AnnotatorHistory, Candidate, choose_pair, draw_places, remember
from study_server.studies.comparisons import PlannedPair
from study_server.studies.design import StudyDesign
from study_server.studies.triplets import plan_study

Array: TypeAlias = NDArray[np.float64]
PEOPLE, PROMPTS, VOTES_PER_SET, WINDOW, GAP = 40, 50, 3, 8, 5
OTHER_TASTE = 1.0
CONTRASTS = tuple((ARMS[0], arm) for arm in ARMS[1:])
SANDWICH = EstimateSettings(method="sandwich")


def plan(pictures: int, slug: str) -> list[PlannedPair]:
    """The task sets of a study."""
    design = StudyDesign(
        slug=slug, title="t", images="x", design="ranking", ranking={"pictures": pictures}, votes_per_pair=VOTES_PER_SET
    )
    images = [(f"p{number}", 0, arm) for number in range(PROMPTS) for arm in ARMS]
    return plan_study(design, arms=ARMS, images=images)


def hand_out(sets: list[PlannedPair], each: int, rng: random.Random) -> list[tuple[int, int, str]]:
    """(person, set, places) for every showing, until the sets have their votes."""
    prompts = {key: number for number, key in enumerate(sorted({one.prompt_key for one in sets}))}
    of_set = [prompts[one.prompt_key] for one in sets]
    load, balance, found = [0] * len(sets), [0] * len(sets), []
    for person in range(PEOPLE):
        seen: set[int] = set()
        history: tuple[int, ...] = ()
        left = 0
        for _ in range(each):
            unseen = (n for n in range(len(sets)) if n not in seen and load[n] < VOTES_PER_SET)
            order = sorted(unseen, key=load.__getitem__)
            fresh = [n for n in order if of_set[n] not in history] or order
            window = [Candidate(n, of_set[n], load[n], balance[n]) for n in fresh[:WINDOW]]
            choice = choose_pair(window, AnnotatorHistory(history, left), rng)
            if choice is None:
                break
            number, side = choice.pair_id, 1 if choice.first_on_left else -1
            count = 2 + len(sets[number].others)
            found.append((person, number, draw_places(count, first_on_left=choice.first_on_left, rng=rng)))
            load[number], balance[number], left = load[number] + 1, balance[number] + side, left + side
            seen.add(number)
            history = remember(history, of_set[number], gap=GAP)
    return found


class World:
    """The tastes of one study: prompts are shared by rankings and pairs, people are not."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 5])
        self.prompts = self.rng.normal(0, SD, (PROMPTS, 8))

    def worth(self, *, shift: float = 0.0) -> Array:
        """(people, 8): what new people think of each arm."""
        worth = strengths() + self.rng.normal(0, SD, (PEOPLE, 8))
        worth[:, 4] += shift
        return np.asarray(worth)


def rankings(world: World, pictures: int, seed: int, *, shift: float = 0.0) -> VoteCounts:
    """One ranking study as votes on pairs."""
    sets = plan(pictures, f"s{seed % 20}")
    shown = hand_out(sets, math.ceil(len(sets) * VOTES_PER_SET / PEOPLE), random.Random(seed))
    rng, worth = world.rng, world.worth(shift=shift)
    careless = rng.random(PEOPLE) < CARELESS
    votes: list[tuple[int, int, int, int, bool]] = []
    for person, number, places in shown:
        prompt = int(sets[number].prompt_key[1:])
        arms = [ARMS.index(arm) for arm in sets[number].all_arms]
        taste = 0.0 if careless[person] else worth[person, arms] + world.prompts[prompt, arms]
        seen = taste + rng.gumbel(size=len(arms))
        for one, other in zip(*np.triu_indices(len(arms), 1), strict=True):
            if places.index(str(one)) > places.index(str(other)):
                one, other = other, one
            votes.append((person, prompt, arms[one], arms[other], bool(seen[one] > seen[other])))
    who, what, left, right, wins = (np.array(column) for column in zip(*votes, strict=True))
    return count_codes(left, right, np.where(wins, 0, 1), arms=ARMS, annotator=who, prompt=what)


def pairs(world: World, votes: int) -> VoteCounts:
    """Other people on pairs of the same images, all pairs of arms alike."""
    rng, worth, n = world.rng, world.worth(), votes // PEOPLE * PEOPLE
    person, prompt = np.repeat(np.arange(PEOPLE), n // PEOPLE), rng.integers(0, PROMPTS, n)
    arms = rng.permuted(np.tile(np.arange(8), (n, 1)), axis=1)[:, :2]
    taste = worth[person] + world.prompts[prompt]
    taste[(rng.random(PEOPLE) < CARELESS)[person]] = 0.0
    rows = np.arange(n)
    wins = rng.random(n) < expit(taste[rows, arms[:, 0]] - taste[rows, arms[:, 1]])
    # Clusters are matched by their numbers: prompts are those of the rankings, people are others.
    return count_codes(
        arms[:, 0], arms[:, 1], np.where(wins, 0, 1), arms=ARMS, annotator=person + PEOPLE, prompt=prompt
    )


def run(pictures: int, studies: int) -> dict[str, Any]:
    """Coverage of the contrasts, and how often the check finds a disagreement that is there or not."""
    covered, wrong, alarms, power = list[bool](), list[bool](), list[bool](), list[bool]()
    widths, n_votes = list[float](), list[float]()
    for seed in range(studies):
        world = World(seed)
        ranked = rankings(world, pictures, seed)
        n_votes.append(ranked.n_votes)
        for pair in estimate(ranked, SANDWICH).pairwise:
            if pair.arm_a == ARMS[0]:
                rate = WIN_RATES[ARMS.index(pair.arm_b) - 1]
                low, high = 1 - pair.win_probability_high, 1 - pair.win_probability_low
                covered.append(low <= rate <= high)
                widths.append((high - low) / 2)
                wrong.append(high < 0.5 if rate > 0.5 else (low > 0.5 or high < 0.5) if rate == 0.5 else False)
        judged = pairs(world, int(ranked.n_votes))
        for kept, shift in ((alarms, 0.0), (power, OTHER_TASTE)):
            counts = ranked if shift == 0 else rankings(world, pictures, seed, shift=shift)
            found = compare_strata({"pairs": judged, "rankings": counts}, SANDWICH, arms=CONTRASTS)
            kept.append(any(row.p_holm < 0.05 for row in found))
    false_alarms = float(np.mean(alarms))
    by_study = np.array(covered, dtype=float).reshape(studies, -1).mean(axis=1)
    return {
        "studies": studies,
        "votes_on_pairs": float(np.mean(n_votes)),
        "coverage": float(np.mean(covered)),
        "coverage_se": float(by_study.std(ddof=1) / math.sqrt(studies)),
        "half_width": float(np.mean(widths)),
        "wrong": float(np.mean(wrong)),
        "alarms": false_alarms,
        "alarms_se": math.sqrt(max(false_alarms * (1 - false_alarms), 1e-9) / studies),
        "power": float(np.mean(power)),
    }


def render(record: dict[str, Any]) -> str:
    """Markdown, with how it was made."""
    where = record["machine"]
    lines = [
        "# Rankings handed out by the server's rules",
        "",
        f"Made by `python benchmarks/rankings.py --studies {record['studies']}` (commit {where['commit']}, Python "
        f"{where['python']}, numpy {where['versions']['numpy']}). Simulated people; the first lines of the program "
        f"describe the setting. {PEOPLE} people, {PROMPTS} prompts, {VOTES_PER_SET} rankings of each set.",
        "",
        "| pictures | votes on pairs | coverage of contrasts (s.e.) | half-width, points "
        "| an interval on the wrong side | false alarms of the check (s.e.) | finds a shift of 1.0 |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {pictures} | {row['votes_on_pairs']:.0f} | {row['coverage']:.3f} ({row['coverage_se']:.3f}) | "
        f"{100 * row['half_width']:.1f} | {100 * row['wrong']:.1f} % | {100 * row['alarms']:.1f} % "
        f"({100 * row['alarms_se']:.1f}) | {100 * row['power']:.0f} % |"
        for pictures, row in record["rankings"].items()
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run, print, write; exit code 1 if coverage leaves 93 to 97 % or alarms exceed 5 % by two standard errors."""
    parser = studies_parser(__doc__)
    args = parser.parse_args()
    record: dict[str, Any] = {"machine": machine("numpy", "scipy"), "studies": args.studies, "rankings": {}}
    for pictures in (3, 4):
        record["rankings"][str(pictures)] = run(pictures, args.studies)
        print(pictures, record["rankings"][str(pictures)], flush=True)
    text = render(record)
    publish(args.results, "rankings", record, text)
    good = all(
        row["coverage"] + 2 * row["coverage_se"] >= 0.93
        and row["coverage"] - 2 * row["coverage_se"] <= 0.97
        and row["alarms"] <= 0.05 + 2 * row["alarms_se"]
        for row in record["rankings"].values()
    )
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())

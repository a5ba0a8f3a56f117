"""A ranking study that drops decided arms, planned by the server and decided by the analysis: are its claims true?

    python benchmarks/rankings_dropped.py         writes benchmarks/results/rankings_dropped.{json,md}

The sets are those of `plan_study`; those of open arms are handed out in their order, the ones with the fewest rankings
first; looks are `look_at_arms` on the exported votes' counts, with the two-way errors and small-sample corrections of
the report. Eight arms, 60 prompts, tastes of people and prompts with a standard deviation of .5, 5 % careless people,
five rankings of each. All arms are on a border of the margin of 10 points: four at .5, where better and worse are
wrong, three at .6, where equivalent and worse are. Gates within two standard errors: a wrong claim in at most 3 % of
studies (the rule's level), and in at least 95 % all bounds hold together. For comparison the report's ordinary 95 %
intervals from all votes of such a study, as if nobody had looked.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.stats import EstimateSettings, VoteCounts, count_codes, estimate
from analysis.stats.stopping import look_at_arms
from benchmarks.human_hours import ARMS, CARELESS, SD, strengths
from benchmarks.machine import machine
from benchmarks.publishing import publish, studies_parser
from qsched.records.stopping import StoppingRule
from study_server.studies.comparisons import PlannedPair
from study_server.studies.design import StudyDesign
from study_server.studies.triplets import plan_study

RATES = (0.5, 0.6, 0.5, 0.6, 0.5, 0.6, 0.5)
PROMPTS, EACH, VOTES_PER_SET = 60, 5, 40
RULE = StoppingRule(baseline=ARMS[0], margin=0.1, looks=6, horizon=2400, shape=0.4, equivalence="one-sided")
VARIANTS = ARMS[1:]


def plan(pictures: int) -> list[PlannedPair]:
    """Every set of the study, as the server writes it."""
    design = StudyDesign(
        slug="s",
        title="t",
        images="x",
        design="ranking",
        ranking={"pictures": pictures},
        votes_per_pair=VOTES_PER_SET,
        stopping=RULE,
    )
    return plan_study(design, arms=ARMS, images=[(f"p{number}", 0, arm) for number in range(PROMPTS) for arm in ARMS])


class RankedStudy:
    """One study as it grows: rankings as votes on pairs."""

    def __init__(self, sets: list[PlannedPair], pictures: int, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 9])
        self._sets, self._pictures = sets, pictures
        self._load = [0] * len(sets)
        self._prompts = self._rng.normal(0, SD, (PROMPTS, len(ARMS)))
        self._worth = strengths(RATES)
        self._people, self._left = 0, 0
        self._votes: list[tuple[int, int, int, int, int]] = []
        self.of_arms = dict.fromkeys(ARMS, 0)
        self.rankings = 0

    def rank_until(self, needed: int, undecided: tuple[str, ...]) -> None:
        """Sets of the baseline and open arms are ranked until each open arm has its votes."""
        arms, size = {ARMS[0], *undecided}, min(self._pictures, 1 + len(undecided))
        shown = [n for n, one in enumerate(self._sets) if len(one.all_arms) == size and arms.issuperset(one.all_arms)]
        order: Iterator[int] = iter(())
        while min(self.of_arms[arm] for arm in undecided) < needed:
            number = next(order, None)
            if number is None:
                order = iter(sorted(shown, key=self._load.__getitem__))
                number = next(order)
            self._rank(number)

    def _rank(self, number: int) -> None:
        if self._left == 0:  # the next person
            self._people, self._left = self._people + 1, EACH
            self._taste = (self._worth + self._rng.normal(0, SD, len(ARMS))) * 1.0
            self._careful = self._rng.random() >= CARELESS
        one = self._sets[number]
        arms = [ARMS.index(arm) for arm in one.all_arms]
        prompt = int(one.prompt_key[1:])
        worth = (self._taste[arms] + self._prompts[prompt, arms]) * self._careful
        seen = worth + self._rng.gumbel(size=len(arms))
        for a in range(len(arms)):
            for b in range(a):
                one_arm, other = (arms[a], arms[b]) if self._rng.random() < 0.5 else (arms[b], arms[a])
                first_wins = seen[arms.index(one_arm)] > seen[arms.index(other)]
                self._votes.append((self._people, prompt, one_arm, other, 0 if first_wins else 1))
        for arm in one.all_arms:
            self.of_arms[arm] += len(arms) - 1
        self._load[number] += 1
        self._left -= 1
        self.rankings += 1

    def counts(self) -> VoteCounts:
        """The votes so far, as the analysis counts an export."""
        who, what, left, right, outcome = (np.array(column) for column in zip(*self._votes, strict=True))
        return count_codes(left, right, outcome, arms=ARMS, annotator=who, prompt=what)


def run_study(sets: list[PlannedPair], pictures: int, seed: int) -> dict[str, Any]:
    """One study to its end."""
    study, undecided, look = RankedStudy(sets, pictures, seed), VARIANTS, 0
    ended = {}
    while undecided and look < RULE.looks:
        look += 1
        study.rank_until(RULE.votes_at(look), undecided)
        for one in look_at_arms(study.counts(), RULE, look=look, arms=len(VARIANTS), undecided=undecided):
            ended[one.arm] = one
        undecided = tuple(arm for arm in undecided if ended[arm].decision == "open")
    wrong, held = [], []
    for arm, rate in zip(VARIANTS, RATES, strict=True):
        one = ended[arm]
        wrong.append(one.decision in (("better", "worse") if rate == 0.5 else ("equivalent", "worse")))
        held.append(one.low is not None and one.high is not None and one.low <= rate <= one.high)
    naive = []
    for pair in estimate(study.counts(), EstimateSettings(method="sandwich")).pairwise:
        if pair.arm_a == ARMS[0]:
            rate = RATES[ARMS.index(pair.arm_b) - 1]
            naive.append(1 - pair.win_probability_high <= rate <= 1 - pair.win_probability_low)
    return {
        "rankings": study.rankings,
        "decided": len(undecided) == 0,
        "wrong": any(wrong),
        "held": held,
        "naive": float(np.mean(naive)),
    }


def run(pictures: int, studies: int, first_seed: int) -> dict[str, Any]:
    """Shares over studies."""
    sets = plan(pictures)
    found = [run_study(sets, pictures, seed) for seed in range(first_seed, first_seed + studies)]
    together = float(np.mean([all(one["held"]) for one in found]))
    wrong = float(np.mean([one["wrong"] for one in found]))
    return {
        "studies": studies,
        "sets": len(sets),
        "rankings": float(np.mean([one["rankings"] for one in found])),
        "all_decided": float(np.mean([one["decided"] for one in found])),
        "wrong": wrong,
        "wrong_se": math.sqrt(max(wrong * (1 - wrong), 1e-9) / studies),
        "held_each": float(np.mean([one["held"] for one in found])),
        "held_together": together,
        "naive": float(np.mean([one["naive"] for one in found])),
        "passes": wrong <= 0.03 + 2 * math.sqrt(0.03 * 0.97 / studies)
        and together >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / studies),
    }


def render(record: dict[str, Any]) -> str:
    """Markdown, with how it was made."""
    where = record["machine"]
    lines = [
        "# Rankings that drop decided arms, by the server's sets and the analysis's looks",
        "",
        f"Made by `python benchmarks/rankings_dropped.py --studies {record['studies']}` (commit {where['commit']}, "
        f"Python {where['python']}, numpy {where['versions']['numpy']}). Simulated people; the first lines of the "
        "program describe the setting.",
        "",
        "| pictures | studies | sets planned | rankings | all seven decided | a wrong claim (s.e.) "
        "| bounds hold, one arm | all seven | ordinary 95 % intervals from all votes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {pictures} | {row['studies']} | {row['sets']:,} | {row['rankings']:,.0f} | "
        f"{100 * row['all_decided']:.1f} % | {100 * row['wrong']:.1f} % ({100 * row['wrong_se']:.1f}) | "
        f"{100 * row['held_each']:.1f} % | {100 * row['held_together']:.1f} % | {100 * row['naive']:.1f} % |"
        for pictures, row in record["dropped"].items()
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run, print, write; exit code 1 if a gate is missed."""
    parser = studies_parser(__doc__)
    parser.add_argument("--first-seed", type=int, default=0)
    args = parser.parse_args()
    record: dict[str, Any] = {"machine": machine("numpy", "scipy"), "studies": args.studies, "dropped": {}}
    for pictures in (3, 4):
        record["dropped"][str(pictures)] = run(pictures, args.studies, args.first_seed)
        print(pictures, record["dropped"][str(pictures)], flush=True)
    text = render(record)
    publish(args.results, "rankings_dropped", record, text)
    return 0 if all(row["passes"] for row in record["dropped"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())

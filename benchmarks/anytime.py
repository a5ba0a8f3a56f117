"""Do the bounds of `winrates --sequential` hold for all pairs at each of 10,000 looks?

    python benchmarks/anytime.py --work FILE   writes benchmarks/results/anytime.{json,md}

Interrupted, the same command goes on with what FILE has. `--jobs 2` takes two processes.

Six equal arms, 15 pairs, tastes of people and of prompts with a standard deviation of .5, 5 % careless people. Ten
thousand people come, each with eight votes on eight prompts, and after each of them (from the twentieth on) all pairs
are looked at. A study fails if the interval of any pair excludes an even rate at any look. The bound, its t and its
floor are the code of the analysis (`anytime_half_width`). The estimate is its first Newton step from the truth, by
which all looks of a study are one computation; a test compares it with `look_at`. With few prompts the two differ, so
8 prompts are left to tests/analysis/stats/test_sequential.py.
"""

from __future__ import annotations

import json
import math
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.stats.sequential import anytime_half_width
from analysis.stats.spread import Spread
from benchmarks.human_hours import CARELESS, SD
from benchmarks.machine import machine
from benchmarks.publishing import publish, studies_parser
from qsched.files import write_atomic

Array: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int64]
K, EACH, FIRST, CONFIDENCE = 6, 8, 20, 0.95
PROMPTS = (50, 200)


def draw(people: int, prompts: int, seed: int) -> tuple[Codes, Codes, Codes, NDArray[np.bool_]]:
    """(people, EACH): prompts, the two arms, and whether the first was preferred."""
    rng = np.random.default_rng([seed, prompts])
    of_prompts = rng.normal(0, SD, (prompts, K))
    prompt = rng.random((people, prompts)).argpartition(EACH - 1, axis=1)[:, :EACH]
    first = rng.integers(0, K, (people, EACH))
    second = (first + rng.integers(1, K, (people, EACH))) % K
    taste = rng.normal(0, SD, (people, K))
    rows = np.arange(people)[:, None]
    gap = taste[rows, first] - taste[rows, second] + of_prompts[prompt, first] - of_prompts[prompt, second]
    gap *= (rng.random(people) >= CARELESS)[:, None]
    return prompt, first, second, rng.random((people, EACH)) < expit(gap)


def looks(prompt: Codes, first: Codes, second: Codes, wins: NDArray[np.bool_], prompts: int) -> tuple[Array, Spread]:
    """After each person from the FIRST on: the differences of all pairs, (looks, pairs), and their spread, flat."""
    people = len(prompt)
    x = np.eye(K)[first] - np.eye(K)[second]
    score = x * np.where(wins, 0.5, -0.5)[..., None]
    own = score.sum(axis=1)
    information = 0.25 * np.einsum("pei,pej->pij", x, x).cumsum(axis=0)[FIRST - 1 :]
    by_vote = np.einsum("pei,pej->pij", score, score).cumsum(axis=0)[FIRST - 1 :]
    by_person = np.einsum("pi,pj->pij", own, own).cumsum(axis=0)[FIRST - 1 :]
    by_prompt = np.zeros((len(information), K, K))
    seen = np.zeros(people, dtype=np.int64)
    for number in range(prompts):  # one prompt after the other: memory stays small
        mine = prompt == number
        sums = (score * mine[..., None]).sum(axis=1).cumsum(axis=0)[FIRST - 1 :]
        by_prompt += sums[:, :, None] * sums[:, None, :]
        seen += mine.any(axis=1).cumsum() > 0
    i, j = np.triu_indices(K, 1)
    contrasts = np.eye(K)[i] - np.eye(K)[j]
    to_pairs = np.einsum("mk,tkl->tml", contrasts, np.linalg.inv(information + 1 / K))
    difference = np.einsum("tmk,tk->tm", to_pairs, own.cumsum(axis=0)[FIRST - 1 :])

    def variance(meat: Array) -> Array:
        return np.asarray(np.einsum("tmk,tkl,tml->tm", to_pairs, meat, to_pairs, optimize=True))

    came, shown = np.arange(FIRST, people + 1)[:, None], seen[FIRST - 1 :, None]
    votes = variance(by_vote)
    two_way = variance(by_person) * came / (came - 1) + variance(by_prompt) * shown / (shown - 1) - votes
    df = np.broadcast_to(np.minimum(came, shown) - 1.0, votes.shape)
    return difference, Spread(np.sqrt(np.maximum(two_way, 0.0)).ravel(), np.sqrt(votes).ravel(), df.ravel())


def study_fails(people: int, prompts: int, seed: int) -> tuple[bool, bool]:
    """Whether any pair was ever decided, and whether one was at the last look."""
    difference, spread = looks(*draw(people, prompts, seed), prompts)
    half = anytime_half_width(spread, (1 - CONFIDENCE) / difference.shape[1]).reshape(difference.shape)
    out = np.abs(difference) > half
    return bool(out.any()), bool(out[-1].any())


def least(held: float, studies: int) -> float:
    """One-sided 95 % lower bound of Clopper and Pearson."""
    k = round(held * studies)
    return float(stats.beta.ppf(0.05, k, studies - k + 1)) if k else 0.0


def render(record: dict[str, Any]) -> str:
    """Markdown, with how it was made."""
    where = record["machine"]
    lines = [
        "# Ten thousand looks",
        "",
        f"Made by `python benchmarks/anytime.py --studies {record['studies']} --people {record['people']}` (commit "
        f"{where['commit']}, Python {where['python']}, numpy {where['versions']['numpy']}). Simulated people; the "
        "first lines of the program describe the setting.",
        "",
        "| prompts | studies | looks | all pairs held at all looks (s.e.) | at least, with 95 % confidence |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {prompts} | {record['studies']} | {record['people'] - FIRST + 1:,} | {row['held']:.3f} ({row['se']:.3f}) | "
        f"{math.floor(1000 * least(row['held'], record['studies'])) / 1000:.3f} |"
        for prompts, row in record["held"].items()
    ]
    return "\n".join(lines) + "\n"


def run_studies(studies: int, people: int, *, work: Path | None, jobs: int) -> dict[str, bool]:
    """Whether each study fails, those in the file `work` without doing them again."""
    kept = json.loads(work.read_text()) if work is not None and work.is_file() else {}
    done: dict[str, bool] = kept["failed"] if kept.get("people") == people else {}
    every = ((f"{prompts} prompts, study {seed}", prompts, seed) for prompts in PROMPTS for seed in range(studies))
    missing = [one for one in every if one[0] not in done]
    with ProcessPoolExecutor(jobs) as pool:
        running = {pool.submit(study_fails, people, prompts, seed): key for key, prompts, seed in missing}
        for future in as_completed(running):
            done[running[future]] = future.result()[0]
            if work is not None:
                write_atomic(work, json.dumps({"people": people, "failed": done}).encode(), parents=True)
    return done


def main() -> int:
    """Run, print, write; exit code 1 if coverage is below 95 % by more than two standard errors."""
    parser = studies_parser(__doc__)
    parser.add_argument("--people", type=int, default=10_019)
    parser.add_argument("--work", type=Path, help="keeps the studies that are done, so that an interrupted run goes on")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    asked = {"studies": args.studies, "people": args.people}
    record: dict[str, Any] = {"machine": machine("numpy", "scipy"), **asked, "held": {}}
    done = run_studies(args.studies, args.people, work=args.work, jobs=args.jobs)
    for prompts in PROMPTS:
        failed = [done[f"{prompts} prompts, study {seed}"] for seed in range(args.studies)]
        held = 1 - float(np.mean(failed))
        record["held"][str(prompts)] = {"held": held, "se": math.sqrt(max(held * (1 - held), 1e-9) / args.studies)}
        print(prompts, record["held"][str(prompts)], flush=True)
    text = render(record)
    publish(args.results, "anytime", record, text)
    return 0 if all(row["held"] + 2 * row["se"] >= CONFIDENCE for row in record["held"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())

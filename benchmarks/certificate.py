"""What the fidelity certificate may claim: coverage, false claims and votes, in simulated studies.

    python -m benchmarks.certificate                all cells, 300 studies each: results/certificate.json and .md
    python -m benchmarks.certificate --only mean,share --studies 1000
    python -m benchmarks.certificate --missing      only cells that results/certificate.json lacks

Every cell is a design in a world: observers (`qsched.simulation.observers`) answer triplets, the clauses of
`analysis/certify.py` judge them. "coverage" is the share of studies whose upper bound is not below the truth, "shown"
the share in which the clause is shown; +- is the Monte Carlo standard error. With `--only`, the
cells of the other groups stay as the last run left them; each cell names the commit that it was run at.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from analysis.stats.errors import AnalysisError
from analysis.stats.jnd import NODES, fit_jnd
from analysis.stats.jnd.mapping import check_map, mapped_bound
from analysis.stats.jnd.scale import PEOPLE_SD, PROMPT_SD
from analysis.stats.jnd.share import Perception, VoteStage, flag_probability, share_under
from analysis.triplets import BOOSTED
from benchmarks.certificate_designs import EIGHT_ARMS, EIGHT_CHECKED, FEWER, ONE_ARM, Mixed
from benchmarks.certificate_metrics import metric_study
from benchmarks.certificate_people import people_study
from benchmarks.certificate_studies import (
    REFERENCE,
    Comparison,
    ladder_damage,
    plain_design,
    simulate_study,
)
from benchmarks.machine import machine
from qsched.files import write_atomic
from qsched.simulation.observers import WORLDS, ObserverPopulation, draw_damage

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 0.5
PEOPLE = 40
PROMPTS = 100
Result = dict[str, float | int | str]
#: What is a share of the studies, in the order of the table's columns.
SHARES = ("covered", "shown", "noticed", "fallen back", "refused")


@dataclass(frozen=True)
class Cell:
    """One line of the table: its group, what it is, the target it has to meet, and how one study is made and judged."""

    group: str
    name: str
    target: str
    study: Callable[[np.random.Generator], dict[str, float]]


def mean_cells() -> list[Cell]:
    """Plain votes: the 95 % upper bound of the mean damage, and the power of "mean under 0.5 JND"."""
    cells = []

    def add(name: str, target: str, world: str, damage: float, **options: Any) -> None:
        cells.append(Cell("mean", name, target, _mean_study(world, damage, **options)))

    for damage, nodes, target in (
        (0.25, 1, "coverage >= .94, shown >= .80"),
        (0.5, 1, "coverage >= .94"),
        (0.25, NODES, "coverage >= .94"),
        (0.5, NODES, "coverage >= .94"),
        (1.5, NODES, "coverage >= .90"),
        (1.5, 1, "none: the pooled model is not for strong damage"),
    ):
        model = "pooled" if nodes == 1 else "hierarchical"
        add(f"{model}, lognormal, D = {damage}, 400 votes", target, "lognormal", damage, nodes=nodes)
    for world in WORLDS:
        if world != "lognormal":
            add(f"pooled, {world}, D = 0.5, 400 votes", "coverage >= .94", world, 0.5)
    for damage, wanted in ((0.5, "coverage >= .94"), (0.25, "none: what the wider spread costs")):
        name = f"pooled, two groups, D = {damage}, 400 votes, prompt_sd 0.8 registered"
        add(name, wanted, "two groups", damage, prompt_sd=0.8)
    name = "pooled, lognormal, D = 0.25, 450 votes, prompt_sd 0.8 registered"
    add(name, "none: what the wider spread costs", "lognormal", 0.25, votes=450, prompt_sd=0.8)
    name = "pooled, lognormal, D = 0.5, 4,000 votes of 40 people"
    add(name, "coverage >= .94", "lognormal", 0.5, votes=4000)
    name = "pooled, lognormal, D = 0.25, 10 people with 40 votes each"
    add(name, "coverage >= .94", "lognormal", 0.25, people=10)
    return cells


def _mean_study(
    world: str, damage: float, *, nodes: int = 1, votes: int = 400, people: int = PEOPLE, prompt_sd: float = PROMPT_SD
) -> Callable[[np.random.Generator], dict[str, float]]:
    def study(rng: np.random.Generator) -> dict[str, float]:
        made = simulate_study(
            plain_design(["arm"], votes),
            damage={"arm": draw_damage(world, damage, PROMPTS, rng=rng)},
            people=people,
            population=ObserverPopulation(),
            rng=rng,
        )
        spread = math.hypot(PEOPLE_SD, prompt_sd) if nodes == 1 else PEOPLE_SD
        fit = fit_jnd(made.codes, nodes=nodes, people_sd=spread)
        upper = fit.damage("arm") + float(stats.t.ppf(0.95, fit.df)) * fit.se(0)
        return {"covered": upper >= damage, "shown": upper < LIMIT, "estimate": fit.damage("arm"), "votes": votes}

    return study


#: The plan of the share clause: chosen by expected power (docs/certificate.md).
STAGES = (VoteStage(BOOSTED, 12, 10.0), VoteStage(BOOSTED, 40, 34.0))
SHARE_GAIN = 2.2
PERCEPTION = Perception(gain=SHARE_GAIN, gain_sd=0.15, people_sd=0.3)
BROKEN = 0.07


def share_cells() -> list[Cell]:
    """Two-stage share clause with 200 prompts: "95 % of prompts under 1 JND"."""
    cells = [
        Cell(
            "share", "lognormal, D = 0.25, nothing broken", "shown >= .80 in <= 5,000 votes", _share_study("lognormal")
        )
    ]
    for world in WORLDS:
        rest = "lognormal" if world == "broken" else world
        at = 1.0 if world == "broken" else 1.25
        name = f"7 % of prompts at {at} JND, the others {rest}"
        cells.append(Cell("share", name, "shown <= .05", _share_study(rest, broken=at)))
    varying = _share_study("lognormal", broken=1.0, gain_sd=0.3)
    cells.append(Cell("share", "7 % at 1.0 JND, gain varies more than assumed (.3)", "shown <= .05", varying))
    return cells


def _share_study(
    world: str, *, broken: float = 0.0, gain_sd: float = 0.1
) -> Callable[[np.random.Generator], dict[str, float]]:
    prompts, people = 200, 60
    pi = flag_probability(STAGES, 1.0, PERCEPTION)

    def study(rng: np.random.Generator) -> dict[str, float]:
        damage = np.minimum(draw_damage(world, 0.25, prompts, rng=rng), 0.99)
        if broken:
            damage[: round(BROKEN * prompts)] = broken
        population = ObserverPopulation(gain=SHARE_GAIN, gain_log_sd=gain_sd)
        all_votes = prompts * sum(stage.votes for stage in STAGES)
        made = simulate_study(
            [Comparison(REFERENCE, "arm", BOOSTED, all_votes)],
            damage={"arm": damage},
            people=people,
            population=population,
            rng=rng,
        )
        first = share_under(made.codes, "arm", STAGES[:1], pi=pi)
        found = share_under(made.codes, "arm", STAGES, pi=pi)
        # The study would ask for the second stage only where the first did not clear the prompt.
        votes = prompts * STAGES[0].votes + first.flagged * STAGES[1].votes
        truth = float((damage < 1).mean())
        return {"covered": found.lower <= truth, "shown": found.lower >= 0.95, "estimate": found.lower, "votes": votes}

    return study


def mixed_cells() -> list[Cell]:
    """Boosted votes of the arm, map from other pictures, likelihood-ratio bound."""
    cells = []
    for name, design, target in (
        ("one arm", ONE_ARM, "none: half of the plain votes is out of reach"),
        ("eight arms", EIGHT_ARMS, "shown >= .80, votes <= 1/3 of plain"),
    ):
        for damage, wanted in ((0.25, target), (0.5, "coverage >= .94")):
            text = f"{name}, gain 4, D = {damage}, {design.votes:,} votes in all"
            cells.append(Cell("mixed", text, wanted, _mixed_study(design, damage, check=False)))
    for name, (design, shares) in FEWER.items():
        for share in shares:
            some = design.scaled(share)
            text = f"{name}, gain 4, D = 0.25, {some.votes:,} votes in all"
            cells.append(Cell("mixed", text, "none: votes against power", _mixed_study(some, 0.25, check=False)))
    for name, world in (("prompts' damage drawn for each arm alone", "own"), ("two groups of prompts", "two groups")):
        text = f"eight arms, gain 4, D = 0.5, {EIGHT_ARMS.votes:,} votes, {name}"
        study = _mixed_study(EIGHT_ARMS, 0.5, check=False, world=world)
        cells.append(Cell("mixed", text, "coverage >= .94", study))
    for damage, exponent, wanted in (
        (0.25, 1.0, "straight, shown >= .80"),
        (0.5, 1.0, "coverage >= .94"),
        (0.25, 1.5, "noticed or fallen back >= .90"),
        (0.25, 0.65, "noticed or fallen back >= .90"),
    ):
        text = f"eight arms with map check, exponent {exponent}, D = {damage}, {EIGHT_CHECKED.votes:,} votes"
        study = _mixed_study(EIGHT_CHECKED, damage, exponent=exponent, check=True)
        cells.append(Cell("map", text, wanted, study))
    return cells


def people_cells() -> list[Cell]:
    """Plain votes when some people look only where the difference is obvious: the mean clause under 0.5 JND."""
    clean, caught = "refused <= .02", "shown <= .05"
    return [
        Cell("people", "everybody looks, D = 0.25, 400 votes", clean, people_study(0.25, votes=400)),
        Cell(
            "people",
            "everybody looks, D = 0.25, 400 votes and 200 at 2.5 JND",
            clean,
            people_study(0.25, votes=400, strong=200),
        ),
        Cell(
            "people",
            "the same, sensitivity differs by .5 where .3 is assumed",
            "none: a wrong assumption",
            people_study(0.25, votes=400, strong=200, sensitivity_sd=0.5),
        ),
        Cell(
            "people",
            "half of the people at random, D = 0.8, 400 votes",
            "none: no strong arm",
            people_study(0.8, votes=400, blind=0.5),
        ),
        Cell(
            "people",
            "half at random, D = 0.8, 400 votes and 200 at 2.5 JND",
            caught,
            people_study(0.8, votes=400, strong=200, blind=0.5),
        ),
        Cell(
            "people",
            "a quarter at random, D = 0.8, 400 votes and 200 at 2.5 JND",
            caught,
            people_study(0.8, votes=400, strong=200, blind=0.25),
        ),
        Cell(
            "people",
            "three quarters not sure, D = 0.8, 400 votes and 200 at 2.5 JND",
            caught,
            people_study(0.8, votes=400, strong=200, blind=0.75, how="not sure"),
        ),
    ]


def metric_cells() -> list[Cell]:
    """A metric on the JND scale: the 95 % upper bound of the mean damage at one value of the metric."""
    target = "coverage >= .94; the estimate is a ratio to the truth"
    return [
        Cell("metric", "metric map, spread .4, 600 votes of 40 people", target, metric_study(spread=0.4)),
        Cell("metric", "metric map, spread .8, 600 votes of 40 people", target, metric_study(spread=0.8)),
        Cell("metric", "metric map, gamma around it, 600 votes", target, metric_study(spread=0.6, gamma=True)),
        Cell("metric", "metric map, 10 people with 60 votes each", target, metric_study(spread=0.4, people=10)),
    ]


def _mixed_study(
    design: Mixed, damage: float, *, check: bool, exponent: float = 1.0, world: str = "shared"
) -> Callable[[np.random.Generator], dict[str, float]]:
    """`world` is how damage lies over prompts: one factor of the prompt for all arms and rungs ("shared"), a factor
    drawn for each ("own"), or two groups of prompts."""
    arm = design.arm_names[0]
    means = {f"rung{d:g}": d for d in design.rungs} | dict.fromkeys(design.arm_names, damage)

    def study(rng: np.random.Generator) -> dict[str, float]:
        if world == "shared":
            values = ladder_damage(list(means.values()), design.prompts, rng=rng, spread=0.5)
        else:
            kind = "lognormal" if world == "own" else world
            values = [draw_damage(kind, mean, design.prompts, rng=rng) for mean in means.values()]
        made = simulate_study(
            design.comparisons(),
            damage=dict(zip(means, values, strict=True)),
            people=design.people,
            population=ObserverPopulation(gain=design.gain, gain_log_sd=0.3, exponent=exponent),
            rng=rng,
        )
        result: dict[str, float] = {"votes": design.votes}
        straight = True
        if check:
            try:
                seen = check_map(made.codes, arm)
                straight = seen.straight
                result |= {
                    "noticed": not seen.exponent_low <= 1 <= seen.exponent_high,
                    "exponent": seen.exponent,
                }
            except AnalysisError:
                straight = False
                result |= {"noticed": 0, "exponent": np.nan}
            result["fallen back"] = not straight
        try:
            bound = mapped_bound(made.codes, arm)
            result |= {"covered": bound.upper >= damage, "estimate": bound.damage}
            result["shown"] = bound.upper < LIMIT and straight
        except AnalysisError:
            result |= {"covered": True, "estimate": np.nan, "shown": False}
        return result

    return study


def run_cell(cell: Cell, *, studies: int, seed: int) -> Result:
    """Means over the studies, with the Monte Carlo error of every share."""
    start, rows = time.process_time(), []
    for number in range(studies):
        key = [seed, number, *cell.name.encode()]
        rows.append(cell.study(np.random.default_rng(key)))
    result: Result = {"group": cell.group, "target": cell.target, "studies": studies}
    for name in rows[0]:
        values = np.array([float(row[name]) for row in rows])
        result[name] = round(float(np.nanmean(values)), 4)
        if name in SHARES:
            p = float(values.mean())
            result[f"{name} error"] = round(float(np.sqrt(max(p * (1 - p), 1 / studies) / studies)), 4)
    result["processor seconds"] = round(time.process_time() - start, 1)
    return result


def document(results: dict[str, Result], record: dict[str, object]) -> str:
    """The table in words that stand alone."""
    lines = [
        "# What the fidelity certificate may claim",
        "",
        "Made by `python -m benchmarks.certificate`; what each cell is, is said in that file's docstring and in "
        "docs/certificate.md. +- is one Monte Carlo standard error.",
        "",
        f"Machine: {json.dumps(record['machine'])}; seed {record['seed']}.",
        "",
        "| group | cell | studies | votes | coverage | shown | map noticed as bent | fell back | refused | estimate "
        "| target |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, r in results.items():
        shares = " | ".join(f"{r[key]:.3f} +- {r[f'{key} error']:.3f}" if key in r else "" for key in SHARES)
        votes, estimate = round(float(r["votes"])), float(r["estimate"])
        lines.append(
            f"| {r['group']} | {name} | {r['studies']} | {votes:,} | {shares} | {estimate:.3f} | {r['target']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the cells that are asked for, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument(
        "--only", default="", help="groups, separated by commas: mean, share, mixed, map, metric, people"
    )
    parser.add_argument("--missing", action="store_true", help="only cells that the stored result lacks")
    parser.add_argument("--no-write", action="store_true")
    args = parser.parse_args()
    folder = ROOT / "benchmarks" / "results"
    path = folder / "certificate.json"
    earlier = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else {}
    where = machine("numpy", "scipy")
    record: dict[str, object] = {"machine": where, "seed": args.seed}
    record["designs"] = {
        "one arm": asdict(ONE_ARM),
        "eight arms": asdict(EIGHT_ARMS),
        "checked": asdict(EIGHT_CHECKED),
    }
    record["share"] = {
        "stages": [asdict(stage) for stage in STAGES],
        "perception": asdict(PERCEPTION),
        "pi": round(flag_probability(STAGES, 1.0, PERCEPTION), 4),
    }
    results: dict[str, Result] = {}
    cells = (*mean_cells(), *share_cells(), *mixed_cells(), *metric_cells(), *people_cells())
    names = {cell.name for cell in cells}
    for cell in cells:
        wanted = not args.only or cell.group in args.only.split(",")
        if not wanted or (args.missing and cell.name in earlier):
            if cell.name in earlier:
                results[cell.name] = earlier[cell.name]
            continue
        results[cell.name] = run_cell(cell, studies=args.studies, seed=args.seed) | {"commit": where["commit"]}
        print(cell.name, results[cell.name], flush=True)
        if not args.no_write:
            folder.mkdir(exist_ok=True)
            later = {name: one for name, one in earlier.items() if name in names and name not in results}
            text = json.dumps({**record, "cells": results | later}, indent=1)
            write_atomic(path, (text + "\n").encode())
    if not args.no_write:
        write_atomic(folder / "certificate.md", document(results, record).encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

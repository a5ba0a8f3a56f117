"""Simulated fidelity studies for benchmarks/certificate.py: designs, worlds of damage, and the votes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.triplets import BOOSTED, PLAIN, TripletCodes
from analysis.triplets.codes import TASK, TRAP
from qsched.simulation.observers import ObserverPopulation, answer_triplets, draw_gains, draw_observers

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Traps show the reference against this damage.
TRAP_DAMAGE = 8.0
REFERENCE = "reference"


@dataclass(frozen=True)
class Comparison:
    """So many votes between two pictures, shown plain or boosted."""

    first: str
    second: str
    presentation: int
    votes: int


@dataclass(frozen=True)
class Simulated:
    """One study: its votes, and what is true of each picture on each prompt."""

    codes: TripletCodes
    damage: dict[str, Floats]


def simulate_study(
    comparisons: Sequence[Comparison],
    *,
    damage: dict[str, Floats],
    people: int,
    population: ObserverPopulation,
    rng: np.random.Generator,
    traps: int = 10,
) -> Simulated:
    """People and prompts crossed evenly: every comparison goes round all prompts in random order; `traps` a person and
    presentation."""
    prompts = len(next(iter(damage.values())))
    names = (REFERENCE, *damage, "trap")
    truth = np.vstack([np.zeros(prompts), *damage.values(), np.full(prompts, TRAP_DAMAGE)])
    shown_at = sorted({c.presentation for c in comparisons})
    columns: list[list[Ints]] = [[] for _ in range(5)]
    first, second, shown, prompt, kind = columns
    for c in comparisons:
        rounds = -(-c.votes // prompts)
        first.append(np.full(c.votes, names.index(c.first)))
        second.append(np.full(c.votes, names.index(c.second)))
        shown.append(np.full(c.votes, c.presentation))
        prompt.append(np.concatenate([rng.permutation(prompts) for _ in range(rounds)])[: c.votes])
        kind.append(np.full(c.votes, TASK))
    n_task = sum(c.votes for c in comparisons)
    person = rng.permutation(np.arange(n_task) % people)
    for trapped in shown_at:
        n = people * traps
        first.append(np.zeros(n, dtype=np.int64))
        second.append(np.full(n, len(names) - 1))
        shown.append(np.full(n, trapped))
        prompt.append(rng.integers(0, prompts, n))
        kind.append(np.full(n, TRAP))
        person = np.concatenate([person, np.repeat(np.arange(people), traps)])
    a, b, m, p = (np.concatenate(x).astype(np.int64) for x in (first, second, shown, prompt))
    flip = rng.random(len(a)) < 0.5
    left, right = np.where(flip, b, a), np.where(flip, a, b)
    answer = answer_triplets(
        draw_observers(people, population=population, rng=rng),
        person=person,
        left=truth[left, p],
        right=truth[right, p],
        boosted=m == BOOSTED,
        gain=draw_gains(prompts, population=population, rng=rng)[p],
        population=population,
        rng=rng,
    )
    codes = TripletCodes(
        person,
        p,
        m,
        left,
        right,
        answer,
        np.concatenate(kind).astype(np.int64),
        tuple(f"person{i:03d}" for i in range(people)),
        tuple(f"prompt{i:04d}" for i in range(prompts)),
        names,
    )
    return Simulated(codes, damage)


def plain_design(arms: Sequence[str], votes: int) -> list[Comparison]:
    """Each arm against the reference, plain."""
    return [Comparison(REFERENCE, arm, PLAIN, votes) for arm in arms]


def ladder_damage(rungs: Sequence[float], prompts: int, *, rng: np.random.Generator, spread: float) -> list[Floats]:
    """Damages of the rungs on each prompt: one log-normal factor a prompt, shared by the rungs."""
    factor = np.exp(spread * rng.standard_normal(prompts) - spread**2 / 2)
    return [rung * factor for rung in rungs]


def mixed_design(
    arms: Sequence[str],
    *,
    reference_votes: int,
    rung_votes: int,
    ladder: Sequence[str],
    ladder_votes: int,
    plain: dict[str, int],
) -> list[Comparison]:
    """Boosted: each arm against the reference and against the lowest rung, each rung against the next; plain: rungs
    against the reference."""
    made = [Comparison(REFERENCE, arm, BOOSTED, reference_votes) for arm in arms]
    made += [Comparison(arm, ladder[0], BOOSTED, rung_votes) for arm in arms]
    made += [Comparison(a, b, BOOSTED, ladder_votes) for a, b in itertools.pairwise(ladder)]
    made += [Comparison(REFERENCE, rung, PLAIN, votes) for rung, votes in plain.items()]
    return [comparison for comparison in made if comparison.votes]

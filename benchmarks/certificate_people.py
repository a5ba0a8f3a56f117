"""Simulated studies in which some people look only where the difference is obvious: the traps do not show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from analysis.certificate.attention import refuse_inattentive
from analysis.certificate.mean import judge_mean
from analysis.triplets import PLAIN
from analysis.triplets.codes import NOT_SURE, TASK
from benchmarks.certificate_studies import REFERENCE, Comparison, plain_design, simulate_study
from qsched.records.registration import MeanPlan, Registration
from qsched.simulation.observers import ObserverPopulation, draw_damage

#: Damage of the other arm, whose difference everybody must see who looks.
STRONG = 2.5
PEOPLE, PROMPTS = 40, 100
How = Literal["at random", "not sure"]


def people_study(
    damage: float,
    *,
    votes: int,
    strong: int = 0,
    blind: float = 0.0,
    how: How = "at random",
    sensitivity_sd: float = 0.3,
) -> Callable[[np.random.Generator], dict[str, float]]:
    """Plain votes on the arm, and `strong` votes on an arm of 2.5 JND. A share `blind` of the people answers all
    but the traps without looking.

    refused     the clause was refused because people differ more than assumed
    estimate    of the damage, those people included
    """
    clause = MeanPlan()
    plan = Registration(study="simulated", registered_at=datetime(2026, 1, 1, tzinfo=UTC), arm="arm", mean=clause)

    def study(rng: np.random.Generator) -> dict[str, float]:
        design, true = plain_design(["arm"], votes), {"arm": draw_damage("lognormal", damage, PROMPTS, rng=rng)}
        if strong:
            design.append(Comparison(REFERENCE, "strong", PLAIN, strong))
            true["strong"] = draw_damage("lognormal", STRONG, PROMPTS, rng=rng)
        population = ObserverPopulation(sensitivity_log_sd=sensitivity_sd)
        codes = simulate_study(design, damage=true, people=PEOPLE, population=population, rng=rng).codes
        unseen = (rng.permutation(PEOPLE) < blind * PEOPLE)[codes.person] & (codes.kind == TASK)
        said = rng.integers(0, 3, codes.n_votes) if how == "at random" else np.full(codes.n_votes, NOT_SURE)
        codes = replace(codes, answer=np.where(unseen, said, codes.answer))
        found = judge_mean(codes, plan, clause)
        guarded = refuse_inattentive(found, codes, plan, (PLAIN,))
        refused = any(note.startswith("Refused.") for note in guarded.notes)
        value = found.numbers.get("damage")
        return {
            "shown": guarded.shown,
            "refused": refused,
            "without refusal": found.shown,
            "estimate": float(value) if isinstance(value, (int, float)) else float("nan"),
            "votes": votes + strong,
        }

    return study

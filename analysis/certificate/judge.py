"""Votes and a registration in, a certificate out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

import polars as pl

from analysis.certificate.attention import MOST_RANDOM, NAMES, random_share_borne, refuse_inattentive
from analysis.certificate.mean import POOLED_UP_TO, judge_mean, plain_mean
from analysis.certificate.preference import judge_preference
from analysis.certificate.prompts import judge_content, judge_share, read_content
from analysis.certificate.registration import Registered
from analysis.certificate.result import ClauseResult
from analysis.triplets import (
    BOOSTED,
    PLAIN,
    ScreenedTriplets,
    TrapRule,
    TripletCodes,
    TripletTable,
    code_triplets,
    screen,
)
from analysis.votes import read_votes
from qsched.records import InputError
from qsched.records.registration import MeanPlan, Registration

#: Other trap rules under which the mean clause is shown beside: screening moves the scale more than any model.
OTHER_RULES = (0.6, 0.85)
#: A share of votes cast at random, off the traps, under which the mean clause is shown beside.
SOME_RANDOM = 0.1
#: A spread over prompts at which the pooled bound also holds where a third of the prompts has most of the damage.
WIDER_SPREAD = 0.8


@dataclass(frozen=True)
class Certificate:
    """The verdicts in the order of the registration, how they were reached, and why they may be exploratory."""

    registered: Registered
    clauses: tuple[ClauseResult, ...]
    exploratory: tuple[str, ...]
    screened: ScreenedTriplets
    sensitivity: tuple[tuple[str, str], ...]
    reference: str
    simulated: int


def certify_votes(
    table: TripletTable, registered: Registered, *, preference: list[str] | None = None, content: str | None = None
) -> Certificate:
    """Judge every registered clause. `preference`: files of preference votes; `content`: table of changed content."""
    plan = registered.plan
    table = _in_order(table)
    reference = table.reference
    known = set(table.values("left_arm")) | set(table.values("right_arm"))
    if plan.arm not in known - {reference}:
        listed = ", ".join(repr(name) for name in sorted(known - {reference}))
        raise InputError(f"The registered arm is {plan.arm!r}; the votes show {listed} beside {reference!r}.")
    rule = TrapRule(share=plan.traps.share, least=plan.traps.least)
    screened = screen(table, rule)
    codes = code_triplets(screened.table)
    changed = None if content is None else read_content(content, plan.arm)
    clauses: list[ClauseResult] = []
    if plan.mean is not None:
        clauses.append(_mean(codes, plan))
    if plan.share is not None:
        share = judge_share(codes, plan, plan.share, changed=None if changed is None else changed.changed)
        asked = sorted({NAMES.index(stage.presentation) for stage in plan.share.stages})
        clauses.append(refuse_inattentive(share, codes, plan, asked))
    if plan.content is not None:
        if changed is None:
            raise InputError("The registration has a content clause: give --content FILE (prompt_id, arm, changed).")
        clauses.append(judge_content(changed, plan, plan.content))
    if plan.preference is not None:
        if not preference:
            raise InputError("The registration has a preference clause: give --preference FILE (a votes table).")
        clauses.append(judge_preference(read_votes(list(preference)), plan, plan.preference, reference=reference))
    return Certificate(
        registered,
        tuple(clauses),
        _exploratory(table, registered),
        screened,
        _sensitivity(table, registered),
        reference,
        int(screened.table.frame["simulated"].sum()),
    )


def _mean(codes: TripletCodes, plan: Registration) -> ClauseResult:
    """The mean clause, with how many random votes it bears; refused where people seem to answer without looking."""
    clause = cast("MeanPlan", plan.mean)
    found = judge_mean(codes, plan, clause)
    plain = str(found.numbers["evidence"]).startswith("plain")
    if plain and found.shown:
        borne = random_share_borne(lambda x: plain_mean(codes, plan, clause, claim="", blind=x).shown)
        bears = f"even with {100 * borne:.0f} %" if borne >= MOST_RANDOM else f"with up to {100 * borne:.0f} %"
        note = f"It would be shown {bears} of the votes off the traps cast at random."
        found = replace(found, numbers={**found.numbers, "random_votes_borne": borne}, notes=(*found.notes, note))
    return refuse_inattentive(found, codes, plan, (PLAIN,) if plain else (PLAIN, BOOSTED))


def _in_order(table: TripletTable) -> TripletTable:
    """By time of answering where every vote has one: the share clause takes the first votes of a prompt."""
    if table.frame["answered_at"].null_count():
        return table
    return table.with_frame(table.frame.sort("answered_at", maintain_order=True))


def _exploratory(table: TripletTable, registered: Registered) -> tuple[str, ...]:
    """Why this is not a certificate of a registered study; empty if it is one."""
    if not registered.sha256:
        return ("No registration was given: margins, cuts and rules were not fixed before the votes.",)
    plan, reasons = registered.plan, []
    # Votes of an earlier calibration study may be here too; only the study's own must come after the registration.
    own = table.frame.filter((pl.col("study") == plan.study).fill_null(True))
    first = cast("datetime | None", own["answered_at"].min())
    if first is None:
        reasons.append("The votes have no times: that the registration came first cannot be seen.")
    elif first <= plan.registered_at:
        reasons.append(f"The first vote ({first}) is not later than the registration ({plan.registered_at}).")
    studies = table.values("study")
    if studies and plan.study not in studies:
        reasons.append(f"The registration is of the study {plan.study!r}, the votes of {', '.join(studies)}.")
    return tuple(reasons)


def _sensitivity(table: TripletTable, registered: Registered) -> tuple[tuple[str, str], ...]:
    """The mean clause with random votes off the traps, with prompts that differ more, and under other trap rules."""
    plan = registered.plan
    if plan.mean is None:
        return ()
    kept = screen(table, TrapRule(share=plan.traps.share, least=plan.traps.least)).table
    found = plain_mean(code_triplets(kept), plan, plan.mean, claim="", blind=SOME_RANDOM)
    rows = [
        (f"plain votes, {100 * SOME_RANDOM:.0f} % cast at random off the traps", f"{found.verdict}: {found.finding}")
    ]
    if plan.mean.limit <= POOLED_UP_TO and plan.prompt_sd < WIDER_SPREAD:
        wider = plan.model_copy(update={"prompt_sd": WIDER_SPREAD})
        found = plain_mean(code_triplets(kept), wider, plan.mean, claim="")
        rows.append((f"plain votes, spread over prompts {WIDER_SPREAD:g}", f"{found.verdict}: {found.finding}"))
    for share in OTHER_RULES:
        try:
            some = screen(table, TrapRule(share=share, least=plan.traps.least))
        except InputError:
            rows.append((f"{100 * share:.0f} % of the traps right", "nobody is left"))
            continue
        found = _mean(code_triplets(some.table), plan)
        rows.append((f"{100 * share:.0f} % of the traps right", f"{found.verdict}: {found.finding}"))
    return tuple(rows)

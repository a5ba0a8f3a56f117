"""The clauses about single prompts: the share under 1 JND, and the share whose content changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.certificate.result import ClauseResult
from analysis.stats.errors import AnalysisError
from analysis.stats.jnd.scale import score_pictures
from analysis.stats.jnd.share import Perception, VoteStage, flag_probability, share_bound, share_under, upper_share
from analysis.triplets import BOOSTED, PLAIN, TripletCodes
from analysis.triplets.codes import TRAP
from analysis.votes.sources import open_source
from qsched.command_line import counted
from qsched.records import InputError, RowError
from qsched.records.registration import ContentPlan, Registration, SharePlan

_MOST_PROMPTS = 1_000_000


def judge_share(
    codes: TripletCodes, plan: Registration, clause: SharePlan, *, changed: frozenset[str] | None
) -> ClauseResult:
    """The share clause with the smaller of the registered pi and the one that the study's own votes give.

    `changed` are the prompts whose content changed, None where nobody said which.
    """
    claim = f"At least {100 * clause.share:.0f} % of prompts are under 1 JND from the reference"
    if plan.arm not in codes.pictures:
        return ClauseResult("share", claim, False, f"No vote shows {plan.arm}.")
    stages = tuple(
        VoteStage(PLAIN if stage.presentation == "plain" else BOOSTED, stage.votes, stage.cut)
        for stage in clause.stages
    )
    perception, notes = measured_perception(codes, plan, clause)
    if perception is None:
        return ClauseResult("share", claim, False, " ".join(notes))
    own = flag_probability(stages, 1.0, perception)
    pi = min(clause.pi, own)
    if own < clause.pi:
        notes += (
            f"The registered pi was {clause.pi:.3f}; thresholds and lapses of these votes give {own:.3f}, "
            "which is used.",
        )
    found = share_under(codes, plan.arm, stages, pi=pi, confidence=plan.confidence, changed=changed or ())
    if changed is None and any(stage.presentation == "boosted" for stage in clause.stages):
        notes += (
            "Nobody said on which prompts content changed (--content). Such prompts are not boosted; if they are "
            "missing from the votes, the share is that of the other prompts.",
        )
    if changed:
        notes += (f"{counted(len(changed), 'prompt')} with changed content counted as flagged.",)
    if found.incomplete:
        notes += (f"{counted(found.incomplete, 'prompt')} lacking votes of a stage counted as flagged.",)
    shown = found.lower >= clause.share
    finding = (
        f"{found.flagged} of {found.prompts} prompts flagged; share under 1 JND at least {100 * found.lower:.1f} % "
        f"({100 * plan.confidence:.0f} % bound, pi {pi:.2f}, {found.votes:,} votes)"
    )
    needs = None if shown else prompts_needed(found.flagged / found.prompts, clause.share, pi, plan.confidence)
    numbers = {
        "flagged": found.flagged,
        "prompts": found.prompts,
        "incomplete": found.incomplete,
        "pi": pi,
        "pi_registered": clause.pi,
        "pi_of_these_votes": own,
        "lower": found.lower,
        "share": clause.share,
        "votes": found.votes,
        "gain": clause.gain,
        "gain_sd": clause.gain_sd,
        "people_sd": plan.people_sd,
    }
    if found.open_prompts:
        notes += (f"More votes could clear {counted(len(found.open_prompts), 'prompt')} (--open-prompts).",)
    if not shown and needs is None:
        notes += ("So many prompts are flagged that more of them would not show the clause.",)
    return ClauseResult("share", claim, shown, finding, needs, "prompts", numbers, notes, found.open_prompts)


def measured_perception(
    codes: TripletCodes, plan: Registration, clause: SharePlan
) -> tuple[Perception | None, tuple[str, ...]]:
    """Thresholds and lapse rates of these votes, gain and spreads of the registration; None with the reason."""
    thresholds, lapses = [0.3, 0.3], [0.05, 0.05]
    for shown in {PLAIN if stage.presentation == "plain" else BOOSTED for stage in clause.stages}:
        some = codes.where(codes.presentation == shown)
        name = ("plain", "boosted")[shown]
        if not (some.kind == TRAP).any():
            return None, (f"There are no {name} traps: the lapse rate, and with it pi, is not known.",)
        try:
            scale = score_pictures(some, people_sd=plan.people_sd)
        except AnalysisError as error:
            return None, (str(error),)
        if scale.fit is None:
            return None, (f"The {name} votes carry no scale: {scale.problem}",)
        thresholds[shown] = float(scale.fit.theta[scale.fit.layout.threshold(shown)])
        lapses[shown] = float(scale.fit.lapse[shown])
    return (
        Perception(
            thresholds=(thresholds[0], thresholds[1]),
            lapses=(lapses[0], lapses[1]),
            people_sd=plan.people_sd,
            gain=clause.gain,
            gain_sd=clause.gain_sd,
        ),
        (),
    )


def prompts_needed(rate: float, share: float, pi: float, confidence: float) -> int | None:
    """Prompts that show the share if they are flagged at this rate (rounded up to a whole prompt); None: never."""
    if rate / pi >= 1 - share:
        return None
    prompts = 20
    while prompts < _MOST_PROMPTS:
        if share_bound(int(np.ceil(rate * prompts)), prompts, pi=pi, confidence=confidence) >= share:
            return prompts
        prompts = int(prompts * 1.05) + 1
    return None


def judge_content(found: ChangedContent, plan: Registration, clause: ContentPlan) -> ClauseResult:
    """The clause about changed content: an exact upper bound of the share of prompts."""
    changed, prompts = len(found.changed), found.prompts
    claim = f"Content changed on at most {100 * clause.share:.1f} % of prompts"
    upper = upper_share(changed, prompts, confidence=plan.confidence)
    shown = upper <= clause.share
    finding = (
        f"{changed} of {prompts} prompts changed; at most {100 * upper:.1f} % ({100 * plan.confidence:.0f} % bound)"
    )
    needs = None if shown else prompts_needed(changed / prompts, 1 - clause.share, 1.0, plan.confidence)
    numbers = {"changed": changed, "prompts": prompts, "upper": upper, "share": clause.share}
    return ClauseResult("content", claim, shown, finding, needs, "prompts", numbers)


@dataclass(frozen=True)
class ChangedContent:
    """On which prompts of an arm content changed, and how many prompts were looked at."""

    changed: frozenset[str]
    prompts: int


def read_content(path: str, arm: str) -> ChangedContent:
    """Which prompts changed, from a table with the columns prompt_id, arm, changed."""
    source = open_source(path)
    lacking = [name for name in ("prompt_id", "arm", "changed") if name not in source.columns]
    if lacking:
        raise InputError(f"{source.name} has no column {', '.join(lacking)}; it needs prompt_id, arm, changed.")
    rows = source.rows.select("row", pl.col("prompt_id", "arm", "changed").cast(pl.String)).collect()
    flag = (
        rows["changed"]
        .str.to_lowercase()
        .replace_strict({"true": True, "1": True, "false": False, "0": False}, default=None, return_dtype=pl.Boolean)
    )
    if flag.null_count():
        bad = rows.filter(flag.is_null()).row(0, named=True)
        raise RowError(source.name, bad["row"], f"changed is {bad['changed']!r}; it must be true or false.")
    mine = rows.with_columns(flag.alias("changed")).filter(pl.col("arm") == arm)
    if mine.height == 0:
        raise InputError(f"{source.name} has no row for the arm {arm!r}.")
    by_prompt = mine.group_by("prompt_id").agg(pl.col("changed").any())
    return ChangedContent(frozenset(by_prompt.filter("changed")["prompt_id"].to_list()), by_prompt.height)

"""The summary at the top of the report: which sentences, in which order."""

from __future__ import annotations

import math

from analysis.report.findings import Findings
from analysis.report.kit.table import percent
from analysis.report.prose.no_estimate import summary_words
from analysis.report.subjects.claims import Claim, headline, share_words, wins_in_brief
from analysis.report.subjects.looks import looks_headline
from analysis.stats import Estimate

ALL_PAIRS_UP_TO = 6
NEIGHBOURS = 3
GROUP_NAMES = 6


def summary_points(found: Findings) -> tuple[str, ...]:
    """Plain sentences, most important first."""
    points: list[str] = []
    if found.n_simulated == found.n_votes:
        points.append(
            "The votes were given by simulated annotators. The numbers show that the machinery works; "
            "they say nothing about what people see."
        )
    elif found.n_simulated:
        points.append(
            f"{found.n_simulated:,} of the {found.n_votes:,} votes were given by simulated annotators. "
            "Numbers from such a mixture say nothing about what people see."
        )
    if found.estimate is None:
        if found.existence is not None:
            points.append(summary_words(found.existence, found.settings.estimate))
        points += _groups(found)
        return tuple(points)
    if found.settings.looks is not None:
        points.append(looks_headline(found.settings.looks))
    elif len(_chosen(found)) > 1:
        points.append(headline(_chosen(found), baseline=found.settings.baseline))
    points += _pair_points(found, found.estimate)
    points += _groups(found)
    points += _design_effect(found.estimate, n_annotators=found.n_annotators, n_prompts=found.n_prompts)
    n_ties = sum(pair.ties for pair in found.raw)
    points.append(
        f"Win rates in this summary are the model's; in them {share_words(found.estimate)}. "
        f"{percent(n_ties / found.n_votes)} of the votes are ties."
    )
    return tuple(points)


def _groups(found: Findings) -> list[str]:
    if not found.groups:
        return []
    names = "; ".join(", ".join(group.arms[:GROUP_NAMES]) for group in found.groups[:GROUP_NAMES])
    more = (
        " and others" if len(found.groups) > GROUP_NAMES or any(len(g.arms) > GROUP_NAMES for g in found.groups) else ""
    )
    return [
        f"Within these groups of arms there is an estimate, each by itself: {names}{more}. Numbers of different groups "
        "cannot be compared."
    ]


def _chosen(found: Findings) -> tuple[Claim, ...]:
    """The pairs that the summary is about: those with the baseline, if one was named."""
    baseline = found.settings.baseline
    if baseline is None:
        return found.claims
    return tuple(claim for claim in found.claims if baseline in (claim.arm_a, claim.arm_b))


def _pair_points(found: Findings, estimate: Estimate) -> list[str]:
    claims = _chosen(found)
    order = tuple(row.arm for row in estimate.strengths)
    if len(claims) <= ALL_PAIRS_UP_TO or found.settings.baseline is not None:
        return [claim.sentence for claim in claims]
    points = list(wins_in_brief(claims, order))
    open_pairs = [claim for claim in claims if not claim.detected]
    place = {arm: index for index, arm in enumerate(order)}
    neighbours = [c for c in open_pairs if abs(place[c.arm_a] - place[c.arm_b]) == 1][:NEIGHBOURS]
    points += [claim.sentence for claim in neighbours]
    rest = len(open_pairs) - len(neighbours)
    if rest:
        points.append(
            f"For {rest} more pair{'s' if rest > 1 else ''} no difference was detected; the table of differences "
            "says for each how large a difference would have been."
        )
    return points


def _design_effect(estimate: Estimate, *, n_annotators: int | None, n_prompts: int | None) -> list[str]:
    effect = estimate.design_effect
    if estimate.uncertainty.kind in ("vote", "model"):
        remedy = "see --intervals two-way"
        if estimate.settings.intervals == "two-way":
            remedy = _too_few(n_annotators, n_prompts)
        return [
            "These intervals take every vote as independent. Votes of one annotator, and votes on one prompt, "
            f"usually are not: the true uncertainty is then larger ({remedy})."
        ]
    if not math.isfinite(effect):
        return []
    text = f"The design effect is {effect:.2f}"
    if effect > 1.1:
        text += (
            f": votes of one annotator or on one prompt resemble each other, so that the {estimate.n_votes:,} votes "
            f"know about as much "
            f"as {estimate.n_votes / effect:,.0f} independent ones. Intervals that ignore this would be "
            f"{percent(1 - 1 / math.sqrt(effect))} narrower than they ought to be."
        )
    else:
        text += ": in these votes annotators and prompts add little to the uncertainty of single votes."
    return [text]


def _too_few(n_annotators: int | None, n_prompts: int | None) -> str:
    if n_annotators is None and n_prompts is None:
        return "these votes have no ids of annotators or prompts that could show it"
    known = [
        f"{n} {name}{'' if n == 1 else 's'}"
        for n, name in ((n_annotators, "annotator"), (n_prompts, "prompt"))
        if n is not None
    ]
    return f"{' and '.join(known)} are too few to show it" if len(known) > 1 else f"{known[0]}: too few to show it"

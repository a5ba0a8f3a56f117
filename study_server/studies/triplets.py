"""Which triplets a fidelity study shows. Pure functions of the design and the set.

Each arm is compared with the reference itself; in a ladder, neighbouring rungs with each other, and the arms of one
rung across ladders. Both kinds of vote are spread where they tell most (docs/certificate.md): boosted triplets over
everything, plain ones over all arms, or, if the damage was guessed, over arms at about 0.5 and at 2 to 2.5 JND and
over those whose clause asks for plain votes. So the map from boosted to plain JND is estimated from stronger arms and
shared by all.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterable, Sequence

from qsched.errors import InputError
from qsched.records import Presentation
from study_server.studies.comparisons import (
    ImageKey,
    MisfitError,
    PlannedPair,
    TripletPlan,
    check_votes_total,
    plan_pairs,
    study_arms,
)
from study_server.studies.design import KnownItem, StudyDesign
from study_server.studies.fidelity import MADE_TRAP, Fidelity
from study_server.studies.hidden import plan_hidden, shuffled_units
from study_server.studies.known_answers import TIE
from study_server.studies.ranked_sets import plan_sets
from study_server.studies.texts import OwnText

#: Where a plain vote tells most of the map: guessed damages in JND.
PLAIN_RUNGS = ((0.35, 0.75), (1.6, 3.0))
# Enough that nobody sees one twice; each is drawn in turn.
TRAPS_PER_PERSON = 4
Comparison = tuple[str, str, Presentation]


def plan_study(design: StudyDesign, *, arms: Sequence[str], images: Iterable[ImageKey]) -> list[PlannedPair]:
    """Every pair of a preference study, set of a ranking study or triplet of a fidelity study, in the order of handing
    out."""
    if design.ranking is not None:
        return plan_sets(design, design.ranking, arms=arms, images=images)
    if design.fidelity is None:
        available = set(images)
        units = shuffled_units(design, available)
        hidden = plan_hidden(design, arms=study_arms(design, arms), units=units, available=available)
        return plan_pairs(design, arms=arms, images=available) + hidden
    return _plan_triplets(design, design.fidelity, arms=arms, available=set(images))


def reference_arm(design: StudyDesign, fidelity: Fidelity, arms: Sequence[str]) -> str:
    """The reference; MisfitError if the section names an arm that the study does not show."""
    chosen = study_arms(design, arms)
    reference = fidelity.reference or chosen[0]
    named: list[tuple[str, tuple[int | str, ...]]] = [(reference, ("fidelity", "reference"))]
    named += [(arm, ("fidelity", "ladders", n)) for n, ladder in enumerate(fidelity.ladders) for arm in ladder]
    named += [(arm, ("fidelity", "guess")) for arm in fidelity.guess]
    named += [(one.arm, ("fidelity", "clauses", n)) for n, one in enumerate(fidelity.clauses)]
    named += [(arm, ("fidelity", "votes", "arms")) for arm in (fidelity.votes.arms if fidelity.votes else ())]
    for arm, location in named:
        if arm not in chosen:
            raise MisfitError(f"the study has no arm {arm!r}; it has {', '.join(chosen)}", location)
    for arm, location in named[1:]:
        if arm == reference:
            raise MisfitError(f"{arm!r} is the reference; its damage is 0 and nothing is claimed of it", location)
    trap = fidelity.traps.arm
    if trap is not None and (trap not in arms or trap == reference):
        listed = ", ".join(arm for arm in arms if arm != reference)
        raise MisfitError(f"traps cannot show {trap!r}; take one of {listed}", ("fidelity", "traps"))
    if trap is None and MADE_TRAP in arms:
        raise MisfitError(f"{MADE_TRAP!r} is the name of made traps; name traps: arm", ("fidelity", "traps"))
    return reference


def triplet_comparisons(fidelity: Fidelity, arms: Sequence[str], reference: str) -> list[Comparison]:
    """What is compared: first arm, second arm, presentation; arms in the order of the study."""
    others = [arm for arm in arms if arm != reference]
    inner: list[tuple[str, str]] = []
    for ladder in fidelity.ladders:
        inner += itertools.pairwise(ladder)
    for rung in itertools.zip_longest(*fidelity.ladders):
        inner += itertools.combinations([arm for arm in rung if arm is not None], 2)
    order = {arm: place for place, arm in enumerate(arms)}
    found: list[Comparison] = []
    if fidelity.boosted:
        found += [(reference, arm, Presentation.BOOSTED) for arm in others]
    if Presentation.PLAIN in fidelity.presentations:
        found += [(reference, arm, Presentation.PLAIN) for arm in _plain_arms(fidelity, others)]
    shown = Presentation.BOOSTED if fidelity.boosted else Presentation.PLAIN
    for one, other in inner:
        first, second = sorted((one, other), key=order.__getitem__)
        found.append((first, second, shown))
    return list(dict.fromkeys(found))


def _plain_arms(fidelity: Fidelity, others: Sequence[str]) -> list[str]:
    if not fidelity.guess or not fidelity.boosted:
        return list(others)
    claimed = {one.arm for one in fidelity.clauses if one.mean is not None and one.mean.evidence == "plain"}
    claimed |= {
        one.arm
        for one in fidelity.clauses
        if one.share is not None and any(stage.presentation == "plain" for stage in one.share.stages)
    }
    return [
        arm
        for arm in others
        if arm in claimed or any(low <= fidelity.guess.get(arm, -1.0) <= high for low, high in PLAIN_RUNGS)
    ]


def _plan_triplets(
    design: StudyDesign, fidelity: Fidelity, *, arms: Sequence[str], available: set[ImageKey]
) -> list[PlannedPair]:
    reference = reference_arm(design, fidelity, arms)
    chosen = study_arms(design, arms)
    comparisons = triplet_comparisons(fidelity, chosen, reference)
    if not comparisons:
        raise InputError("the study has no triplet: there is no arm beside the reference")
    practice = [
        planned
        for n, item in enumerate(design.practice)
        for planned in _practice(item, n, fidelity, reference, arms, available)
    ]
    practised = {item.prompt for item in design.practice}
    units = sorted(
        {(prompt, sample) for prompt, sample, arm in available if arm == reference and prompt not in practised}
    )
    asked = _asked_units(fidelity, units)
    rng = random.Random(int.from_bytes(hashlib.sha256(design.slug.encode()).digest()[:8]))
    rng.shuffle(units)
    rng.shuffle(asked)
    task = []
    for number in range(len(comparisons)):
        order = list(enumerate(asked))
        rng.shuffle(order)
        for place, (prompt, sample) in order:
            first, second, shown = comparisons[(place + number) % len(comparisons)]
            if {(prompt, sample, first), (prompt, sample, second)} <= available:
                task.append(_triplet(prompt, sample, first, second, reference, shown))
    if not task:
        raise InputError(f"no triplet to show: no prompt has images of {reference!r} and another arm outside practice")
    check_votes_total(design, task)
    return practice + _traps(fidelity, reference, units, available) + _bias(fidelity, reference, units) + task


def _asked_units(fidelity: Fidelity, units: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """The prompts that the task shows; MisfitError for one that the set lacks or practice shows."""
    if fidelity.prompts is None:
        return list(units)
    known = {prompt for prompt, _ in units}
    for prompt in fidelity.prompts:
        if prompt not in known:
            raise MisfitError(
                f"prompts: {prompt!r} has no picture of the reference outside practice; take prompt ids of the set",
                ("fidelity", "prompts"),
            )
    return [unit for unit in units if unit[0] in fidelity.prompts]


def _traps(
    fidelity: Fidelity, reference: str, units: Sequence[tuple[str, int]], available: set[ImageKey]
) -> list[PlannedPair]:
    """Traps in every presentation in turn, each with the other picture as the known answer."""
    arm = fidelity.traps.arm
    shown_units = [unit for unit in units if arm is None or (*unit, arm) in available]
    if fidelity.traps.each and not shown_units:
        raise MisfitError(f"no prompt has a picture of the trap's arm {arm!r}", ("fidelity", "traps"))
    per_unit = [(unit, shown) for unit in shown_units for shown in fidelity.presentations]
    wanted = fidelity.traps.each * TRAPS_PER_PERSON
    if len(per_unit) < fidelity.traps.each:
        raise MisfitError(
            f"{len(shown_units)} prompts make {len(per_unit)} traps, and each person is to see "
            f"{fidelity.traps.each} different ones: more prompts, or a smaller traps: each and least",
            ("fidelity", "traps"),
        )
    return [
        _triplet(*unit, reference, arm or MADE_TRAP, reference, shown, pool="trap", answer="second")
        for unit, shown in per_unit[:wanted]
    ]


def _bias(fidelity: Fidelity, reference: str, units: Sequence[tuple[str, int]]) -> list[PlannedPair]:
    """The reference's own picture on both sides: nothing differs, and 'not sure' is right."""
    items = [
        _triplet(*unit, reference, reference, reference, shown, pool="bias", answer=TIE)
        for unit in reversed(units)
        for shown in fidelity.presentations
    ]
    return items[: fidelity.bias_each * TRAPS_PER_PERSON]


def _practice(
    item: KnownItem,
    number: int,
    fidelity: Fidelity,
    reference: str,
    arms: Sequence[str],
    available: set[ImageKey],
) -> list[PlannedPair]:
    if item.better != reference or item.worse is None:
        raise MisfitError(
            f"practice of a fidelity study shows the reference and another arm: better: {reference}, worse: ARM",
            ("practice", number, "better"),
        )
    for arm in (reference, item.worse):
        if (item.prompt, item.sample_index, arm) not in available:
            raise MisfitError(
                f"practice: the image set has no image of prompt {item.prompt!r}, sample {item.sample_index}, arm "
                f"{arm!r}; its arms are {', '.join(arms)}",
                ("practice", number, "prompt"),
            )
    return [
        _triplet(
            item.prompt,
            item.sample_index,
            reference,
            item.worse,
            reference,
            shown,
            pool="practice",
            answer="second",
            why=item.why,
        )
        for shown in fidelity.presentations
    ]


def _triplet(
    prompt: str,
    sample: int,
    first: str,
    second: str,
    reference: str,
    shown: Presentation,
    *,
    pool: str = "task",
    answer: str | None = None,
    why: OwnText | None = None,
) -> PlannedPair:
    text = "\x1f".join((prompt, str(sample), first, second, reference, shown.value))
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    return PlannedPair(key, prompt, sample, first, second, pool, answer, why, TripletPlan(reference, shown))

"""The pairs that a study shows, and the order of handing them out. Pure functions of the design and the set."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qsched.errors import InputError
from qsched.records import Presentation
from study_server.studies.design import Baseline, KnownItem, StudyDesign
from study_server.studies.known_answers import TIE, write_known
from study_server.studies.texts import OwnText

# The posterior is refitted every few votes; beyond this many arms that would cost noticeable time.
MAX_ADAPTIVE_ARMS = 30
GOLDEN = (5**0.5 - 1) / 2
ImageKey = tuple[str, int, str]  # prompt_id, sample_index, arm


class MisfitError(InputError):
    """A design that does not fit its image set; `location` is the part of study.yaml that says so."""

    def __init__(self, message: str, location: tuple[int | str, ...]) -> None:
        super().__init__(message)
        self.location = location


@dataclass(frozen=True, slots=True)
class TripletPlan:
    """What makes a triplet of a pair: the reference, and how the three pictures are shown."""

    reference_arm: str
    presentation: Presentation


@dataclass(frozen=True, slots=True)
class PlannedPair:
    """Two arms of one prompt and one seed, in a ranking study with `others` beside them, in a fidelity study with a
    reference; `better` is the right answer."""

    pair_key: str
    prompt_key: str
    sample_index: int
    first_arm: str
    second_arm: str
    pool: str = "task"
    better: str | None = None
    why: OwnText | None = None
    triplet: TripletPlan | None = None
    others: tuple[str, ...] = ()

    @property
    def all_arms(self) -> tuple[str, ...]:
        """The arms of every picture that is shown beside the others."""
        return (self.first_arm, self.second_arm, *self.others)


def study_arms(design: StudyDesign, arms: Sequence[str]) -> tuple[str, ...]:
    """The arms of the study in the set's order; an arm that the set lacks is an error."""
    chosen = design.arms if design.arms is not None else tuple(arms)
    for place, arm in enumerate(chosen):
        _known_arm(arm, arms, ("arms", place))
    if len(chosen) < 2:
        raise InputError(f"the image set has only the arm {', '.join(arms)}; a comparison needs two")
    return tuple(arm for arm in arms if arm in chosen)


def study_comparisons(design: StudyDesign, arms: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pairs of arms, each in the order of `arms`, none twice."""
    if design.adaptivity is not None and len(arms) > MAX_ADAPTIVE_ARMS:
        raise InputError(f"{len(arms)} arms; an adaptive study has at most {MAX_ADAPTIVE_ARMS}: name fewer in arms")
    order = {arm: place for place, arm in enumerate(arms)}
    wanted: Sequence[tuple[str, str]]
    if isinstance(design.comparisons, str):
        return tuple(itertools.combinations(arms, 2))
    if isinstance(design.comparisons, Baseline):
        baseline = design.comparisons.baseline
        _known_arm(baseline, arms, ("comparisons", "baseline"))
        others = [arm for arm in arms if arm != baseline]
        wanted = [(baseline, arm) for arm in others]
        wanted += itertools.combinations(others, 2) if design.comparisons.others > 0 else []
    else:
        wanted = design.comparisons
    result: dict[tuple[str, str], None] = {}
    for number, (left, right) in enumerate(wanted):
        _known_arm(left, arms, ("comparisons", number))
        _known_arm(right, arms, ("comparisons", number))
        if left == right:
            raise MisfitError(f"comparison of {left} with itself; name two arms", ("comparisons", number))
        result[(left, right) if order[left] < order[right] else (right, left)] = None
    return tuple(result)


def plan_pairs(design: StudyDesign, *, arms: Sequence[str], images: Iterable[ImageKey]) -> list[PlannedPair]:
    """Every pair of the study: practice, gold, then task pairs in the order in which they are handed out.

    Practice prompts are kept out of the task; gold pairs are kept out pair by pair. The task order goes in
    rounds: each round shows every (prompt, sample) once, with the comparisons spread evenly, so that the study
    is balanced over prompts and arms wherever it stops.
    """
    available = set(images)
    chosen = study_arms(design, arms)
    comparisons = study_comparisons(design, chosen)
    practice = [_known_pair(item, ("practice", n), arms, available) for n, item in enumerate(design.practice)]
    gold = [_known_pair(item, ("gold", n), arms, available) for n, item in enumerate(design.gold)]
    practised = {item.prompt for item in design.practice}
    taken = {pair.pair_key for pair in practice + gold}
    _refuse_twice(practice, gold)

    units = sorted({(prompt, sample) for prompt, sample, _ in available if prompt not in practised})
    rng = random.Random(_seed(design.slug))
    rng.shuffle(units)
    task = []
    for round_number in range(len(comparisons)):
        order = list(enumerate(units))
        rng.shuffle(order)
        for number, (prompt, sample) in order:
            which = (number + round_number) % len(comparisons)
            first, second = comparisons[which]
            if not _shown_here(design, comparisons[which], which, number):
                continue
            if (prompt, sample, first) not in available or (prompt, sample, second) not in available:
                continue
            key = pair_key(prompt, sample, first, second)
            if key not in taken:
                task.append(PlannedPair(key, prompt, sample, first, second))
    if not task:
        raise InputError(
            f"no pair to show: no prompt has images of two compared arms ({', '.join(chosen)}) outside practice"
        )
    check_votes_total(design, task)
    check_stopping(design, chosen, task)
    return practice + gold + task


def _shown_here(design: StudyDesign, comparison: tuple[str, str], which: int, number: int) -> bool:
    """Whether prompt `number` shows comparison `which`: all with the baseline, of the others an even share."""
    if not isinstance(design.comparisons, Baseline) or design.comparisons.baseline in comparison:
        return True
    # Multiples of the golden ratio fill the unit interval evenly, whatever the step in which a round takes prompts.
    return (number * GOLDEN + which * GOLDEN**2) % 1 < design.comparisons.others


def pair_key(prompt: str, sample: int, *arms: str) -> str:
    """Name of a pair in exports; the same for the same content in every study, and telling nothing."""
    text = "\x1f".join((prompt, str(sample), *arms))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def votes_of_pair(design: StudyDesign, pair: PlannedPair) -> int:
    """The valid votes that a task pair gets."""
    shown = None if pair.triplet is None else pair.triplet.presentation.value
    return design.votes_of(shown, (pair.first_arm, pair.second_arm))


def check_votes_total(design: StudyDesign, pairs: Sequence[PlannedPair]) -> None:
    """MisfitError if `votes_total` is more than the task pairs can take."""
    task = [votes_of_pair(design, pair) for pair in pairs if pair.pool == "task"]
    capacity = sum(task)
    if design.votes_total is not None and design.votes_total > capacity:
        raise MisfitError(
            f"votes_total is {design.votes_total}, but {len(task)} pairs x {' or '.join(map(str, sorted(set(task))))} "
            f"votes are {capacity}; lower it, raise votes_per_pair, or leave votes_total out",
            ("votes_total",),
        )


def check_stopping(design: StudyDesign, arms: Sequence[str], task: Sequence[PlannedPair]) -> None:
    """MisfitError if an arm can never have the votes that the stopping rule looks at."""
    rule = design.stopping
    if rule is None:
        return
    if rule.baseline not in arms:
        raise MisfitError(f"the study has no arm {rule.baseline!r}; it has {', '.join(arms)}", ("stopping", "baseline"))
    against = Counter(arm for pair in task for arm in (pair.first_arm, pair.second_arm) if arm != rule.baseline)
    direct = Counter(
        arm
        for pair in task
        if rule.baseline in (pair.first_arm, pair.second_arm)
        for arm in (pair.first_arm, pair.second_arm)
        if arm != rule.baseline
    )
    for arm in (arm for arm in arms if arm != rule.baseline):
        if not direct[arm]:
            raise MisfitError(f"no pair shows {arm!r} beside the baseline {rule.baseline!r}", ("stopping", "baseline"))
        most = against[arm] * design.votes_per_pair
        if most < rule.horizon:
            raise MisfitError(
                f"horizon is {rule.horizon} votes of each arm, but {arm!r} is in {against[arm]} pairs x "
                f"{design.votes_per_pair} votes = {most}; lower it, raise votes_per_pair, or add prompts",
                ("stopping", "horizon"),
            )


def _known_pair(
    item: KnownItem, location: tuple[str, int], arms: Sequence[str], available: set[ImageKey]
) -> PlannedPair:
    pool, _ = location
    for arm in item.both_arms:
        _known_arm(arm, arms, (*location, "worse" if arm == item.worse else "better"))
        if (item.prompt, item.sample_index, arm) not in available:
            raise MisfitError(
                f"{pool}: the image set has no image of prompt {item.prompt!r}, sample {item.sample_index}, "
                f"arm {arm!r}; take a prompt id from its images.jsonl",
                (*location, "prompt"),
            )
    order: Mapping[str, int] = {arm: place for place, arm in enumerate(arms)}
    first, second = sorted(item.both_arms, key=order.__getitem__)

    def place(arm: str) -> str:
        return TIE if arm == TIE else "first" if arm == first else "second"

    return PlannedPair(
        pair_key(item.prompt, item.sample_index, first, second),
        item.prompt,
        item.sample_index,
        first,
        second,
        pool=pool,
        better=write_known(
            place(item.better)
            if isinstance(item.better, str)
            else {question: place(arm) for question, arm in item.better.items()}
        ),
        why=item.why,
    )


def _refuse_twice(*pools: Sequence[PlannedPair]) -> None:
    seen: set[str] = set()
    for pool in pools:
        for number, pair in enumerate(pool):
            if pair.pair_key in seen:
                raise MisfitError(
                    f"{pair.pool}: prompt {pair.prompt_key!r} with the same two arms is listed twice",
                    (pair.pool, number),
                )
            seen.add(pair.pair_key)


def _known_arm(arm: str, arms: Sequence[str], location: tuple[int | str, ...]) -> None:
    if arm not in arms:
        raise MisfitError(f"the image set has no arm {arm!r}; it has {', '.join(arms)}", location)


def _seed(slug: str) -> int:
    return int.from_bytes(hashlib.sha256(slug.encode()).digest()[:8])

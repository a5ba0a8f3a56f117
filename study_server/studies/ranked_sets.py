"""Which sets of pictures a ranking study shows. Pure functions of the design and the image set.

Each set has the baseline and some of the other arms, all of one prompt and noise. Every other arm is shown with each
prompt at least once, and over the study all arms, and every two of them, come about equally often: a set takes the arms
that were shown least, and among them those that were together least (a greedy balanced incomplete block design; Cochran
and Cox 1957, ch. 11). A study with a stopping rule plans more of them (`dropping_sets`).
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from qsched.errors import InputError
from qsched.records.rankings import LAST
from study_server.studies.comparisons import (
    ImageKey,
    MisfitError,
    PlannedPair,
    check_votes_total,
    pair_key,
    study_arms,
)
from study_server.studies.design import StudyDesign
from study_server.studies.dropping_sets import check_number_of_sets, check_sets, plan_dropping_sets
from study_server.studies.ranking import KnownRanking, Ranking


def plan_sets(
    design: StudyDesign, ranking: Ranking, *, arms: Sequence[str], images: Iterable[ImageKey]
) -> list[PlannedPair]:
    """Every set of the study: practice, gold, then task sets in the order in which they are handed out."""
    available = set(images)
    chosen = study_arms(design, arms)
    baseline = ranking.baseline or chosen[0]
    if baseline not in chosen:
        raise MisfitError(f"the study has no arm {baseline!r}; it has {', '.join(chosen)}", ("ranking", "baseline"))
    if len(chosen) < ranking.pictures:
        raise MisfitError(
            f"pictures is {ranking.pictures}, and the study has {len(chosen)} arms; lower it or name more arms",
            ("ranking", "pictures"),
        )
    known = [
        _known_set(item, ("ranking", pool, n), pool, ranking, (baseline, *chosen), arms, available)
        for pool, items in (("practice", ranking.practice), ("gold", ranking.gold))
        for n, item in enumerate(items)
    ]
    taken = {planned.pair_key for planned in known}
    if len(taken) < len(known):
        raise MisfitError("practice and gold show a set twice", ("ranking",))
    practised = {item.prompt for item in ranking.practice}
    units = sorted({(prompt, sample) for prompt, sample, _ in available if prompt not in practised})
    rng = random.Random(int.from_bytes(hashlib.sha256(design.slug.encode()).digest()[:8]))
    rng.shuffle(units)
    others = [arm for arm in chosen if arm != baseline]
    rule = design.stopping
    sets: Iterator[tuple[str, tuple[str, int], tuple[str, ...]]]
    if rule is None:
        sets = (("task", *one) for one in _rounds(units, others, ranking.pictures - 1, rng))
    else:
        check_number_of_sets(others, pictures=ranking.pictures)
        sets = plan_dropping_sets(units, others, pictures=ranking.pictures, rng=rng)
    task = [
        planned
        for pool, (prompt, sample), shown in sets
        if {(prompt, sample, arm) for arm in (baseline, *shown)} <= available
        and (planned := _planned(prompt, sample, (baseline, *shown), arms, pool=pool)).pair_key not in taken
    ]
    if rule is not None:
        check_sets(
            rule,
            task,
            baseline=baseline,
            others=others,
            votes_per_set=design.votes_per_pair,
        )
    if all(planned.pool != "task" for planned in task):
        raise InputError(f"no set to show: no prompt outside practice has pictures of {ranking.pictures} arms")
    check_votes_total(design, task)
    return known + task


def _rounds(
    units: Sequence[tuple[str, int]], others: Sequence[str], size: int, rng: random.Random
) -> Iterator[tuple[tuple[str, int], tuple[str, ...]]]:
    """In rounds through all prompts: every arm with each prompt at least once, none twice before all once."""
    shown, together = Counter[str](), Counter[frozenset[str]]()
    left: dict[tuple[str, int], list[str]] = {unit: [] for unit in units}
    for number in range(math.ceil(len(others) / size)):
        order = list(units)
        if number:
            rng.shuffle(order)
        for unit in order:
            seen = left[unit]
            fresh = [arm for arm in others if arm not in seen]
            picked: list[str] = []
            while len(picked) < size:
                pool = [arm for arm in fresh if arm not in picked] or [arm for arm in others if arm not in picked]
                rng.shuffle(pool)
                picked.append(min(pool, key=lambda arm: (shown[arm], _met(together, arm, picked))))
                shown[picked[-1]] += 1
            for one, other in combinations(picked, 2):
                together[frozenset((one, other))] += 1
            left[unit] = [*seen, *picked]
            yield unit, tuple(picked)


def _met(together: Counter[frozenset[str]], arm: str, picked: Sequence[str]) -> int:
    return sum(together[frozenset((arm, other))] for other in picked)


def _planned(
    prompt: str,
    sample: int,
    shown: Sequence[str],
    arms: Sequence[str],
    *,
    pool: str = "task",
    worst: str | None = None,
    why: str | None = None,
) -> PlannedPair:
    """The pictures in the order of the image set's arms: their numbers in a stored ranking."""
    order = {arm: place for place, arm in enumerate(arms)}
    first, second, *rest = ordered = sorted(shown, key=order.__getitem__)
    return PlannedPair(
        pair_key(prompt, sample, *ordered),
        prompt,
        sample,
        first,
        second,
        pool=pool,
        better=None if worst is None else f"{LAST}{ordered.index(worst)}",
        why=why,
        others=tuple(rest),
    )


def _known_set(
    item: KnownRanking,
    location: tuple[int | str, ...],
    pool: str,
    ranking: Ranking,
    preferred: Sequence[str],
    arms: Sequence[str],
    available: set[ImageKey],
) -> PlannedPair:
    others = item.arms
    if others is None:
        others = tuple(arm for arm in dict.fromkeys(preferred) if arm != item.worst)[: ranking.pictures - 1]
    for arm in (*others, item.worst):
        if arm not in arms:
            raise MisfitError(f"the image set has no arm {arm!r}; it has {', '.join(arms)}", location)
        if (item.prompt, item.sample_index, arm) not in available:
            raise MisfitError(
                f"{pool}: the image set has no image of prompt {item.prompt!r}, sample {item.sample_index}, "
                f"arm {arm!r}; take a prompt id from its images.jsonl",
                location,
            )
    if len(others) < ranking.pictures - 1:
        raise MisfitError(f"{pool}: there are only {len(others)} arms beside {item.worst!r}; name more arms", location)
    return _planned(
        item.prompt, item.sample_index, (*others, item.worst), arms, pool=pool, worst=item.worst, why=item.why
    )

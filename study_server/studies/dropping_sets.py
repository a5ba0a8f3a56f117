"""Which sets a ranking study with a stopping rule can show: the baseline with the arms that are still open.

Which arms are decided, and when, is not known before. So every set that may be asked for is planned when the study is
made, and what is preregistered does not change with the votes. Sets of `pictures` pictures are handed out from the
beginning: of every choice of so many other arms, on every prompt. A look takes those of a decided arm out, so that what
is left are sets of open arms. When fewer arms are open than a set needs, smaller sets take their place: the baseline
and all open arms, at last two pictures. Those wait in the pool "reserve" until then.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from qsched.records.stopping import StoppingRule
from study_server.studies.comparisons import MisfitError, PlannedPair

RESERVE = "reserve"
#: More are seldom shown, and their rows are written when the study is made.
MOST_SETS_OF_A_PROMPT = 250
Unit = tuple[str, int]


def plan_dropping_sets(
    units: Sequence[Unit], others: Sequence[str], *, pictures: int, rng: random.Random
) -> Iterator[tuple[str, Unit, tuple[str, ...]]]:
    """Pool, prompt and noise, and the arms beside the baseline, in the order of handing out.

    In rounds: each shows every prompt once, and the choices of arms evenly over the prompts.
    """
    for size in range(pictures - 1, 0, -1):
        choices = list(combinations(others, size))
        rng.shuffle(choices)
        for number in range(len(choices)):
            order = list(enumerate(units))
            rng.shuffle(order)
            for place, unit in order:
                pool = "task" if size == pictures - 1 else RESERVE
                yield pool, unit, choices[(place + number) % len(choices)]


def check_sets(
    rule: StoppingRule,
    planned: Sequence[PlannedPair],
    *,
    baseline: str,
    others: Sequence[str],
    votes_per_set: int,
) -> None:
    """MisfitError if the rule has another baseline, or an arm that could not have its votes if it alone were open."""
    if rule.baseline != baseline:
        raise MisfitError(
            f"stopping decides against {rule.baseline!r}, and every set has {baseline!r}: name one arm in "
            "stopping.baseline and ranking.baseline",
            ("stopping", "baseline"),
        )
    alone = Counter(arm for one in planned if not one.others for arm in one.all_arms)
    # The first look has its votes from larger sets.
    needed = rule.horizon - rule.votes_at(1)
    for arm in others:
        most = alone[arm] * votes_per_set
        if most < needed:
            raise MisfitError(
                f"horizon is {rule.horizon} votes of each arm. Once only {arm!r} is open it needs up to {needed} more, "
                f"but it is beside the baseline on {alone[arm]} prompts x {votes_per_set} votes = {most}; lower "
                "horizon, raise votes_per_pair, or add prompts",
                ("stopping", "horizon"),
            )


def check_number_of_sets(others: Sequence[str], *, pictures: int) -> None:
    """MisfitError if a prompt would have too many sets."""
    sets = sum(math.comb(len(others), size) for size in range(1, pictures))
    if sets > MOST_SETS_OF_A_PROMPT:
        raise MisfitError(
            f"stopping plans every set that may be asked for: of {len(others) + 1} arms and {pictures} pictures {sets} "
            f"for each prompt, at most {MOST_SETS_OF_A_PROMPT}; name fewer arms or take fewer pictures",
            ("ranking", "pictures"),
        )


def most_rankings(rule: StoppingRule, capacity: int, *, others: int, pictures: int) -> int:
    """The most rankings that may be asked for, whatever is dropped when; `capacity` is what all sets can take together.

    A ranking of k pictures gives each of its k - 1 other arms k - 1 votes; with one open arm it is a single vote. All
    arms are open until the first look. Anytime bounds have no last look, so that only the sets end such a study.
    """
    if rule.last_look is None:
        return capacity
    each = others / (pictures - 1) ** 2
    first = rule.votes_at(1)
    return min(capacity, math.ceil(first * each + (rule.horizon - first) * max(1.0, each)))

"""The policies of assignment as pure functions: the plan of a session, the choice of a pair, the side.

The database offers a window of open pairs, fewest votes and leases first; these functions decide. They know
nothing of SQL, time or HTTP, so that a simulation can try them on any order of events.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from qsched.records import Kind, TripletKind
from study_server.studies.session_length import REPEAT_GAP, TrialCounts

LETTERS: dict[str, Kind | TripletKind] = {
    "P": Kind.PRACTICE,
    "W": Kind.WARMUP,
    "T": Kind.TASK,
    "G": Kind.GOLD,
    "I": Kind.INSTRUCTED,
    "R": Kind.REPEAT,
    "X": TripletKind.TRAP,
    "B": TripletKind.BIAS,
}
# How far apart the two sides of a person's screen may drift before a pair is chosen to even them out.
SIDE_SLACK = 1
# The chance of the side that evens out what was shown so far.
EVENING = 0.6


class Candidate(NamedTuple):
    """An open pair. `load` counts its valid votes and live leases; `side_balance` its (left - right) showings."""

    pair_id: int
    prompt_id: int
    load: int
    side_balance: int


class AnnotatorHistory(NamedTuple):
    """What the choice needs to know of an annotator: latest prompts, oldest first, and the side balance."""

    recent: tuple[int, ...]
    left_balance: int


class ChosenPair(NamedTuple):
    """A pair and whether its first image goes to the left."""

    pair_id: int
    prompt_id: int
    first_on_left: bool


def plan_session(counts: TrialCounts, rng: random.Random) -> str:
    """The kinds of a session, one letter a trial.

    Practice, then warm-up, then the rest: gold, instructed, trap and bias items are spread at random, one in each equal
    stretch, so that neither start nor end is free of them; a repeat never comes before REPEAT_GAP task trials.
    """
    special = ["G"] * counts.gold + ["I"] * counts.instructed + ["R"] * counts.repeats
    special += ["X"] * counts.traps + ["B"] * counts.bias
    rng.shuffle(special)
    body = ["T"] * counts.task
    length = counts.task + len(special)
    for number, letter in enumerate(special):
        low = number * length // len(special)
        high = max(low, (number + 1) * length // len(special) - 1)
        place = rng.randint(low, high)
        if letter == "R":
            place = max(place, min(REPEAT_GAP + 1, length - 1))
        body.insert(place, letter)
    return "P" * counts.practice + "W" * counts.warmup + "".join(body)


def choose_pair(candidates: Sequence[Candidate], person: AnnotatorHistory, rng: random.Random) -> ChosenPair | None:
    """The pair to show: never a recent prompt while there is another, fewest votes first, ties at random.

    Among equals, a pair whose side is free or evens out the person's sides is preferred. None without candidates.
    """
    if not candidates:
        return None
    recent = person.recent
    lean = person.left_balance if abs(person.left_balance) > SIDE_SLACK else 0
    # Place of the prompt among the latest ones, -1 where it is not: the longest ago is the least bad. Then the
    # fewest votes. Then whether the side that the pair needs makes the person's sides more uneven.
    ranked = [
        (recent.index(prompt) if prompt in recent else -1, load, balance * lean < 0)
        for _, prompt, load, balance in candidates
    ]
    best = min(ranked)
    chosen = rng.choice([candidate for candidate, rank in zip(candidates, ranked, strict=True) if rank == best])
    return ChosenPair(
        chosen.pair_id,
        chosen.prompt_id,
        draw_side(pair_balance=chosen.side_balance, left_balance=person.left_balance, rng=rng),
    )


def mirror(choice: ChosenPair, shown: Sequence[Candidate]) -> ChosenPair:
    """The chosen pair with the sides of its first showing exchanged, which `shown` has as its side balance."""
    before = next(candidate.side_balance for candidate in shown if candidate.pair_id == choice.pair_id)
    return choice._replace(first_on_left=before < 0)


def draw_side(*, pair_balance: int, left_balance: int, rng: random.Random) -> bool:
    """Whether the first image goes left: a coin biased towards the side that evens out the pair, else the person.

    Efron's biased coin (1971, Biometrika 58:403-417). No rule that a person could work out foretells a side with more
    than EVENING, whatever they know of the balances; a side that always evened them out could be foretold.
    """
    balance = pair_balance or left_balance
    evening = 0.5 if balance == 0 else EVENING if balance < 0 else 1 - EVENING
    return rng.random() < evening


def draw_places(count: int, *, first_on_left: bool, rng: random.Random) -> str:
    """The places of the pictures of a set, by their numbers in reading order: any order alike, but that picture 0
    comes before picture 1 exactly if `first_on_left`."""
    numbers = [str(number) for number in range(count)]
    rng.shuffle(numbers)
    if (numbers.index("0") < numbers.index("1")) != first_on_left:
        zero, one = numbers.index("0"), numbers.index("1")
        numbers[zero], numbers[one] = "1", "0"
    return "".join(numbers)


def remember(recent: Iterable[int], prompt_id: int, *, gap: int) -> tuple[int, ...]:
    """The latest `gap` prompts with `prompt_id` as the newest."""
    return (*recent, prompt_id)[-gap:] if gap else ()

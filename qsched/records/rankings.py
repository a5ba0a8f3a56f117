"""Several pictures put in order at once: how a ranking is written, and which votes about two arms it holds.

"b>a=d>c": b is the best, a and d are as good as each other, c is the worst. The page names pictures by their places
(a, b, c, d in the order of reading); the server stores a ranking by the numbers of the pictures, "1>0=3>2".
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TypeAlias

from qsched.records.votes import Choice

#: How many pictures can be ranked at once.
FEWEST, MOST = 3, 4
PLACES = "abcd"
NUMBERS = "0123"
#: The best first; pictures of one group are as good as each other.
Groups: TypeAlias = tuple[tuple[int, ...], ...]
#: The known answer of a gold ranking: this picture is worse than every other.
LAST = "last:"


def read_ranking(text: str, names: str) -> Groups:
    """The groups of a ranking of the pictures `names`, the best first; ValueError unless it has each exactly once."""
    groups = tuple(tuple(part.split("=")) for part in text.split(">"))
    found = [name for group in groups for name in group]
    if sorted(found) != sorted(names):
        raise ValueError(f"the ranking {text!r} does not have each of {', '.join(names)} once, as in 'b>a=d>c'")
    return tuple(tuple(sorted(names.index(name) for name in group)) for group in groups)


def write_ranking(groups: Groups, names: str) -> str:
    """The ranking as text; the same groups give the same text."""
    return ">".join("=".join(names[number] for number in sorted(group)) for group in groups)


def ranking_pairs(groups: Groups) -> Iterator[tuple[int, int, Choice]]:
    """Every two pictures i < j with what the ranking says of them: LEFT if i is the better one."""
    level = {number: place for place, group in enumerate(groups) for number in group}
    for i, j in combinations(sorted(level), 2):
        yield i, j, Choice.TIE if level[i] == level[j] else Choice.LEFT if level[i] < level[j] else Choice.RIGHT


def votes_of_ranking(text: str, places: str, known: str | None) -> Iterator[tuple[int, int, bool, Choice, str | None]]:
    """A stored ranking as votes on every two of its pictures i < j: whether i lay before j, the answer, a known answer.

    `places` are the numbers of the pictures in the order in which they lay. The one that lay first counts as left.
    """
    worst = None if known is None else int(known.removeprefix(LAST))
    for i, j, choice in ranking_pairs(read_ranking(text, NUMBERS[: len(places)])):
        i_left = places.index(NUMBERS[i]) < places.index(NUMBERS[j])
        other = Choice.RIGHT if choice is Choice.LEFT else Choice.LEFT
        answer = choice if i_left or choice is Choice.TIE else other
        expected = None
        if worst in (i, j):
            expected = (Choice.RIGHT if (worst == i) == i_left else Choice.LEFT).value
        yield i, j, i_left, answer, expected


def is_last(ranking: str, known: str) -> bool:
    """Whether a stored ranking has the picture of a known answer ("last:2") below all others."""
    return ranking.endswith(f">{known.removeprefix(LAST)}")

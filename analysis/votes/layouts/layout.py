"""How a file's columns are understood: which shape it has, which column is which, and what the outcomes mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from analysis.votes import arena
from analysis.votes.layouts.asked import SHORT, Asked
from analysis.votes.layouts.columns import USUAL, WORDS, guessed, is_known
from analysis.votes.sources import Source
from analysis.votes.table import SCHEMA
from qsched.records import InputError

#: choice: two arms and an outcome. loser: winner and loser. counts: two arms, wins of each, ties (one-hot too).
#: scores: two arms with a rating each. ratings, ranks: one picture per row. ranking: one ranking per row, in a text or
#: list, or in columns rank_1, rank_2 ... that name arms.
Shape = Literal["choice", "loser", "counts", "scores", "ratings", "ranks", "ranking", "rank columns"]
#: Shapes whose rows do not say which side an arm was on.
WITHOUT_SIDES: tuple[Shape, ...] = ("loser", "ratings", "ranks", "ranking", "rank columns")
_RANK_COLUMN = re.compile(r"^(?:rank|place|position)[ _-]?(\d+)$", re.IGNORECASE)
_ORDINAL_COLUMNS = ("first", "second", "third", "fourth", "fifth", "sixth")
_SHORT_OF = {name: short for short, name in SHORT.items()}
#: Columns that a shape does not use although they have a usual name.
_NEEDED: dict[Shape, tuple[str, ...]] = {
    "choice": ("left_arm", "right_arm", "choice"),
    "loser": ("choice", "loser"),
    "counts": ("left_arm", "right_arm", "wins_left", "wins_right"),
    "scores": ("left_arm", "right_arm", "rating_left", "rating_right"),
    "ratings": ("arm", "rating"),
    "ranks": ("arm", "rank"),
    "ranking": ("ranking",),
    "rank columns": (),
}
_OPTIONAL: dict[Shape, tuple[str, ...]] = {"counts": ("ties",)}
_WORDS: dict[Shape, str] = {
    "choice": "two arms and an outcome per row",
    "loser": "a winner and a loser per row",
    "counts": "two arms and the numbers of their wins per row",
    "scores": "two arms with a rating each per row; the higher one wins",
    "ratings": "one rated arm per row; every two arms that one annotator rated for one prompt are a vote",
    "ranks": "one ranked arm per row; every two arms in one annotator's ranking for one prompt are a vote, 1 is best",
    "ranking": "one ranking per row; every two arms in it are a vote",
    "rank columns": "one ranking per row, an arm in each column, best first; every two arms in it are a vote",
}


@dataclass(frozen=True)
class VotesLayout:
    """`columns`: our name -> the file's. `outcomes`: the file's word -> ours ("choice" only; a name of an arm counts
    for its side). `ranked`: the columns of "rank columns", best first. `guesses`: what nobody said.
    """

    shape: Shape
    columns: Mapping[str, str]
    outcomes: Mapping[str, str]
    ranked: tuple[str, ...] = ()
    by_name: bool = False
    guesses: tuple[str, ...] = ()

    @property
    def sides_known(self) -> bool:
        return self.shape not in WITHOUT_SIDES

    def words(self) -> str:
        """What was understood, in a sentence."""
        named = [f"{_SHORT_OF.get(ours, ours)} = {theirs}" for ours, theirs in self.columns.items()]
        named += [f"best first: {', '.join(self.ranked)}"] if self.ranked else []
        text = f"{_WORDS[self.shape]} ({'; '.join(named)})"
        if self.by_name:
            text += "; the outcome is the name of the arm that won"
        if self.outcomes:
            text += "; " + ", ".join(f"{theirs!r} means {ours}" for theirs, ours in self.outcomes.items())
        if not self.sides_known:
            text += "; the file does not say which arm was on the left"
        return text


def understand(source: Source, asked: Asked) -> VotesLayout:
    """How `source` is read. InputError if nothing fits, if a column or word is unclear, or if guesses need a yes."""
    for ours, theirs in asked.columns.items():
        if theirs not in source.columns:
            raise InputError(
                f"--map {_SHORT_OF.get(ours, ours)}={theirs}: {source.name} has no column {theirs!r}; it has "
                f"{', '.join(source.columns)}."
            )
    found = guessed(source.columns, asked.columns)
    shape = _shape(source, found, asked)
    ranked = _rank_columns(source.columns) if shape == "rank columns" else ()
    used = {name for name in (*_NEEDED[shape], *_OPTIONAL.get(shape, ())) if name in found}
    extra = {name for name in found if name in SCHEMA and name not in ("left_arm", "right_arm", "choice")}
    columns = {ours: found[ours] for ours in found if (ours in used or ours in extra) and found[ours] not in ranked}
    outcomes, by_name, unclear = _outcomes(source, shape, columns, asked)
    if unclear:
        raise InputError(
            f"{source.name}: column {columns['choice']!r} has {', '.join(map(repr, unclear))}, whose meaning is not "
            f"clear. Say it with --outcome, such as --outcome '{_example(unclear)}'."
        )
    guesses = [
        f"{_SHORT_OF.get(ours, ours)}={theirs}"
        for ours, theirs in columns.items()
        if theirs != asked.columns.get(ours) and not is_known(ours, theirs)
    ]
    words = [
        f"{theirs}={ours}"
        for theirs, ours in outcomes.items()
        if theirs not in asked.outcomes and theirs != ours and arena.WINNERS.get(theirs) != ours
    ]
    # That the first in a ranking is the best, or a higher rating better, is a guess too until its column is named.
    by_shape = (
        [_WORDS[shape]] if shape not in ("choice", "loser") and not set(_NEEDED[shape]) & set(asked.columns) else []
    )
    layout = VotesLayout(shape, columns, outcomes, ranked, by_name, (*guesses, *words, *ranked, *by_shape))
    if layout.guesses and not asked.accept:
        raise InputError(f"{source.name} is understood as follows: {layout.words()}. {_remedy(guesses, words)}")
    return layout


def _remedy(guesses: list[str], words: list[str]) -> str:
    said = f" --map '{','.join(guesses)}'" if guesses else ""
    said += f" --outcome '{','.join(words)}'" if words else ""
    also = f" (or say it:{said})" if said else ""
    return f"Some of this is a guess. If it is right, add --yes{also}; if not, correct it."


def has_shape(source: Source) -> bool:
    """Whether the usual names of columns make sense of the file."""
    return bool(_fitting(guessed(source.columns, {})) or _rank_columns(source.columns))


def _fitting(found: Mapping[str, str]) -> list[Shape]:
    order: tuple[Shape, ...] = ("choice", "counts", "scores", "loser", "ratings", "ranks", "ranking")
    return [shape for shape in order if all(name in found for name in _NEEDED[shape])]


def _shape(source: Source, found: Mapping[str, str], asked: Asked) -> Shape:
    """The first shape whose columns are there; one that `--map` names columns of comes before others."""
    named = set(asked.columns) & {"loser", "rating", "rank", "ranking", "wins_left", "choice"}
    fits = _fitting(found)
    preferred = [shape for shape in fits if named & set(_NEEDED[shape])]
    if _rank_columns(source.columns) and not named and "choice" not in fits:
        return "rank columns"
    if preferred or fits:
        return (preferred or fits)[0]
    usual = ", ".join(f"{_SHORT_OF.get(name, name)} ({', '.join(USUAL[name][:3])} ...)" for name in _NEEDED["choice"])
    raise InputError(
        f"{source.name}: its columns are not understood: {', '.join(source.columns) or 'none'}. Votes need "
        f"{usual}; or winner and loser, two arms with wins_left and wins_right, arm with rating or rank, or ranking. "
        "Say which column is which with --map, such as --map 'left=COLUMN,right=COLUMN,winner=COLUMN'."
    )


def _rank_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """rank_1, rank_2 ... or first, second, third ..., best first; empty unless there are two of them."""
    numbered = sorted((int(match[1]), name) for name in columns if (match := _RANK_COLUMN.match(name)))
    if len(numbered) > 1:
        return tuple(name for _, name in numbered)
    by_name = {name.lower(): name for name in columns}
    named = [by_name[word] for word in _ORDINAL_COLUMNS if word in by_name]
    return tuple(named) if len(named) > 2 else ()


def _outcomes(
    source: Source, shape: Shape, columns: Mapping[str, str], asked: Asked
) -> tuple[dict[str, str], bool, list[str]]:
    """What each word of the outcome means, whether arms are named there, and the words that are unclear."""
    if shape != "choice":
        return {}, False, []
    names = [columns[name] for name in ("left_arm", "right_arm", "choice")]
    rows = source.read(list(dict.fromkeys(names))).select(pl.col(name).cast(pl.String) for name in dict.fromkeys(names))
    words = sorted(rows[columns["choice"]].drop_nulls().unique().to_list())
    arms = {*rows[columns["left_arm"]].drop_nulls().to_list(), *rows[columns["right_arm"]].drop_nulls().to_list()}
    outcomes: dict[str, str] = {}
    unclear, by_name = [], False
    for word in words:
        # A column of whole numbers with a gap is floating point: 1.0 is the 1 that the user sees.
        said = asked.outcomes.get(word) or asked.outcomes.get(word.removesuffix(".0"))
        if said is not None:
            outcomes[word] = said
        elif word in arms:
            by_name = True
        elif word.strip().lower() in WORDS:
            outcomes[word] = WORDS[word.strip().lower()]
        else:
            unclear.append(word)
    return outcomes, by_name, unclear[:8]


def _example(words: list[str]) -> str:
    return ",".join(f"{word}={ours}" for word, ours in zip(words, ("left", "right", "tie"), strict=False))

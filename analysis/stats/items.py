"""Votes as judgements of items: the same prompt, sample and two arms, whichever side an arm was on.

The value of a vote is 0 if the arm first in the alphabet won, 1 for a tie, 2 if the other arm won.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.votes.coded import IntArray, codes
from analysis.votes.table import VotesTable
from qsched.records import InputError

VALUES = 3
_USED = ("left_arm", "right_arm", "choice", "prompt_id", "annotator", "sample_index", "question")
#: Products of codes stay below this, so that they cannot overflow.
MOST_CODES = 2**62


def item_values(votes: VotesTable | pl.DataFrame) -> pl.DataFrame:
    """Columns item, value, annotator (name), annotator_code, prompt (code), in the order of the rows; skips left out.

    Votes without annotator ids are taken as by different annotators; without prompt ids InputError.
    """
    frame = votes.frame if isinstance(votes, VotesTable) else votes
    if "prompt_id" not in frame.columns:
        raise InputError("The votes have no prompt ids, so it is not known who judged the same item.")
    # A filter copies each column, so only those that are needed pass it.
    frame = frame.select(name for name in _USED if name in frame.columns).filter(pl.col("choice") != "skip")
    n = frame.height
    left_names, left = codes(frame["left_arm"])
    right_names, right = codes(frame["right_arm"])
    place = {name: index for index, name in enumerate(sorted({*left_names, *right_names}))}
    left = np.array([place[name] for name in left_names], dtype=np.int64)[left]
    right = np.array([place[name] for name in right_names], dtype=np.int64)[right]
    choice_names, choice = codes(frame["choice"])
    side = np.array([{"left": 1, "right": -1}.get(name, 0) for name in choice_names], dtype=np.int64)[choice]
    value = np.where(side == 0, 1, np.where(side * (right - left) > 0, 0, 2)).astype(np.int64)
    prompt = codes(frame["prompt_id"])[1]
    key = _dense((prompt, np.minimum(left, right), np.maximum(left, right), *_optional(frame)))
    if "annotator" in frame.columns:
        names, annotator = codes(frame["annotator"])
    else:
        names, annotator = tuple(str(index) for index in range(n)), np.arange(n, dtype=np.int64)
    return pl.DataFrame(
        {
            "item": key,
            "value": value,
            "annotator": pl.Series(names, dtype=pl.String).gather(annotator),
            "annotator_code": annotator,
            "prompt": prompt,
        }
    )


def first_judgements(votes: VotesTable | pl.DataFrame) -> pl.DataFrame:
    """`item_values` without the second and later votes of one annotator on one item."""
    keyed = item_values(votes)
    item = keyed["item"].to_numpy()
    both = keyed["annotator_code"].to_numpy() * (int(item.max(initial=0)) + 1) + item
    first = np.sort(np.unique(both, return_index=True)[1])
    return keyed if len(first) == len(item) else keyed[first]


def _dense(parts: tuple[IntArray, ...]) -> IntArray:
    """One code for each combination of codes that occurs, in their order."""
    key, size = parts[0], int(parts[0].max(initial=0)) + 1
    for part in parts[1:]:
        own = int(part.max(initial=0)) + 1
        if size * own >= MOST_CODES:
            key = np.unique(key, return_inverse=True)[1].ravel().astype(np.int64)
            size = len(key)
        key, size = key * own + part, size * own
    return np.unique(key, return_inverse=True)[1].ravel().astype(np.int64)


def _optional(frame: pl.DataFrame) -> list[IntArray]:
    """Codes of what may further tell items apart."""
    parts = []
    if "sample_index" in frame.columns:
        parts.append(frame["sample_index"].to_numpy().astype(np.int64))
    if "question" in frame.columns:
        parts.append(codes(frame["question"])[1])
    return parts

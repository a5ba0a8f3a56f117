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


def item_values(votes: VotesTable | pl.DataFrame) -> pl.DataFrame:
    """Columns item, value, annotator (name), annotator_code, prompt (code), in the order of the rows; skips left out.

    Votes without annotator ids are taken as by different annotators; without prompt ids InputError.
    """
    frame = votes.frame if isinstance(votes, VotesTable) else votes
    if "prompt_id" not in frame.columns:
        raise InputError("The votes have no prompt ids, so it is not known who judged the same item.")
    frame = frame.filter(pl.col("choice") != "skip")
    n = frame.height
    left_names, left = codes(frame["left_arm"])
    right_names, right = codes(frame["right_arm"])
    place = {name: index for index, name in enumerate(sorted({*left_names, *right_names}))}
    left = np.array([place[name] for name in left_names], dtype=np.int64)[left]
    right = np.array([place[name] for name in right_names], dtype=np.int64)[right]
    choice_names, choice = codes(frame["choice"])
    word = np.array(choice_names)[choice] if n else np.array([], dtype=str)
    first_won = ((word == "left") & (left < right)) | ((word == "right") & (left > right))
    value = np.where(word == "tie", 1, np.where(first_won, 0, 2)).astype(np.int64)
    prompt = codes(frame["prompt_id"])[1]
    key = prompt
    for part in (np.minimum(left, right), np.maximum(left, right), *_optional(frame)):
        key = key * (int(part.max()) + 1 if n else 1) + part
        # Dense again after every part, so that the product of the sizes cannot overflow.
        key = np.unique(key, return_inverse=True)[1].ravel().astype(np.int64)
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


def _optional(frame: pl.DataFrame) -> list[IntArray]:
    """Codes of what may further tell items apart."""
    parts = []
    if "sample_index" in frame.columns:
        parts.append(frame["sample_index"].to_numpy().astype(np.int64))
    if "question" in frame.columns:
        parts.append(codes(frame["question"])[1])
    return parts

"""Triplet votes as arrays of small whole numbers, which is all that the likelihood needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.triplets.table import TripletTable

Codes = NDArray[np.int64]

PLAIN, BOOSTED = 0, 1
LEFT, NOT_SURE, RIGHT = 0, 1, 2
TASK, TRAP, BIAS = 0, 1, 2


@dataclass(frozen=True)
class TripletCodes:
    """Votes of V people-prompt pairs as arrays of length V; picture 0 is the reference.

    `presentation` is PLAIN or BOOSTED, `answer` LEFT, NOT_SURE or RIGHT ("differs more"), `kind` TASK, TRAP or BIAS.
    """

    person: Codes
    prompt: Codes
    presentation: Codes
    left: Codes
    right: Codes
    answer: Codes
    kind: Codes
    people: tuple[str, ...]
    prompts: tuple[str, ...]
    pictures: tuple[str, ...]

    @property
    def n_votes(self) -> int:
        """Number of votes, traps and bias items included."""
        return len(self.answer)

    def where(self, keep: NDArray[np.bool_]) -> TripletCodes:
        """The votes marked in `keep`; names and numbers of people, prompts and pictures stay."""
        names = ("person", "prompt", "presentation", "left", "right", "answer", "kind")
        return replace(self, **{name: getattr(self, name)[keep] for name in names})

    def picture(self, name: str) -> int:
        """The number of a picture."""
        return self.pictures.index(name)


def code_triplets(table: TripletTable) -> TripletCodes:
    """The votes as codes, in the order of the table. Kinds other than task, trap and bias must be screened out."""
    frame, reference = table.frame, table.reference
    arms = set(table.values("left_arm")) | set(table.values("right_arm"))
    pictures = (reference, *sorted(arms - {reference}))

    def codes(column: str, names: tuple[str, ...]) -> Codes:
        places = pl.DataFrame({"name": list(names), "place": np.arange(len(names))})
        found = frame.select(pl.col(column).alias("name")).join(places, on="name", how="left", maintain_order="left")
        if found["place"].null_count():
            value = found.filter(pl.col("place").is_null())["name"][0]
            raise ValueError(f"{column} {value!r} is none of {', '.join(names)}")
        return found["place"].to_numpy().astype(np.int64)

    people, prompts = table.values("annotator"), table.values("prompt_id")
    return TripletCodes(
        person=codes("annotator", people),
        prompt=codes("prompt_id", prompts),
        presentation=codes("presentation", ("plain", "boosted")),
        left=codes("left_arm", pictures),
        right=codes("right_arm", pictures),
        answer=codes("answer", ("left", "not sure", "right")),
        kind=codes("kind", ("task", "trap", "bias")),
        people=people,
        prompts=prompts,
        pictures=pictures,
    )

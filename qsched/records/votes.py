"""The VOTES TABLE contract: parquet, csv or jsonl with the same columns.

Written by `qsched votes export`, read by `python analysis/winrates.py`. The server's database offers
the same columns as the SQL view `votes_table`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from qsched.records.image_set import Record

Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Choice(StrEnum):
    """What the annotator said of the pair as it was shown."""

    LEFT = "left"
    RIGHT = "right"
    TIE = "tie"
    SKIP = "skip"


class Doubt(StrEnum):
    """What is not credible about a stored vote: the page stated a longer time than the pair was given out."""

    RESPONSE_MS = "response_ms"


class Kind(StrEnum):
    """Why the pair was shown. Only `task` votes enter an estimate by default.

    A `bias` item shows one picture twice, a `trap` two pictures whose difference only software can see.
    """

    TASK = "task"
    WARMUP = "warmup"
    PRACTICE = "practice"
    GOLD = "gold"
    INSTRUCTED = "instructed"
    REPEAT = "repeat"
    BIAS = "bias"
    TRAP = "trap"


class Vote(Record):
    """One answer to one question about one pair.

    `annotator` is a pseudonym. `response_ms` runs from paint to answer, without the time in which the
    page was hidden. `expected` is the known right answer of a gold or instructed item. `strength` says how
    much better the chosen picture is (1 slightly, 2 clearly), if the study asked for it.
    `selection_probability` is the probability with which an adaptive study drew this comparison of two arms.
    `doubt` names the value of this row that cannot be true.
    """

    study: Text
    question: Text
    pair_id: Text
    prompt_id: Text
    category: str | None = None
    left_arm: Text
    right_arm: Text
    choice: Choice
    annotator: Text
    session: Text
    served_at: AwareDatetime
    answered_at: AwareDatetime
    response_ms: int = Field(ge=0)
    kind: Kind = Kind.TASK
    expected: Choice | None = None
    simulated: bool = False
    sample_index: int = Field(default=0, ge=0)
    strength: int | None = Field(default=None, ge=1, le=2)
    selection_probability: float | None = Field(default=None, gt=0, le=1)
    doubt: Doubt | None = None

    @model_validator(mode="after")
    def _two_arms(self) -> Vote:
        # Practice and attention items may show one arm twice; a vote that enters an estimate may not.
        if self.kind in (Kind.TASK, Kind.REPEAT) and self.left_arm == self.right_arm:
            raise ValueError(f"left_arm and right_arm are both {self.left_arm!r}; a {self.kind} vote compares two arms")
        return self

    @model_validator(mode="after")
    def _strength_of_a_preference(self) -> Vote:
        if self.strength is not None and self.choice not in (Choice.LEFT, Choice.RIGHT):
            raise ValueError(f"strength is {self.strength} beside choice {self.choice}; only left and right have one")
        return self


COLUMNS: tuple[str, ...] = tuple(Vote.model_fields)
REQUIRED_COLUMNS: tuple[str, ...] = tuple(name for name, field in Vote.model_fields.items() if field.is_required())

"""The TRIPLETS TABLE contract: one answer to "Which picture differs more from the reference?".

A sibling of the votes table, not a part of it: the answers, the reference and the boosting have no place in a
preference vote, and a preference estimate must never read these rows by accident. Parquet, csv or jsonl with the same
columns; read by `python analysis/certify.py` and `python analysis/jnd.py`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from qsched.records.image_set import Record

Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class TripletAnswer(StrEnum):
    """Which test picture differs more from the reference, as it lay on the screen."""

    LEFT = "left"
    NOT_SURE = "not sure"
    RIGHT = "right"
    SKIP = "skip"


class Presentation(StrEnum):
    """How the triplet was shown: as it is, or enlarged, amplified and flickering."""

    PLAIN = "plain"
    BOOSTED = "boosted"


class TripletKind(StrEnum):
    """Why the triplet was shown. `task` votes make the scale; `trap` and `bias` votes measure attention and side."""

    TASK = "task"
    TRAP = "trap"
    BIAS = "bias"
    PRACTICE = "practice"
    REPEAT = "repeat"


class TripletVote(Record):
    """One answer to one triplet: a reference and two test pictures, either of which may be the reference itself.

    A trap shows the reference against a picture far above the threshold; a bias item shows one picture twice.
    `factor` multiplies the difference from the reference, `zoom` is the whole-number enlargement, `rate_hz` the
    flicker (0: held still, as for people who prefer reduced motion), the crop is in pixels of the reference, `clipped`
    the share of the crop's values that the amplification cut off. `response_ms` and the pseudonyms are as in the votes
    table; `toggles` counts how often the person called up the reference by hand.
    """

    study: Text
    triplet_id: Text
    prompt_id: Text
    reference_arm: Text
    left_arm: Text
    right_arm: Text
    presentation: Presentation
    answer: TripletAnswer
    annotator: Text
    session: Text
    served_at: AwareDatetime
    answered_at: AwareDatetime
    response_ms: int = Field(ge=0)
    kind: TripletKind = TripletKind.TASK
    sample_index: int = Field(default=0, ge=0)
    factor: float | None = Field(default=None, gt=1)
    zoom: int | None = Field(default=None, ge=1)
    rate_hz: float | None = Field(default=None, ge=0)
    crop_x: int | None = Field(default=None, ge=0)
    crop_y: int | None = Field(default=None, ge=0)
    crop_width: int | None = Field(default=None, ge=1)
    crop_height: int | None = Field(default=None, ge=1)
    clipped: float | None = Field(default=None, ge=0, le=1)
    toggles: int | None = Field(default=None, ge=0)
    simulated: bool = False

    @model_validator(mode="after")
    def _kind_fits_the_pictures(self) -> TripletVote:
        same = self.left_arm == self.right_arm
        references = (self.left_arm == self.reference_arm) + (self.right_arm == self.reference_arm)
        if self.kind is TripletKind.BIAS and not same:
            raise ValueError(
                f"a bias item shows one picture twice, but left_arm is {self.left_arm!r} "
                f"and right_arm {self.right_arm!r}"
            )
        if self.kind is TripletKind.TRAP and references != 1:
            raise ValueError(
                f"a trap shows the reference {self.reference_arm!r} on one side only, "
                f"but left_arm is {self.left_arm!r} and right_arm {self.right_arm!r}"
            )
        if self.kind in (TripletKind.TASK, TripletKind.REPEAT) and same:
            raise ValueError(f"left_arm and right_arm are both {self.left_arm!r}; one picture twice is kind 'bias'")
        return self

    @model_validator(mode="after")
    def _boosted_is_described(self) -> TripletVote:
        described = (self.factor, self.zoom, self.rate_hz, self.crop_x, self.crop_y, self.crop_width, self.crop_height)
        names = ("factor", "zoom", "rate_hz", "crop_x", "crop_y", "crop_width", "crop_height")
        if self.presentation is Presentation.BOOSTED:
            lacking = [name for name, value in zip(names, described, strict=True) if value is None]
            if lacking:
                raise ValueError(f"a boosted triplet needs {', '.join(lacking)}: without it nobody knows what was seen")
        elif self.factor is not None or self.rate_hz is not None:
            raise ValueError("factor and rate_hz belong to a boosted triplet; leave them empty for a plain one")
        return self


TRIPLET_COLUMNS: tuple[str, ...] = tuple(TripletVote.model_fields)
#: Without these columns a file is not a triplets table; the others may be absent from another tool's file.
ESSENTIAL_TRIPLET_COLUMNS = (
    "prompt_id",
    "reference_arm",
    "left_arm",
    "right_arm",
    "presentation",
    "answer",
    "annotator",
)

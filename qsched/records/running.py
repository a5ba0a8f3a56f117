"""The RUNNING contract: how a growing study stands, with intervals that hold however often one looks.

`qsched study estimate --json -` prints it, and the owner's page shows it.
"""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from qsched.records.image_set import Record


class RunningRate(Record):
    """One arm against the baseline by one question: the model's win rate with bounds, null without an estimate."""

    question: str
    arm: str
    votes: int = Field(ge=0, description="of the arm, after the report's default exclusions")
    win_rate: float | None = None
    low: float | None = None
    high: float | None = None


class RunningEstimate(Record):
    """Every arm against the baseline. The confidence is for all arms and all looks of one question together."""

    study: str
    baseline: str
    at: AwareDatetime
    confidence: float = Field(gt=0, lt=1)
    votes: int = Field(ge=0)
    simulated: int = Field(default=0, ge=0, description="how many of `votes` software gave")
    annotators: int = Field(ge=0)
    prompts: int = Field(ge=0)
    rates: tuple[RunningRate, ...]

"""The REGISTRATION contract: which clauses a fidelity study is to show, with which margins, cuts and trap rule.

Fixed before the first vote. study.yaml holds the clauses, the server writes them out with the time at which the study
was made (`qsched study register`), and `qsched certify` judges them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from qsched.records.image_set import Record

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class TrapPlan(Record):
    """A person counts with at least `share` right of at least `least` traps."""

    share: float = Field(default=0.7, ge=0, le=1)
    least: int = Field(default=10, ge=0)


class MeanPlan(Record):
    """The mean damage is under `limit` JND; from plain votes, or from boosted votes through a map checked to be
    straight."""

    limit: float = Field(default=0.5, gt=0, le=3)
    evidence: Literal["plain", "mixed"] = "plain"


class StagePlan(Record):
    """Votes on each prompt, and the score from which the prompt stays flagged."""

    presentation: Literal["plain", "boosted"]
    votes: int = Field(ge=1, le=1000)
    cut: float = Field(gt=0)

    @model_validator(mode="after")
    def _cut_can_be_reached(self) -> StagePlan:
        if self.cut > self.votes or (2 * self.cut) % 1:
            raise ValueError(f"the cut {self.cut} is a score of {self.votes} votes: a whole or half number up to it")
        return self


class SharePlan(Record):
    """At least `share` of the prompts are under 1 JND. `pi`: P(flagged) of a prompt of exactly 1 JND; it rests on
    `gain` and `gain_sd` (boosted stages), and on the registration's `people_sd`."""

    share: float = Field(gt=0, lt=1)
    stages: tuple[StagePlan, ...] = Field(min_length=1, max_length=2)
    pi: float = Field(gt=0, le=1)
    gain: float = Field(default=2.0, gt=0)
    gain_sd: float = Field(default=0.3, ge=0)


class ContentPlan(Record):
    """Content changed on at most this share of prompts."""

    share: float = Field(gt=0, lt=1)


class PreferencePlan(Record):
    """The arm is preferred by no less than 50 % minus `margin` (0.05 is five points)."""

    margin: float = Field(gt=0, lt=0.5)


class Clauses(Record):
    """What is claimed of one arm; at least one clause."""

    arm: Name
    mean: MeanPlan | None = None
    share: SharePlan | None = None
    content: ContentPlan | None = None
    preference: PreferencePlan | None = None

    @model_validator(mode="after")
    def _some_clause(self) -> Clauses:
        if not any((self.mean, self.share, self.content, self.preference)):
            raise ValueError("name at least one clause: mean, share, content or preference")
        return self


class Registration(Clauses):
    """One certificate: the arm, the clauses, the screening and the assumptions."""

    schema_version: Literal[1] = 1
    study: Name
    registered_at: AwareDatetime
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    people_sd: float = Field(default=0.3, ge=0, le=1)
    prompt_sd: float = Field(default=0.5, ge=0, le=2)
    traps: TrapPlan = TrapPlan()

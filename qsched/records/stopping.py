"""The STOPPING contract: the rule by which a study stops asking about decided arms, and what each look found.

study.yaml holds the rule, which cannot change once the study exists. `qsched study look` carries it out and keeps every
look; `qsched votes export` writes them beside the votes (`votes.looks.json`), and the report uses their bounds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints, ValidationError, model_validator

from qsched.errors import InputError
from qsched.records.image_set import Record, first_problem

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Decision = Literal["open", "better", "worse", "equivalent"]
MOST_LOOKS = 100
#: A look with fewer new votes of each arm hardly differs from the one before.
FEWEST_PER_LOOK = 20
#: Two-sided bounds exist for levels below 1/2.
MOST_ONE_SIDED_LEVEL = 0.25
ENDING = ".looks.json"


class StoppingRule(Record):
    """Every other arm is decided against `baseline`: better, worse, or equivalent within `margin` (0.03: 47 to 53 %).

    Look k of `looks` happens when every open arm has k / looks of `horizon` valid votes. `level` bounds the chance of
    any wrong claim, whatever the truth; the arms share it evenly, and it is never passed on. `bounds`: group-sequential
    ones hold at the planned looks and end at the horizon; anytime ones are wider, hold at every look, and go on as long
    as there are pairs. `shape` of the former: 0 is O'Brien and Fleming's, 1/2 Pocock's, which decides more at early
    looks and less at the last.

    `equivalence`: by "interval" an arm is equivalent if its whole two-sided interval is within the margin; "one-sided"
    tests each side of the margin at the arm's whole share of the level, which needs fewer votes.
    """

    baseline: Name
    margin: float = Field(default=0.03, gt=0, lt=0.4)
    looks: int = Field(default=10, ge=2, le=MOST_LOOKS)
    horizon: int = Field(ge=1)
    level: float = Field(default=0.03, gt=0, lt=0.5)
    bounds: Literal["group-sequential", "anytime"] = "group-sequential"
    shape: float = Field(default=0.25, ge=0, le=0.5)
    # Not "one-sided" by default: designs that were stored without this key keep their bounds.
    equivalence: Literal["interval", "one-sided"] = "interval"
    question: Name | None = None

    @model_validator(mode="after")
    def _looks_are_apart(self) -> StoppingRule:
        if self.horizon < FEWEST_PER_LOOK * self.looks:
            raise ValueError(
                f"horizon is {self.horizon} votes of each arm and looks is {self.looks}: a look needs at least "
                f"{FEWEST_PER_LOOK} new votes of each arm. Lower looks or raise horizon"
            )
        return self

    @model_validator(mode="after")
    def _bounds_are_those_asked_for(self) -> StoppingRule:
        if self.bounds == "anytime" and self.shape != type(self).model_fields["shape"].default:
            raise ValueError(f"shape is {self.shape:g}: anytime bounds have none. Leave shape out")
        if self.equivalence == "one-sided" and self.level >= MOST_ONE_SIDED_LEVEL:
            raise ValueError(
                f"level is {self.level:g}: with equivalence: one-sided it must be below {MOST_ONE_SIDED_LEVEL:g}, "
                "because the bounds of an equivalent arm are two-sided ones at twice its share. Lower level, such as "
                "0.03"
            )
        return self

    def votes_at(self, look: int) -> int:
        """Valid votes of each open arm at which a look (from 1 on) happens."""
        return -(-look * self.horizon // self.looks)

    @property
    def last_look(self) -> int | None:
        """The number of the last look; None if there is none, as with anytime bounds."""
        return self.looks if self.bounds == "group-sequential" else None


class ArmLook(Record):
    """One open arm at one look: its votes, the model's win rate against the baseline with bounds, and the decision.

    The three numbers are null if the votes so far have no estimate. The bounds of an arm that is equivalent by two
    one-sided tests each hold by themselves.
    """

    arm: Name
    votes: int = Field(ge=0)
    win_rate: float | None = None
    low: float | None = None
    high: float | None = None
    decision: Decision = "open"


class Look(Record):
    """One look: number, time, the last vote that it used, how many votes, people and prompts it rests on.

    `final`: it was taken because no more votes could come, with fewer than planned; it has the bounds of its number,
    and none follows. `left_out`: annotators whose votes did not count then.
    """

    number: int = Field(ge=1)
    at: AwareDatetime
    through: int
    final: bool = False
    left_out: tuple[Name, ...] = ()
    votes: int = Field(ge=0)
    annotators: int = Field(ge=0)
    prompts: int = Field(ge=0)
    arms: tuple[ArmLook, ...]

    @property
    def decided(self) -> tuple[str, ...]:
        """The arms that this look decided."""
        return tuple(one.arm for one in self.arms if one.decision != "open")


class Looks(Record):
    """Every look of a study, the first one first."""

    schema_version: Literal[1] = 1
    study: Name
    question: Name
    arms: int = Field(ge=1, description="arms that are decided against the baseline")
    rule: StoppingRule
    looks: tuple[Look, ...]

    def latest(self) -> tuple[tuple[int, ArmLook], ...]:
        """The last word on each arm, with the number of its look: the decision, or the newest look at an open arm."""
        found: dict[str, tuple[int, ArmLook]] = {}
        for look in self.looks:
            for one in look.arms:
                if one.arm not in found or found[one.arm][1].decision == "open":
                    found[one.arm] = look.number, one
        return tuple(found.values())


def looks_beside(votes: Path) -> Path:
    """Where the looks of a votes file are: votes.parquet -> votes.looks.json."""
    return votes.with_name(votes.stem + ENDING)


def read_looks(path: Path) -> Looks:
    """The looks in a file; InputError if it cannot be read."""
    try:
        return Looks.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise InputError(
            f"{path}: {first_problem(error)}. `qsched votes export` writes the looks of a study with a stopping rule."
        ) from error

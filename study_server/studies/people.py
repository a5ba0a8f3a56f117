"""The sections of study.yaml about the people: their device, their agreement, what they are asked about themselves and
what they must have understood."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from study_server.studies.section import DesignSection, Word
from study_server.studies.texts import OwnParagraphs, OwnWord, first_words

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
CONSENT = (
    "You will see pairs of pictures and say which one you prefer.\n\n"
    "Your answers are stored under a random name, without your address, and are used for research.\n"
    "You may stop at any time by closing this page."
)


class Screening(DesignSection):
    """What a device must be. With `required: false` a failed check is recorded and the person goes on."""

    required: bool = False
    min_viewport_width: int | None = Field(default=None, ge=1)
    min_viewport_height: int | None = Field(default=None, ge=1)
    max_zoom: float | None = Field(default=None, gt=0)
    touch: bool = Field(default=True, description="whether touch devices may take part")
    colour_plate: bool = False
    grey_steps: bool = False
    attempts: int = Field(default=2, ge=1)


class Consent(DesignSection):
    """What a person agrees to; `version` is stored with the agreement."""

    version: Word = "1"
    text: OwnParagraphs = CONSENT
    contact: str | None = Field(default=None, max_length=200)
    delete_after_days: int | None = Field(
        default=None, ge=1, le=36_500, description="days after which all that leads to a person is deleted by itself"
    )
    after_withdrawal: Literal["delete_votes", "keep_votes"] = Field(
        default="delete_votes", description="whether the votes of somebody whose data are deleted go as well"
    )


class DemographicQuestion(DesignSection):
    """One optional question about the person."""

    id: Identifier
    label: OwnWord
    kind: Literal["choice", "text", "number"] = "text"
    choices: tuple[OwnWord, ...] = ()
    required: bool = False

    @model_validator(mode="after")
    def _choices_fit(self) -> DemographicQuestion:
        if (self.kind == "choice") != bool(self.choices):
            raise ValueError(f"{self.id}: choices belong to kind: choice, which needs at least one")
        stored = [first_words(choice) for choice in self.choices]
        twice = sorted({choice for choice in stored if stored.count(choice) > 1})
        if twice:
            raise ValueError(f"{self.id}: the choice {twice[0]!r} is listed twice; list each choice once")
        return self


class ComprehensionItem(DesignSection):
    """One question about the instructions, with its right answer and at least one wrong one."""

    question: OwnWord
    right: OwnWord
    wrong: tuple[OwnWord, ...] = Field(min_length=1, max_length=9)

    @model_validator(mode="after")
    def _answers_differ(self) -> ComprehensionItem:
        answers = [first_words(answer) for answer in (self.right, *self.wrong)]
        twice = sorted({answer for answer in answers if answers.count(answer) > 1})
        if twice:
            raise ValueError(f"the answer {twice[0]!r} is listed twice; list each answer once")
        return self


class Comprehension(DesignSection):
    """Questions about the instructions. Who has fewer than `pass_mark` right after `attempts` tries takes no part."""

    items: tuple[ComprehensionItem, ...] = Field(min_length=1, max_length=20)
    pass_mark: int | None = Field(default=None, ge=1, description="right answers needed; default: all")
    attempts: int = Field(default=2, ge=1, le=10)

    @model_validator(mode="after")
    def _mark_can_be_reached(self) -> Comprehension:
        if self.needed > len(self.items):
            raise ValueError(f"pass_mark is {self.pass_mark} of {len(self.items)} questions; nobody could pass")
        return self

    @property
    def needed(self) -> int:
        """How many right answers are a pass."""
        return len(self.items) if self.pass_mark is None else self.pass_mark

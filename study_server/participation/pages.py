"""The annotator's pages as frozen context classes; a test compares each with its template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from study_server.studies.texts import Words


@dataclass(frozen=True, slots=True)
class Completion:
    """How a person tells the platform that they are done."""

    code: str | None = None
    url: str | None = None
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class ChoiceItem:
    """An answer to choose: what is stored, and how it is worded."""

    value: str
    words: Words


@dataclass(frozen=True, slots=True)
class DemographicItem:
    id: str
    label: Words
    kind: str
    choices: tuple[ChoiceItem, ...]
    required: bool
    entered: str = ""


@dataclass(frozen=True, slots=True)
class FormProblem:
    """Why the form came back: a text of the catalogue with its values, and the question it is about."""

    key: str
    values: dict[str, str]
    question: str | None


@dataclass(frozen=True, slots=True)
class PayItem:
    """What a person gets for taking part, and the rate that it comes from."""

    amount: str
    rate: str


@dataclass(frozen=True, slots=True)
class QuestionItem:
    id: str
    text: Words


@dataclass(frozen=True, slots=True)
class ScreeningItem:
    needed: bool
    required: bool
    colour_plate: bool
    grey_steps: bool
    min_viewport_width: int | None
    min_viewport_height: int | None
    max_zoom: float | None


@dataclass(frozen=True, slots=True)
class FlickerItem:
    """Pictures that flicker: how many flashes per second, and whether that is more than WCAG 2.3.1 allows."""

    rate: str
    faster: bool


@dataclass(frozen=True, slots=True)
class StudyItem:
    slug: str
    title: str
    open: bool


@dataclass(frozen=True, slots=True)
class ConsentPage:
    template: ClassVar[str] = "pages/consent.html"
    consent_paragraphs: tuple[Words, ...]
    consent_version: str
    minutes: int | None
    pairs: int | None
    practice: int
    pay: PayItem | None
    contact: str | None
    hidden: dict[str, str]
    demographics: tuple[DemographicItem, ...]
    fidelity: bool
    ranking: int
    flicker: FlickerItem | None
    other_language: str | None
    problem: FormProblem | None = None


@dataclass(frozen=True, slots=True)
class InstructionsPage:
    template: ClassVar[str] = "pages/instructions.html"
    paragraphs: tuple[Words, ...]
    questions: tuple[QuestionItem, ...]
    allow_tie: bool
    allow_skip: bool
    strength: bool
    show_prompt: bool
    block_length: int
    has_practice: bool
    has_questions: bool
    screening: ScreeningItem
    fidelity: bool
    ranking: int
    flicker: FlickerItem | None
    withdraw_code: str | None


@dataclass(frozen=True, slots=True)
class ComprehensionQuestion:
    """One question, and its answers in the order of this showing."""

    text: Words
    answers: tuple[Words, ...]


@dataclass(frozen=True, slots=True)
class ComprehensionPage:
    """Questions about the instructions. `right` is that of the try before, None at the first."""

    template: ClassVar[str] = "pages/comprehension.html"
    questions: tuple[ComprehensionQuestion, ...]
    attempt: int
    needed: int
    right: int | None
    tries_left: int


@dataclass(frozen=True, slots=True)
class TaskPage:
    template: ClassVar[str] = "pages/task.html"
    allow_tie: bool
    allow_skip: bool
    strength: bool
    fidelity: bool
    ranking: int
    flicker: FlickerItem | None


@dataclass(frozen=True, slots=True)
class ThanksPage:
    template: ClassVar[str] = "pages/thanks.html"
    answered: int
    completion: Completion
    may_start_anew: bool
    withdraw_code: str | None


@dataclass(frozen=True, slots=True)
class PrivacyPage:
    """What this study stores of a person. `days` is its retention period, None if it has none."""

    template: ClassVar[str] = "pages/privacy.html"
    platform: str | None
    personal: bool
    demographics: bool
    comprehension: bool
    consent_version: str
    contact: str | None
    days: int | None
    keeps_votes: bool
    withdraw_code: str | None
    may_withdraw: bool


@dataclass(frozen=True, slots=True)
class MessagePage:
    """kind: declined, not_found, platform, personal, link, closed, paused, screened_out, not_understood,
    return_submission, withdrawn, ended, session_expired, csrf,
    error or rate_limited; the catalogue has title and text of each."""

    template: ClassVar[str] = "pages/message.html"
    kind: str
    detail: str | None = None
    completion: Completion | None = None
    platform: str = ""


@dataclass(frozen=True, slots=True)
class IndexPage:
    template: ClassVar[str] = "pages/index.html"
    studies: tuple[StudyItem, ...]


#: The pages of a person who has a session.
SessionPage = InstructionsPage | ComprehensionPage | TaskPage | ThanksPage
PAGES = (ConsentPage, InstructionsPage, ComprehensionPage, TaskPage, ThanksPage, PrivacyPage, MessagePage, IndexPage)

"""The owner's pages as frozen context classes; a test compares each with its template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from qsched.records.owner_api import PaymentInfo
from study_server.admin.counting import AnswersSoFar, PairCounts
from study_server.admin.figures import RunningSoFar
from study_server.admin.pairs import DisabledPair, PairAnswer, PairRow, ReportRow
from study_server.admin.progress import StudyProgress
from study_server.quality.figures import Share
from study_server.quality.payments import PaidPerson
from study_server.quality.people import PersonRow
from study_server.studies.actions import OwnerAction
from study_server.studies.design import StudyDesign
from study_server.studies.looks import Stopping
from study_server.studies.progress import StudyRow
from study_server.studies.update import DesignVersion
from study_server.webhooks.endpoints import Delivery, Webhook


@dataclass(frozen=True, slots=True)
class SignInPage:
    template: ClassVar[str] = "admin/sign_in.html"
    to: str
    has_accounts: bool
    name: str = ""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorPage:
    template: ClassVar[str] = "admin/error.html"
    status: int
    message: str


@dataclass(frozen=True, slots=True)
class StudiesPage:
    template: ClassVar[str] = "admin/studies.html"
    studies: tuple[StudyRow, ...]


@dataclass(frozen=True, slots=True)
class LogPage:
    template: ClassVar[str] = "admin/log.html"
    actions: tuple[OwnerAction, ...]
    older: int | None


@dataclass(frozen=True, slots=True)
class StudyPage:
    template: ClassVar[str] = "admin/study.html"
    progress: StudyProgress


@dataclass(frozen=True, slots=True)
class LivePart:
    """The part of StudyPage that is renewed."""

    template: ClassVar[str] = "admin/live.html"
    progress: StudyProgress


@dataclass(frozen=True, slots=True)
class CountsPage:
    template: ClassVar[str] = "admin/counts.html"
    counts: AnswersSoFar | None
    slug: str
    fidelity: bool
    ranked: bool
    stopping: Stopping | None
    running: RunningSoFar | None


@dataclass(frozen=True, slots=True)
class PeoplePage:
    template: ClassVar[str] = "admin/people.html"
    people: tuple[PersonRow, ...]
    older: int | None
    only_excluded: bool
    agreement: Mapping[int, Share]


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One answer of a person, for their page."""

    at_ms: int
    pair_key: str
    prompt_key: str
    kind: str
    left_arm: str
    right_arm: str
    question: str
    choice: str
    expected: str | None
    seconds: float
    counts: bool


@dataclass(frozen=True, slots=True)
class PersonPage:
    template: ClassVar[str] = "admin/person.html"
    person: PersonRow
    agreement: Share | None
    answers: tuple[AnswerRow, ...]
    keeps_votes: bool


@dataclass(frozen=True, slots=True)
class PaymentsPage:
    template: ClassVar[str] = "admin/payments.html"
    payments: tuple[tuple[PaidPerson, PaymentInfo], ...]


@dataclass(frozen=True, slots=True)
class PairsPage:
    template: ClassVar[str] = "admin/pairs.html"
    pairs: tuple[PairRow, ...]
    counts: PairCounts | None
    more: int | None
    prompt: str
    design: StudyDesign
    jods: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class PairPage:
    template: ClassVar[str] = "admin/pair.html"
    pair: PairRow
    preferred: Mapping[str, int]
    answers: tuple[PairAnswer, ...]
    design: StudyDesign
    jod: float | None


@dataclass(frozen=True, slots=True)
class ReportsPage:
    template: ClassVar[str] = "admin/reports.html"
    reports: tuple[ReportRow, ...]
    disabled: tuple[DisabledPair, ...]


@dataclass(frozen=True, slots=True)
class ExportsPage:
    template: ClassVar[str] = "admin/exports.html"
    formats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SettingItem:
    """A setting that a form offers; `name` is its key in study.yaml. With `choices` it has one of them."""

    name: str
    words: str
    long: bool
    value: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingsPage:
    template: ClassVar[str] = "admin/settings.html"
    items: tuple[SettingItem, ...]
    design: str
    versions: tuple[DesignVersion, ...]
    personal: bool
    preview: str | None


@dataclass(frozen=True, slots=True)
class LinksPage:
    template: ClassVar[str] = "admin/links.html"
    title: str
    links: tuple[tuple[str, str], ...]
    here_only: bool


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A webhook that was made just now, with the secret that is shown this once."""

    number: int
    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class WebhooksPage:
    template: ClassVar[str] = "admin/webhooks.html"
    webhooks: tuple[Webhook, ...]
    deliveries: tuple[Delivery, ...]
    events: tuple[tuple[str, str], ...]
    studies: tuple[str, ...]
    made: NewSecret | None


ADMIN_PAGES = (
    SignInPage,
    ErrorPage,
    StudiesPage,
    LogPage,
    StudyPage,
    LivePart,
    CountsPage,
    PeoplePage,
    PersonPage,
    PaymentsPage,
    PairsPage,
    PairPage,
    ReportsPage,
    ExportsPage,
    SettingsPage,
    LinksPage,
    WebhooksPage,
)

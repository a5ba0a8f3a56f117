"""The owner's API (/api/v1) as records: what the server answers and the client reads, defined once for both.

Times are milliseconds since 1970 UTC (`..._ms`). Lists come in pages: `next` is the `cursor` of the page after, null on
the last. An answer may gain fields, which an older client ignores; a request with an unknown key is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

SCOPES: tuple[Scope, ...] = ("read", "manage", "people")
Scope = Literal["read", "manage", "people"]
Status = Literal["open", "paused", "closed"]
ExportFormat = Literal["parquet", "csv", "jsonl"]
#: Text that both databases store: no NUL.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=2_000)]
PairName = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", min_length=1, max_length=200)]
#: The name in a personal link.
LINK_NAME = r"^[2-9A-HJ-NP-Z]{12}$"
LinkName = Annotated[str, StringConstraints(pattern=LINK_NAME)]
ItemT = TypeVar("ItemT")

PAGE_ITEMS = 50
MOST_ITEMS = 200
#: Personal links made by one request, and names in one request: a body has at most 64 KiB.
MOST_LINKS = 10_000
MOST_NAMES = 4_000
MOST_PAIRS = 200


class ApiAnswer(BaseModel):
    """What the server sends. Optional values are null, never left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_serialization_defaults_required=True)


class ApiRequest(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(ApiAnswer, Generic[ItemT]):
    """Some items of a list, and the cursor of the next ones."""

    items: tuple[ItemT, ...]
    next: str | None


class StudySummary(ApiAnswer):
    """One study with its counts; `target_votes` is null if the stored design cannot be read, for the `problem`."""

    slug: str
    title: str
    status: Literal["importing", "open", "paused", "closed"]
    pairs: int
    taken_out: int
    valid_votes: int
    target_votes: int | None
    leased: int
    sessions: int
    problem: str | None


class DesignVersionInfo(ApiAnswer):
    """A version of a design: since when, what it changed, and how many sessions began under it."""

    version: int
    changed_ms: int
    keys: tuple[str, ...]
    consent_version: str
    sessions: int


class StudyDetail(ApiAnswer):
    """One study with its design, as study.yaml has it, and the design's history."""

    summary: StudySummary
    set_id: str
    design: dict[str, Any]
    versions: tuple[DesignVersionInfo, ...]


class FunnelCount(ApiAnswer):
    """How many people came this far."""

    step: str
    people: int


class HourCount(ApiAnswer):
    """Valid votes on pairs that were handed out in the hour that begins at `begin_ms`."""

    begin_ms: int
    votes: int


class Progress(ApiAnswer):
    """One study at this moment. `hours_left` is null while nothing comes in or there is no target."""

    summary: StudySummary
    votes_last_hour: int
    hours_left: float | None
    hours: tuple[HourCount, ...]
    funnel: tuple[FunnelCount, ...]
    screened_out: int
    not_understood: int
    excluded: int
    here: int
    dropped: int
    simulated: int
    read_ms: int


class ComparisonCount(ApiAnswer):
    """Answers so far to one question about two arms."""

    question: str
    first: str
    second: str
    first_preferred: int
    second_preferred: int
    ties: int


class Counts(ApiAnswer):
    """The answers so far; `read_ms` is null while a large study is counted for the first time."""

    read_ms: int | None
    rows: tuple[ComparisonCount, ...]


class StoppingLooks(ApiAnswer):
    """The looks of a stopping rule as `votes.looks.json` has them; null for a study without a rule."""

    looks: dict[str, Any] | None


class ShareInfo(ApiAnswer):
    """`part` out of `of`."""

    part: int
    of: int


class SessionInfo(ApiAnswer):
    """One participation; `minutes` from consent to the end, or to the last answer."""

    session: str
    state: str
    started_ms: int
    finished_ms: int | None
    minutes: float | None
    done: int
    simulated: bool


class PersonInfo(ApiAnswer):
    """One annotator with how they work; docs/owner-pages.md explains the figures. `remarks` is never a verdict."""

    pseudonym: str
    state: str
    excluded_ms: int | None
    excluded_reason: str | None
    sessions: tuple[SessionInfo, ...]
    trials: int
    seconds: float | None
    gold: ShareInfo
    checks: ShareInfo
    repeats: ShareInfo
    left: ShareInfo
    identical: ShareInfo
    hidden: ShareInfo
    ties: ShareInfo
    skips: ShareInfo
    agreement: ShareInfo
    swaps: float | None
    zoomed: ShareInfo
    remarks: tuple[str, ...]


class PaymentInfo(ApiAnswer):
    """One participation by the platform's own names, without a pseudonym; the columns of people.csv, in their order.

    code              what the last page showed
    minutes           from consent to the end, or to the last answer
    rejection_allowed by Prolific's rule on attention checks; "" for other platforms
    """

    platform: str
    platform_id: str
    platform_study: str
    submission: str
    state: str
    code: str
    started_at: str
    minutes: str
    trials: int
    checks_passed: int
    checks_shown: int
    gold_right: int
    gold_judged: int
    repeats_same: int
    repeats_shown: int
    rejection_allowed: str
    excluded_reason: str


class ReportInfo(ApiAnswer):
    """What an annotator reported of a pair."""

    at_ms: int
    pair: str
    prompt: str
    annotator: str
    problem: str
    detail: str | None
    taken_out: bool


class ActionInfo(ApiAnswer):
    """One row of the log of what owners did."""

    at_ms: int
    actor: str
    study: str | None
    action: str
    detail: str | None


class ChangeInfo(ApiAnswer):
    """One key of a design that was changed."""

    key: str
    before: str
    after: str


class Changes(ApiAnswer):
    """What an update changed; nothing if the design was the same."""

    changes: tuple[ChangeInfo, ...]


class ExclusionDone(ApiAnswer):
    """Slots that were opened or taken, and votes that came back too late for one."""

    pseudonym: str
    slots: int
    late: int


class ForgetDone(ApiAnswer):
    """Vote rows that were deleted, slots that others fill now, and vote rows that the consent lets stay."""

    votes: int
    slots: int
    kept: int


class ReportedPairInfo(ApiAnswer):
    """A pair that people could not see; a pair that was `taken_out` is shown to nobody."""

    pair: str
    prompt: str
    reports: int
    taken_out: bool


class PairsEnabled(ApiAnswer):
    """How many pairs are shown again."""

    pairs: int


class LinkInfo(ApiAnswer):
    """A link, without the server's address. `name` is that of a personal link; a preview has none."""

    name: str | None
    link: str


class LinksMade(ApiAnswer):
    """New personal links; the server keeps none of them."""

    links: tuple[LinkInfo, ...]


class LinksRevoked(ApiAnswer):
    """Links that were revoked now, that were used and go on, and that were revoked before."""

    revoked: int
    used: int
    before: int


class StatusRequest(ApiRequest):
    """Open, pause or close a study."""

    status: Status


class NamedPerson(ApiRequest):
    """One person, named once: by pseudonym or withdrawal code (`who`), or by platform id."""

    who: Text | None = None
    platform_id: Text | None = None

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if bool(self.who) == bool(self.platform_id):
            raise ValueError("name the person once: who (a pseudonym or withdrawal code) or platform_id")
        return self


class PersonRequest(NamedPerson):
    """Whom to exclude or include, and why."""

    reason: Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=500)] = ""


class ForgetRequest(NamedPerson):
    """Whose data to delete; there is no way back."""


class EnableRequest(ApiRequest):
    """The pairs to show again; null means all that were taken out."""

    pairs: Annotated[tuple[PairName, ...], Field(min_length=1, max_length=MOST_PAIRS)] | None = None


class LinksRequest(ApiRequest):
    """How many personal links to make."""

    count: Annotated[int, Field(ge=1, le=MOST_LINKS)]


class RevokeRequest(ApiRequest):
    """The names of personal links to take back."""

    names: Annotated[tuple[LinkName, ...], Field(min_length=1, max_length=MOST_NAMES)]


class DesignRequest(ApiRequest):
    """A changed study.yaml; `set_id` names the image set that it was written for."""

    set_id: Text
    design: dict[str, Any] = Field(description="the keys of study.yaml, as docs/study-yaml.md explains them")

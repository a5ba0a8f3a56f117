"""What the pair page receives, typed. Everything here is seen by an annotator: no arm, no kind.

Dictionaries, since a vote makes six of them: as pydantic models they were a tenth of its processor time.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

CLOSED = ConfigDict(extra="forbid")
PageState = Literal["task", "break", "waiting", "paused", "closed", "finished"]


@with_config(CLOSED)
class ShownPicture(TypedDict):
    """Address and size of one picture."""

    src: str
    width: int
    height: int


@with_config(CLOSED)
class ShownBoosting(TypedDict):
    """The difference from the reference is multiplied by `factor`; the pictures may alternate with it `rate_hz` times
    per second. They begin at `zoom` screen pixels per pixel, or as many as fit if it is null or they are fewer;
    `largest` is the enlargement that may not be exceeded, null where any may."""

    factor: float
    rate_hz: float
    zoom: int | None
    largest: int | None


@with_config(CLOSED)
class ShownPair(TypedDict):
    """One pair; `token` names it in everything that the page sends about it.

    `instruction` is that of an attention check: shown in a place of its own, whether or not descriptions are shown.
    A triplet has a `reference`, and if it is boosted, a `boosting`. A set to be ranked has `others`, which follow
    `left` and `right` in the order of reading.
    """

    token: str
    kind_public: Literal["practice", "task"]
    prompt: str
    instruction: str | None
    left: ShownPicture
    right: ShownPicture
    lease_seconds: int
    reference: ShownPicture | None
    boosting: ShownBoosting | None
    others: tuple[ShownPicture, ...]


@with_config(CLOSED)
class SessionProgress(TypedDict):
    """How far the session is; practice is counted apart.

    `limit_seconds_left` is the time until max_minutes are over. How long the work will take only the page knows, from
    the person's own pace.
    """

    done: int
    total: int
    block_done: int
    block_length: int
    limit_seconds_left: int | None
    practice_left: int


@with_config(CLOSED)
class UndoOffer(TypedDict):
    """The vote that can be taken back."""

    vote_id: str


@with_config(CLOSED)
class PracticeFeedback(TypedDict):
    """Whether a practice answer was right, and why."""

    correct: bool
    text: str


@with_config(CLOSED)
class QuestionText(TypedDict):
    """One question about each pair, and the language that it is worded in."""

    id: str
    text: str
    language: str


@with_config(CLOSED)
class StudyTerms(TypedDict):
    """What the page must know of the study's design."""

    title: str
    slug: str
    questions: tuple[QuestionText, ...]
    allow_tie: bool
    allow_skip: bool
    strength: bool
    block_length: int
    show_prompt: bool
    show_at: Literal["fit", "one_to_one"]
    practice_feedback: bool
    lease_seconds: int
    seconds_per_vote: float
    design: Literal["preference", "fidelity", "ranking"]
    faster_flicker: bool


@with_config(CLOSED)
class NextStep(TypedDict):
    """What follows an answer: the next pair to load ahead, `more` if the queue had run low, progress, state."""

    progress: SessionProgress
    next: ShownPair | None
    more: tuple[ShownPair, ...]
    state: PageState
    retry_after: int | None


@with_config(CLOSED)
class VoteAnswer(NextStep):
    """A vote is stored."""

    accepted: Literal[True]
    vote_id: str | None
    undo: UndoOffer | None
    feedback: PracticeFeedback | None


@with_config(CLOSED)
class SessionAnswer(TypedDict):
    """All that a page needs to begin or to go on."""

    study: StudyTerms
    progress: SessionProgress
    queue: tuple[ShownPair, ...]
    state: PageState
    tab_token: str | None
    session_key: str
    undo: UndoOffer | None
    retry_after: int | None


@with_config(CLOSED)
class UndoAnswer(TypedDict):
    """The pair to answer again."""

    assignment: ShownPair
    progress: SessionProgress
    state: PageState


@with_config(CLOSED)
class HeartbeatAnswer(TypedDict):
    """Whether every lease was renewed; `lost` are the tokens of pairs that were given away."""

    ok: bool
    lease_seconds: int
    lost: tuple[str, ...]

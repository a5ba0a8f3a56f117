"""What the browser sends, checked. Unknown extra keys are ignored: a newer page may send more."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from qsched.records import Choice
from study_server.studies.design import MAX_QUESTIONS
from study_server.web.bodies import RequestBody

Token = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Key = Annotated[str, StringConstraints(min_length=8, max_length=100)]
# 366 days: a laptop that was closed for two days must not lose its answer, and the page sends no more than this
# (timing.js holds the same number). What is longer came from no page of ours.
LONGEST_MS = 31_622_400_000
Milliseconds = Annotated[int, Field(ge=0, le=LONGEST_MS)]

RankingText = Annotated[str, StringConstraints(pattern=r"^[a-d]([>=][a-d]){1,3}$")]

# How much better the chosen picture is: 1 slightly, 2 clearly.
Strength = Annotated[int, Field(ge=1, le=2)]


class Viewport(RequestBody):
    """CSS pixels and the device's pixel ratio."""

    w: int = Field(ge=0, le=100_000)
    h: int = Field(ge=0, le=100_000)
    dpr: float = Field(gt=0, le=100)


class View(RequestBody):
    """How the pair lay on the screen. `swaps` counts changes by hand, `rate_hz` is the flicker of a boosted triplet (0:
    held still)."""

    layout: Literal["side", "stacked", "grid"] | None = None
    scale: float | None = Field(default=None, ge=0, le=1000)
    zoomed: bool | None = None
    swaps: int | None = Field(default=None, ge=0, le=100_000)
    rate_hz: float | None = Field(default=None, ge=0, le=100)


class VoteBody(RequestBody):
    """One answer to every question about one pair."""

    assignment: Token
    answers: dict[Token, Choice] = Field(default_factory=dict, max_length=MAX_QUESTIONS)
    rankings: dict[Token, RankingText] = Field(
        default_factory=dict,
        max_length=MAX_QUESTIONS,
        description="of a set of pictures, by their places in the order of reading, the best first: b>a=d>c",
    )
    strengths: dict[Token, Strength] = Field(default_factory=dict, max_length=MAX_QUESTIONS)
    response_ms: Milliseconds
    hidden_ms: Milliseconds = 0
    painted_at: float | None = Field(default=None, ge=0, le=1e14, description="ms since 1970 on the person's clock")
    idempotency_key: Key
    tab_token: Token
    input: Literal["key", "mouse", "touch", "pen"] | None = None
    viewport: Viewport | None = None
    view: View | None = None

    def display(self, language: str) -> str:
        """The question's language, input, viewport and layout as JSON for the record."""
        shown = self.model_dump_json(include={"input", "viewport", "view"}, exclude_none=True)
        return f'{{"language":"{language}"' + ("}" if shown == "{}" else f",{shown[1:]}")


class UndoBody(RequestBody):
    """The vote to take back."""

    vote_id: Token
    tab_token: Token | None = None


class HeartbeatBody(RequestBody):
    """The pairs that an open page holds."""

    assignments: tuple[Token, ...] = Field(default=(), max_length=10)
    tab_token: Token


class ReportBody(RequestBody):
    """Why a pair cannot be judged."""

    assignment: Token
    problem: Literal["image_missing", "cannot_judge"]
    detail: str | None = Field(default=None, max_length=1000)
    tab_token: Token
    idempotency_key: Key


class SessionBody(RequestBody):
    """The page's tab, if it has one; `take_over` ends another tab."""

    tab_token: Token | None = None
    take_over: bool = False

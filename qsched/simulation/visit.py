"""A simulated annotator's visit: the same pages, the same API and the same pictures as a person's browser.

The visitor never learns which arm made a picture; it scores the bytes that it was served: in a preference study each
picture's ground truth, in a fidelity study each picture's difference from the reference beside it.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from qsched.errors import InputError, MissingExtraError, QschedError
from qsched.records.rankings import PLACES, write_ranking
from qsched.records.votes import Choice
from qsched.simulation.annotators import Annotator, answering_seconds, choose, rank_pictures
from qsched.simulation.panel import TripletPanel

try:
    import httpx
except ModuleNotFoundError as error:  # pragma: no cover - only without the extra
    raise MissingExtraError("httpx", "server") from error

Score = Callable[[Image.Image, str], float]
CSRF_FIELD = re.compile(r'name="csrf"[^>]*value="([^"]+)"')
CSRF_META = re.compile(r'<meta name="csrf-token" content="([^"]+)"')
WAIT_SECONDS = 1.0
#: How a ranking is counted among the choices.
RANKED = "ranking"


class VisitError(QschedError):
    """The server answered a simulated annotator in a way that a browser could not handle."""


@dataclass
class VisitSummary:
    """What the visits did, counted."""

    annotators: int = 0
    votes: int = 0
    design: str = "preference"
    choices: dict[str, int] = field(default_factory=lambda: {choice.value: 0 for choice in Choice})


class ScoreCache:
    """Ground-truth score of a picture, computed once for each (bytes, prompt)."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self._known: dict[tuple[str, str], float] = {}

    def __call__(self, content: bytes, prompt: str) -> float:
        key = (hashlib.sha256(content).hexdigest(), prompt)
        if key not in self._known:
            with Image.open(io.BytesIO(content)) as picture:
                self._known[key] = self._score(picture.convert("RGB"), prompt)
        return self._known[key]


async def visit_study(
    base_url: str,
    *,
    study: str,
    annotators: Sequence[Annotator],
    votes_each: int,
    score: Score,
    seed: int,
    panel: TripletPanel | None = None,
    concurrency: int = 8,
    on_vote: Callable[[], None] = lambda: None,
) -> VisitSummary:
    """Let each annotator give up to `votes_each` votes in `study`; returns what was counted.

    score(image, prompt) is the ground truth that they see with noise; in a fidelity study the people of `panel` (one
    for each annotator) answer instead. Deterministic choices for a seed given the pairs served; which pairs are served
    depends on the server.
    """
    if votes_each < 1:
        raise InputError(f"votes_each is {votes_each}; an annotator gives at least one vote")
    scores = ScoreCache(score)
    summary = VisitSummary()
    places = asyncio.Semaphore(concurrency)

    async def one(index: int, annotator: Annotator) -> None:
        async with (
            places,
            httpx.AsyncClient(base_url=base_url, timeout=30.0, headers={"Accept-Language": "en"}) as client,
        ):
            rng = np.random.default_rng([seed, 1, index])
            visit = _Visit(client, study, annotator, rng, scores, _Seat(panel, index))
            await visit.enter()
            summary.design = await visit.open()
            async for choice in visit.votes(votes_each):
                summary.votes += 1
                summary.choices[choice] = summary.choices.get(choice, 0) + 1
                on_vote()
            summary.annotators += 1

    try:
        async with asyncio.TaskGroup() as group:
            for index, annotator in enumerate(annotators):
                group.create_task(one(index, annotator))
    except* QschedError as errors:  # a server's refusal, or a prompt that the domain does not know
        raise errors.exceptions[0] from None
    except* httpx.TransportError as errors:
        raise VisitError(
            f"{base_url} does not answer ({errors.exceptions[0]!r}); start the server with `qsched serve`"
        ) from None
    return summary


@dataclass(frozen=True)
class _Seat:
    """Who answers triplets: a panel, and this visitor's place in it."""

    panel: TripletPanel | None
    person: int


class _Visit:
    """One browser's worth of state: cookies in the client, the CSRF token, the queue."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        study: str,
        annotator: Annotator,
        rng: np.random.Generator,
        scores: ScoreCache,
        seat: _Seat,
    ) -> None:
        self.client = client
        self.root = f"/s/{study}"
        self.annotator = annotator
        self.rng = rng
        self.scores = scores
        self.seat = seat
        self.csrf = ""
        self.tab_token = ""
        self.graded = False
        self.state: dict[str, Any] = {}

    async def enter(self) -> None:
        """Consent, pass the screening and open the task page."""
        page = await self._get(f"{self.root}?simulated=1")
        found = CSRF_FIELD.search(page.text)
        if found is None:
            raise VisitError(f"{page.url} shows no consent form; is the study open and simulation allowed?")
        answer = await self.client.post(
            f"{self.root}/consent", data={"csrf": found[1], "consent": "yes", "simulated": "1"}
        )
        if answer.status_code == 403:  # the form and its token are those of the page just read
            where = page.url.copy_with(query=None)
            raise VisitError(
                f"{where} answered 403: it takes no simulated annotators; start its server with --simulated-annotators"
            )
        self._check(answer, allowed=(303,))
        page = await self._get(f"{self.root}/instructions")
        meta = CSRF_META.search(page.text)
        if meta is None:
            raise VisitError(f"{page.url} carries no csrf-token")
        self.csrf = meta[1]
        screen = {
            "viewport_width": 1440,
            "viewport_height": 900,
            "device_pixel_ratio": 1.0,
            "zoom": 1.0,
            "touch": False,
            "colour_plate": "passed",
            "grey_steps": "passed",
        }
        await self._post("screening", screen)
        page = await self._get(f"{self.root}/task")
        meta = CSRF_META.search(page.text)
        self.csrf = meta[1] if meta else self.csrf

    async def open(self) -> str:
        """Open the task page; returns the study's design."""
        self.state = await self._post("api/session", {})
        return str(self.state["study"]["design"])

    async def votes(self, limit: int) -> Any:
        """Yield the choice of every acknowledged vote."""
        state = self.state
        self.tab_token = state["tab_token"]
        self.graded = state["study"]["strength"]
        questions = [question["id"] for question in state["study"]["questions"]]
        queue = list(state["queue"])
        given = 0
        while given < limit:
            if not queue:
                if state["state"] in ("finished", "closed"):
                    return
                await asyncio.sleep(WAIT_SECONDS)
                state = await self._post("api/session", {"tab_token": self.tab_token})
                queue = list(state["queue"])
                continue
            assignment = queue.pop(0)
            choice = _obeyed(assignment["instruction"])
            ranking = await self._rank(assignment) if assignment["others"] else None
            if choice is None and ranking is None:
                choice = await self._judge(assignment)
            practice = assignment["kind_public"] == "practice"
            state = await self._answer(assignment, choice, ranking, questions)
            if state.get("next") is not None:
                queue.append(state["next"])
            if not practice:
                given += 1
                yield RANKED if choice is None else choice.value

    async def _judge(self, assignment: dict[str, Any]) -> Choice:
        left, right = [(await self._get(assignment[side]["src"])).content for side in ("left", "right")]
        if assignment["reference"] is not None:
            if self.seat.panel is None:
                raise VisitError(f"{self.root} is a fidelity study; it needs a panel of observers")
            reference = (await self._get(assignment["reference"]["src"])).content
            boosted = assignment["boosting"] is not None
            return self.seat.panel.answer(
                self.seat.person, reference=reference, left=left, right=right, boosted=boosted, rng=self.rng
            )
        prompt = assignment["prompt"]
        return choose(
            self.annotator,
            left=self.scores(left, prompt),
            right=self.scores(right, prompt),
            rng=self.rng,
        )

    async def _rank(self, assignment: dict[str, Any]) -> str:
        pictures = [assignment["left"], assignment["right"], *assignment["others"]]
        contents = [(await self._get(picture["src"])).content for picture in pictures]
        worths = [self.scores(content, assignment["prompt"]) for content in contents]
        return write_ranking(rank_pictures(self.annotator, worths, rng=self.rng), PLACES)

    async def _answer(
        self, assignment: dict[str, Any], choice: Choice | None, ranking: str | None, questions: Sequence[str]
    ) -> dict[str, Any]:
        # The model of a simulated person knows a side and no strength: a strength is always "slightly".
        graded = self.graded and choice in (Choice.LEFT, Choice.RIGHT)
        return await self._post(
            "api/votes",
            {
                "assignment": assignment["token"],
                "answers": {} if choice is None else {question: choice.value for question in questions},
                "rankings": {} if ranking is None else dict.fromkeys(questions, ranking),
                "strengths": dict.fromkeys(questions, 1) if graded else {},
                "response_ms": round(1000 * answering_seconds(self.annotator, rng=self.rng)),
                "hidden_ms": 0,
                "idempotency_key": str(uuid.UUID(bytes=self.rng.bytes(16), version=4)),
                "tab_token": self.tab_token,
                "input": "key",
                "viewport": {"w": 1440, "h": 900, "dpr": 1.0},
                "view": None if assignment["reference"] is None else _view(assignment),
            },
        )

    async def _get(self, url: str) -> httpx.Response:
        answer = await self.client.get(url, follow_redirects=True)
        self._check(answer)
        return answer

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.client.post(f"{self.root}/{path}", json=body, headers={"X-CSRF-Token": self.csrf})
        self._check(answer)
        return dict(answer.json())

    def _check(self, answer: httpx.Response, allowed: tuple[int, ...] = (200,)) -> None:
        if answer.status_code not in allowed:
            raise VisitError(
                f"{answer.request.method} {answer.request.url} answered {answer.status_code}: {answer.text[:300]}"
            )


def _obeyed(instruction: str | None) -> Choice | None:
    """What an attention check asks for, in the English words that this visitor reads."""
    if instruction is None:
        return None
    return Choice.LEFT if "LEFT" in instruction else Choice.RIGHT if "RIGHT" in instruction else None


def _view(assignment: dict[str, Any]) -> dict[str, Any]:
    """How a window of this size shows a triplet: as large as fits 700 pixels, toggled once, flickering if boosted."""
    boosting = assignment["boosting"]
    scale = max(1, 700 // max(assignment["left"]["width"], assignment["left"]["height"]))
    return {"layout": "side", "scale": scale, "swaps": 1, "rate_hz": boosting["rate_hz"] if boosting else None}

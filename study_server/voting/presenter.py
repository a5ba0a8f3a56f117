"""Turns outcomes into what the browser receives. Everything here is seen by an annotator: no arm, no kind."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

from qsched.records import Choice, Kind
from study_server.assignment.records import Shown
from study_server.assignment.session import AnnotatorSession
from study_server.clock import now_ms
from study_server.studies.known_answers import first_known, known_answer
from study_server.studies.study import Study
from study_server.voting.outcome import Outcome
from study_server.web.catalogue import Catalogue
from study_server.web.security import Keyring

RETRY_SECONDS = 5
INSTRUCTIONS = {"left": "instructed.left", "right": "instructed.right"}


class Presenter:
    """Seals identifiers for one session and words texts in its language."""

    def __init__(self, keys: Keyring, study: Study, session_id: int, catalogue: Callable[[], Catalogue]) -> None:
        self._keys = keys
        self._study = study
        self._session_id = session_id
        self._catalogue = catalogue

    def assignment(self, shown: Shown) -> dict[str, Any]:
        """One pair for the page."""
        item, content = shown.assignment, shown.content
        first = {"image": content.first_image, "width": content.first_width, "height": content.first_height}
        second = {"image": content.second_image, "width": content.second_width, "height": content.second_height}
        left, right = (first, second) if item.first_on_left else (second, first)
        instruction = None
        if item.kind == Kind.INSTRUCTED and item.expected is not None:
            each = ".each" if len(self._study.design.questions) > 1 else ""
            instruction = self._catalogue().text(INSTRUCTIONS[item.expected] + each)
        return {
            "token": self._keys.seal("assignment", self._session_id, item.id),
            "kind_public": "practice" if shown.is_practice else "task",
            "prompt": content.prompt,
            # Of an attention check: shown in a place of its own, whether or not descriptions are shown.
            "instruction": instruction,
            "left": self._picture(item.id, left, 0),
            "right": self._picture(item.id, right, 1),
            "lease_seconds": self._study.design.lease_seconds,
        }

    def progress(self, session: AnnotatorSession) -> dict[str, Any]:
        """Where the session stands; practice is counted apart."""
        design = self._study.design
        practice = session.plan.count("P")
        return {
            "done": session.done,
            "total": max(session.total, session.done),
            "block_done": session.done % design.block_length,
            "block_length": design.block_length,
            # Until max_minutes are over. How long the work will take only the page knows, from the person's own pace.
            "limit_seconds_left": session.seconds_left(design, now_ms()),
            "practice_left": max(0, practice - session.practice_done),
        }

    def session(self, outcome: Outcome) -> dict[str, Any]:
        """SessionState: all that a page needs to begin or to go on."""
        design = self._study.design
        digest = hashlib.sha256(f"{self._study.slug}/{self._session_id}".encode()).hexdigest()
        return {
            "study": {
                "title": self._study.title,
                "slug": self._study.slug,
                "questions": [question.model_dump() for question in design.questions],
                "allow_tie": design.allow_tie,
                "allow_skip": design.allow_skip,
                "strength": design.strength,
                "block_length": design.block_length,
                "show_prompt": design.show_prompt,
                "show_at": design.show_at,
                "practice_feedback": design.practice_feedback,
                "lease_seconds": design.lease_seconds,
                "seconds_per_vote": design.seconds_per_vote,
            },
            "progress": self.progress(outcome.session),
            "queue": [self.assignment(shown) for shown in outcome.shown],
            "state": outcome.state,
            "tab_token": outcome.session.tab_token,
            "session_key": digest[:16],
            "undo": self._undo(outcome),
        } | self._retry(outcome)

    def vote(self, outcome: Outcome, *, stacked: bool) -> dict[str, Any]:
        """The answer to an accepted vote; `stacked` where the pictures lay one above the other."""
        vote_id = self._vote_id(outcome.vote_id)
        answer: dict[str, Any] = {
            "accepted": True,
            "vote_id": vote_id,
            "undo": None if outcome.undo_id is None or vote_id is None else {"vote_id": vote_id},
        } | self.after(outcome)
        feedback = self._feedback(outcome, stacked=stacked)
        if feedback is not None:
            answer["feedback"] = feedback
        return answer

    def after(self, outcome: Outcome) -> dict[str, Any]:
        """What follows: the next pair to prefetch (and `more` where the queue had run low), progress, state."""
        return {
            "progress": self.progress(outcome.session),
            "next": self.assignment(outcome.shown[0]) if outcome.shown else None,
            "more": [self.assignment(shown) for shown in outcome.shown[1:]],
            "state": outcome.state,
        } | self._retry(outcome)

    def _picture(self, assignment_id: int, picture: dict[str, int], side: int) -> dict[str, Any]:
        token = self._keys.seal("image", self._session_id, assignment_id, picture["image"], side)
        return {"src": f"/i/{token}", "width": picture["width"], "height": picture["height"]}

    def _vote_id(self, number: int | None) -> str | None:
        return None if number is None else self._keys.seal("vote", self._session_id, number)

    def _undo(self, outcome: Outcome) -> dict[str, Any] | None:
        vote_id = self._vote_id(outcome.undo_id)
        return None if vote_id is None else {"vote_id": vote_id}

    def _feedback(self, outcome: Outcome, *, stacked: bool) -> dict[str, Any] | None:
        """After a practice pair: right where every answer that is known is, and why, by the sides of this person."""
        voted = outcome.voted
        if voted is None or not voted.is_practice or not self._study.design.practice_feedback:
            return None
        expected, answers = voted.assignment.expected, outcome.answers or {}
        known = {question: answer for question in answers if (answer := known_answer(expected, question))}
        if expected is None or not known or all(answers[question] is Choice.SKIP for question in known):
            return None
        correct = all(answers[question] == answer for question, answer in known.items())
        sides = ("upper", "lower") if stacked else ("left", "right")
        better, worse = sides if first_known(expected) == "left" else sides[::-1]
        words = {
            name: self._catalogue().text(f"feedback.side.{side}")
            for name, side in (("better", better), ("worse", worse))
        }
        text = re.sub(r"{(better|worse)}", lambda found: words[found[1]], voted.content.why or "")
        return {"correct": correct, "text": text}

    @staticmethod
    def _retry(outcome: Outcome) -> dict[str, Any]:
        return {"retry_after": RETRY_SECONDS} if outcome.state in ("waiting", "paused") else {}

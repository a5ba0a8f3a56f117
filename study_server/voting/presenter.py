"""Turns outcomes into what the browser receives."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from qsched.records import Choice, Kind
from qsched.records.rankings import LAST, PLACES, is_last
from study_server.assignment.records import PictureContent, Shown
from study_server.assignment.session import AnnotatorSession
from study_server.clock import now_ms
from study_server.studies.design import Question
from study_server.studies.known_answers import first_known, known_answer
from study_server.studies.texts import read_text
from study_server.voting.answers import (
    NextStep,
    PracticeFeedback,
    QuestionText,
    SessionAnswer,
    SessionProgress,
    ShownBoosting,
    ShownPair,
    ShownPicture,
    StudyTerms,
    UndoAnswer,
    UndoOffer,
    VoteAnswer,
)
from study_server.voting.outcome import CallOutcome
from study_server.voting.pictures import Side, seal_pair, shown_picture
from study_server.web.calls import ApiCall

RETRY_SECONDS = 5
INSTRUCTIONS = {"left": "instructed.left", "right": "instructed.right"}


class Presenter:
    """Seals identifiers for the session of one call and words texts in its language."""

    def __init__(self, call: ApiCall) -> None:
        self._call = call
        self._keys = call.server.keys
        self._design = call.study.design

    def pair(self, shown: Shown) -> ShownPair:
        """One pair for the page."""
        item, content = shown.assignment, shown.content
        left, right, *others = (
            content.in_place(item.places) if item.places else content.sides(first_on_left=item.first_on_left)
        )
        instruction = None
        if item.kind == Kind.INSTRUCTED and item.expected is not None:
            each = ".each" if len(self._design.questions) > 1 else ""
            instruction = self._call.catalogue().text(INSTRUCTIONS[item.expected] + each)
        token = seal_pair(self._keys, self._call.session.number, item.id, left.id, right.id)
        return ShownPair(
            token=token,
            kind_public="practice" if shown.is_practice else "task",
            prompt=content.prompt,
            instruction=instruction,
            left=shown_picture(token, "l", left),
            right=shown_picture(token, "r", right),
            lease_seconds=self._design.lease_seconds,
            reference=self._reference(shown),
            boosting=self._boosting(shown),
            others=self._others(item.id, others),
        )

    def _others(self, assignment: int, pictures: Sequence[PictureContent]) -> tuple[ShownPicture, ...]:
        """The third and fourth picture of a set, under a token of their own."""
        if not pictures:
            return ()
        numbers = [picture.id for picture in pictures] + [0]
        token = seal_pair(self._keys, self._call.session.number, assignment, numbers[0], numbers[1])
        sides: tuple[Side, Side] = ("l", "r")
        return tuple(shown_picture(token, side, one) for side, one in zip(sides, pictures, strict=False))

    def _boosting(self, shown: Shown) -> ShownBoosting | None:
        boosting, fidelity = shown.content.boosting, self._design.fidelity
        if boosting is None or fidelity is None:
            return None
        boost = fidelity.boost
        return ShownBoosting(factor=boosting.factor, rate_hz=boosting.rate_hz, zoom=boost.zoom, largest=boost.largest)

    def _reference(self, shown: Shown) -> ShownPicture | None:
        """A triplet's reference under an address of its own, which does not tell whether a test picture is the same."""
        picture = shown.content.reference
        if picture is None:
            return None
        # No image has the number 0: the address is that of no test picture, even where the reference is one of them.
        token = seal_pair(self._keys, self._call.session.number, shown.assignment.id, picture.id, 0)
        return shown_picture(token, "l", picture)

    def progress(self, session: AnnotatorSession) -> SessionProgress:
        """How far the session is."""
        return SessionProgress(
            done=session.done,
            total=max(session.total, session.done),
            block_done=session.done % self._design.block_length,
            block_length=self._design.block_length,
            limit_seconds_left=session.seconds_left(self._design, now_ms()),
            practice_left=max(0, session.plan.count("P") - session.practice_done),
        )

    def session(self, outcome: CallOutcome) -> SessionAnswer:
        """All that a page needs to begin or to go on."""
        design, study = self._design, self._call.study
        digest = hashlib.sha256(f"{study.uid}/{self._call.session.hash}".encode()).hexdigest()
        return SessionAnswer(
            study=StudyTerms(
                title=design.words(design.title, self._call.catalogue().language).text,
                slug=study.slug,
                questions=tuple(self._question(one) for one in design.questions),
                allow_tie=design.allow_tie,
                allow_skip=design.allow_skip,
                strength=design.strength,
                block_length=design.block_length,
                show_prompt=design.show_prompt,
                show_at=design.show_at,
                practice_feedback=design.practice_feedback,
                lease_seconds=design.lease_seconds,
                seconds_per_vote=design.seconds_per_vote,
                design=design.design,
                faster_flicker=design.fidelity is not None and design.fidelity.boost.faster_flicker,
            ),
            progress=self.progress(outcome.session),
            queue=tuple(self.pair(shown) for shown in outcome.shown),
            state=outcome.state,
            tab_token=outcome.session.tab_token,
            session_key=digest[:16],
            undo=_offer(self._vote_id(outcome.undo_id)),
            retry_after=_retry_after(outcome),
        )

    def _question(self, question: Question) -> QuestionText:
        """The owner's words; the question of a fidelity study is the page's own, in the person's language."""
        if self._design.fidelity is not None:
            return QuestionText(
                id=question.id,
                text=self._call.catalogue().text("fidelity.question"),
                language=self._call.catalogue().language,
            )
        words = self._design.words(question.text, self._call.catalogue().language)
        return QuestionText(id=question.id, text=words.text, language=words.language)

    def vote(self, outcome: CallOutcome, *, stacked: bool) -> VoteAnswer:
        """The answer to an accepted vote; `stacked` if the pictures lay one above the other."""
        vote_id = self._vote_id(outcome.vote_id)
        return {
            "accepted": True,
            "vote_id": vote_id,
            "undo": None if outcome.undo_id is None else _offer(vote_id),
            "feedback": self._feedback(outcome, stacked=stacked),
            **self.following(outcome),
        }

    def undo(self, outcome: CallOutcome) -> UndoAnswer:
        """The pair to answer again."""
        return UndoAnswer(
            assignment=self.pair(outcome.shown[0]), progress=self.progress(outcome.session), state=outcome.state
        )

    def following(self, outcome: CallOutcome) -> NextStep:
        """What follows a vote or a report."""
        return {
            "progress": self.progress(outcome.session),
            "next": self.pair(outcome.shown[0]) if outcome.shown else None,
            "more": tuple(self.pair(shown) for shown in outcome.shown[1:]),
            "state": outcome.state,
            "retry_after": _retry_after(outcome),
        }

    def _vote_id(self, number: int | None) -> str | None:
        return None if number is None else self._keys.seal("vote", self._call.session.number, number)

    def _feedback(self, outcome: CallOutcome, *, stacked: bool) -> PracticeFeedback | None:
        """After a practice pair: right where every answer that is known is, and why, by the sides of this person."""
        voted = outcome.voted
        if voted is None or not voted.is_practice or not self._design.practice_feedback:
            return None
        expected, answers = voted.assignment.expected, outcome.answers or {}
        known = {question: answer for question in answers if (answer := known_answer(expected, question))}
        if expected is None or not known or all(answers[question] is Choice.SKIP for question in known):
            return None
        correct = all(_is_right(answers[question], answer) for question, answer in known.items())
        if voted.assignment.places is not None:
            place = voted.assignment.places.index(expected.removeprefix(LAST))
            return PracticeFeedback(
                correct=correct, text=(voted.content.why or "").replace("{worst}", PLACES[place].upper())
            )
        sides = ("upper", "lower") if stacked else ("left", "right")
        better, worse = sides if first_known(expected) == "left" else sides[::-1]
        if self._design.fidelity is not None:  # where the right answer is the picture that differs more
            better, worse = worse, better
        words = {
            name: self._call.catalogue().text(f"feedback.side.{side}")
            for name, side in (("better", better), ("worse", worse))
        }
        why = self._design.words(read_text(voted.content.why or ""), self._call.catalogue().language).text
        text = re.sub(r"{(better|worse)}", lambda found: words[found[1]], why)
        return PracticeFeedback(correct=correct, text=text)


def _offer(vote_id: str | None) -> UndoOffer | None:
    return None if vote_id is None else UndoOffer(vote_id=vote_id)


def _retry_after(outcome: CallOutcome) -> int | None:
    return RETRY_SECONDS if outcome.state in ("waiting", "paused") else None


def _is_right(answer: str, known: str) -> bool:
    """Whether an answer is the known one; of a ranking only its last picture is known."""
    return is_last(answer, known) if known.startswith(LAST) else answer == known

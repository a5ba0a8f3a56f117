"""What an API call of the pair page leads to: the state of the session and what is shown next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from qsched.records import Kind
from study_server.assignment.records import Assignment, AssignmentContext, NoWork, Shown, find_assignment
from study_server.assignment.service import QUEUE_DEPTH, lease_next
from study_server.assignment.session import AnnotatorSession
from study_server.db import Tx
from study_server.errors import Conflict
from study_server.voting import queries
from study_server.voting.answers import PageState


class CallOutcome(NamedTuple):
    """What an API call leads to: the state of the session and what to show."""

    session: AnnotatorSession
    state: PageState
    shown: tuple[Shown, ...] = ()
    vote_id: int | None = None
    undo_id: int | None = None
    voted: Shown | None = None
    answers: Mapping[str, str] | None = None


def fill_queue(
    tx: Tx, context: AssignmentContext, session: AnnotatorSession, following: Shown | NoWork | None
) -> tuple[Shown, ...]:
    """What to show after `following`: nothing more as a rule, since an answer frees one place of the queue.

    Where the queue had shrunk because no pair was free for a moment, it is filled up again, so that the page can
    load the next pair ahead. A repeated post names only the first of them; the page gets the other when it asks.
    """
    shown = []
    while isinstance(following, Shown):
        shown.append(following)
        following = lease_next(tx, context, session) if session.outstanding < QUEUE_DEPTH else None
    return tuple(shown)


def answer_again(tx: Tx, context: AssignmentContext, session: AnnotatorSession, successor: int | None) -> CallOutcome:
    """What followed the first answer, for one that is sent again."""
    following = None
    if successor is not None:
        following = find_assignment(tx, assignment_id=successor, session_id=session.id)
    shown: tuple[Shown, ...] = ()
    if following is not None and following.state == "leased":
        shown = (Shown(following, context.cache.get(tx, following.pair_id)),)
    if session.state == "finished":
        return CallOutcome(session, "finished", shown)
    if session.outstanding:
        return CallOutcome(session, "task", shown)
    return CallOutcome(session, closed_or_paused(session) or "waiting", shown)


def closed_or_paused(session: AnnotatorSession) -> Literal["closed", "paused"] | None:
    """The status of a study that hands out no pairs, None for an open one."""
    return session.status if session.status in ("closed", "paused") else None


def state_after(
    context: AssignmentContext, session: AnnotatorSession, following: Shown | NoWork | None, *, after: Assignment | None
) -> PageState:
    """What the page shows next; ends the session where nothing is left. Changes `session.state`."""
    if session.state != "active":
        return "finished"
    if session.outstanding > 0 or isinstance(following, Shown):
        block_over = (
            after is not None
            and after.kind != Kind.PRACTICE
            and not after.reopened
            and session.done % context.study.design.block_length == 0
            and session.done < session.total
        )
        return "break" if block_over else "task"
    halted = closed_or_paused(session)
    if halted == "closed" or (halted == "paused" and not has_run_out(context, session)):
        return halted
    if isinstance(following, NoWork) and not following.final:
        return "waiting"
    session.state = "finished"
    return "finished"


def effective_votes(tx: Tx, assignment_id: int) -> dict[str, int]:
    """The votes of an assignment that no correction supersedes: question -> vote, in the order of the answers."""
    return {question: number for number, question in tx.all(queries.EFFECTIVE, assignment=assignment_id)}


def has_run_out(context: AssignmentContext, session: AnnotatorSession) -> bool:
    """Whether nothing would be handed out even if the study went on: the plan is worked off or the time is over."""
    return session.position >= len(session.plan) or session.seconds_left(context.study.design, context.now) == 0


def check_tab(session: AnnotatorSession, tab_token: str) -> None:
    """Conflict if another tab has taken the session over."""
    if session.tab_token != tab_token:
        raise Conflict("the study is open in another tab or browser", code="other_tab")


def refuse_ended(session: AnnotatorSession) -> None:
    """Conflict for a session whose device does not fit the study, and for one that the owner has ended."""
    if session.state == "screened_out":
        raise Conflict("this device was found not to fit the study", code="screened_out")
    if session.state in ("excluded", "not_understood"):
        raise Conflict("your part in this study is over", code="ended")


def key_reused() -> Conflict:
    """The error for a key that was used for another pair."""
    return Conflict(
        "this idempotency key belongs to the answer to another pair; draw a new one for each answer", code="key_reused"
    )

"""What an API call of the pair page leads to: the state of the session and what is shown next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from qsched.records import Choice, Kind
from study_server.assignment.queries import ASSIGNMENT
from study_server.assignment.records import Assignment, AssignmentContext, NoWork, Shown
from study_server.assignment.service import QUEUE_DEPTH, lease_next
from study_server.assignment.session import AnnotatorSession
from study_server.db import Tx
from study_server.errors import Conflict


class Outcome(NamedTuple):
    """What an API call leads to: where the session stands and what to show."""

    session: AnnotatorSession
    state: str
    shown: tuple[Shown, ...] = ()
    vote_id: int | None = None
    undo_id: int | None = None
    voted: Shown | None = None
    answers: Mapping[str, Choice] | None = None


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


def answer_again(tx: Tx, context: AssignmentContext, session: AnnotatorSession, successor: int | None) -> Outcome:
    row = None if successor is None else tx.one(ASSIGNMENT, assignment=successor, session=session.id)
    shown: tuple[Shown, ...] = ()
    if row is not None and row[6] == "leased":
        following = Assignment(*row)
        shown = (Shown(following, context.cache.get(tx, following.pair_id)),)
    if session.state == "finished":
        state = "finished"
    elif session.outstanding:
        state = "task"
    else:
        state = "waiting" if session.status == "open" else session.status
    return Outcome(session, state, shown)


def state_after(
    context: AssignmentContext, session: AnnotatorSession, following: Shown | NoWork | None, *, after: Assignment | None
) -> str:
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
    if session.status == "closed" or (session.status == "paused" and not has_run_out(context, session)):
        return session.status
    if isinstance(following, NoWork) and not following.final:
        return "waiting"
    session.state = "finished"
    return "finished"


def has_run_out(context: AssignmentContext, session: AnnotatorSession) -> bool:
    """Whether nothing would be handed out even if the study went on: the plan is worked off or the time is over."""
    return session.position >= len(session.plan) or session.seconds_left(context.study.design, context.now) == 0


def check_tab(session: AnnotatorSession, tab_token: str) -> None:
    if session.tab_token != tab_token:
        raise Conflict("the study is open in another tab or browser", code="other_tab")


def refuse_screened_out(session: AnnotatorSession) -> None:
    if session.state == "screened_out":
        raise Conflict("this device was found not to fit the study", code="screened_out")


def key_reused() -> Conflict:
    return Conflict(
        "this idempotency key belongs to the answer to another pair; draw a new one for each answer", code="key_reused"
    )

"""A session at the pair page: open it, undo its latest vote, keep its leases, report a pair that cannot be judged."""

from __future__ import annotations

import json
import logging

from qsched.records import Kind
from study_server.assignment.queries import RENEW_LEASE
from study_server.assignment.records import AssignmentContext, NoWork, Shown, find_assignment
from study_server.assignment.service import QUEUE_DEPTH, lease_next, resume, revive, void
from study_server.assignment.session import AnnotatorSession, load_session, save_session
from study_server.db import Tx
from study_server.errors import Conflict
from study_server.studies.design import StudyDesign
from study_server.voting import queries
from study_server.voting.failed_checks import ends_early_instead
from study_server.voting.outcome import (
    CallOutcome,
    answer_again,
    check_tab,
    closed_or_paused,
    effective_votes,
    fill_queue,
    has_run_out,
    key_reused,
    refuse_ended,
    state_after,
)

log = logging.getLogger(__name__)

# A tab that sent nothing for this long is taken for closed.
TAB_SILENCE_MS = 45_000
# Without a vote or a report for this long, an open page keeps nothing, whatever its heartbeat says.
HOLD_MS = 15 * 60_000
# How often one pair may be corrected; an honest person needs one or two.
MAX_CORRECTIONS = 5
# A pair is taken out when this many people could not see it although the server can read its files.
PEOPLE_TO_DISABLE = 3
# What the reports of one session count, and how much of a study they may take out together.
REPORTS_THAT_COUNT = 3
MOST_DISABLED = 0.05


def open_session(
    tx: Tx, context: AssignmentContext, *, session_key: str, tab_token: str | None, new_tab: str, take_over: bool
) -> CallOutcome:
    """The state of the session and its queue: what the page had before a reload, filled up to QUEUE_DEPTH.

    Raises Conflict where another tab was heard from in the last TAB_SILENCE_MS, and before a screening or questions
    about the instructions, if the study has them, are passed.
    """
    session = load_session(tx, key=session_key, study=context.study.id)
    if session.state in ("excluded", "not_understood"):
        refuse_ended(session)
    if session.state == "active":
        _check_may_begin(tx, context.study.design, session)
    _take_tab(context, session, tab_token, new_tab=new_tab, take_over=take_over)
    if session.state == "active" and session.status != "open":
        if session.status == "paused" and session.outstanding == 0 and has_run_out(context, session):
            session.state = "finished"
            if ends_early_instead(tx, context, session, "finished"):
                return CallOutcome(session, "finished")
        save_session(tx, session, now=context.now)
        return CallOutcome(
            session, "finished" if session.state == "finished" else closed_or_paused(session) or "waiting"
        )
    shown = resume(tx, context, session) if session.state == "active" else []
    following: Shown | NoWork | None = None
    while sum(not item.assignment.reopened for item in shown) < QUEUE_DEPTH:
        following = lease_next(tx, context, session)
        if isinstance(following, NoWork):
            break
        shown.append(following)
    state = "task" if shown else state_after(context, session, following, after=None)
    undo_id = None
    if session.last_assignment_id is not None and not any(item.assignment.reopened for item in shown):
        undo_id = next(iter(effective_votes(tx, session.last_assignment_id).values()), None)
    if ends_early_instead(tx, context, session, state):
        return CallOutcome(session, state)
    save_session(tx, session, now=context.now)
    return CallOutcome(session, state, tuple(shown), undo_id=undo_id)


def undo_vote(
    tx: Tx, context: AssignmentContext, *, session_key: str, vote_id: int, tab_token: str | None
) -> CallOutcome:
    """Open the latest vote for correction, until the next is given. Its row counts until a new one supersedes it."""
    session = load_session(tx, key=session_key, study=context.study.id)
    refuse_ended(session)
    if tab_token is not None:
        check_tab(session, tab_token)
    assignment = None
    if session.last_assignment_id is not None:
        assignment = find_assignment(tx, assignment_id=session.last_assignment_id, session_id=session.id)
    if assignment is None or vote_id not in effective_votes(tx, assignment.id).values():
        raise Conflict("only the latest answer can be undone", code="undo_closed")
    if tx.scalar(queries.ANSWERS_OF, assignment=assignment.id) > MAX_CORRECTIONS:
        raise Conflict(f"a pair can be corrected {MAX_CORRECTIONS} times", code="undo_closed")
    if assignment.state != "voted" or assignment.kind == Kind.PRACTICE or session.status == "closed":
        raise Conflict("this answer can no longer be undone", code="undo_closed")
    tx.run(queries.REOPEN, assignment=assignment.id)
    session.state = "active"
    session.tab_seen_ms = context.now
    save_session(tx, session, now=context.now)
    reopened = assignment._replace(reopened=True)
    return CallOutcome(session, "task", (Shown(reopened, context.cache.get(tx, assignment.pair_id)),))


def keep_leases(
    tx: Tx, context: AssignmentContext, *, session_key: str, assignments: tuple[int, ...], tab_token: str
) -> list[int]:
    """Renew the leases of a living page; returns the assignments that were given away."""
    session = load_session(tx, key=session_key, study=context.study.id)
    refuse_ended(session)  # what it holds is swept soon
    check_tab(session, tab_token)
    lost = []
    holds = context.now - (session.judged_ms or session.started_ms) <= HOLD_MS
    for number in assignments:
        expires = context.now + context.study.lease_ms
        if holds and tx.one(RENEW_LEASE, assignment=number, session=session.id, expires=expires) is not None:
            continue
        assignment = find_assignment(tx, assignment_id=number, session_id=session.id)
        if assignment is None or assignment.state in ("void", "reported"):
            lost.append(number)
        elif assignment.state == "expired" and not (holds and revive(tx, context, assignment)):
            void(tx, session, assignment, state="void")
            lost.append(number)
    session.tab_seen_ms = context.now
    save_session(tx, session, now=context.now)
    return lost


def _take_tab(
    context: AssignmentContext, session: AnnotatorSession, tab_token: str | None, *, new_tab: str, take_over: bool
) -> None:
    if session.tab_token is None or tab_token != session.tab_token:
        silent = context.now - (session.tab_seen_ms or 0) > TAB_SILENCE_MS
        if session.tab_token is not None and not silent and not take_over:
            raise Conflict("the study is open in another tab or browser; go on there, or take over", code="other_tab")
        session.tab_token = new_tab
    session.tab_seen_ms = context.now


def _check_may_begin(tx: Tx, design: StudyDesign, session: AnnotatorSession) -> None:
    """Conflict before the check of the screen and the questions about the instructions are passed."""
    if design.screening.required and not _passed(tx.scalar(queries.SCREENING, session=session.id)):
        raise Conflict("this study begins with a check of your screen; open its instructions first", code="screening")
    if design.comprehension is None or session.simulated:
        return
    if not _passed(tx.scalar(queries.COMPREHENSION, session=session.id)):
        raise Conflict("this study begins with questions about its instructions; open them first", code="screening")


def _passed(stored: str | None) -> bool:
    return stored is not None and bool(json.loads(stored)["passed"])


def report_problem(
    tx: Tx,
    context: AssignmentContext,
    *,
    session_key: str,
    assignment_id: int,
    problem: str,
    detail: str | None,
    key: str,
    tab_token: str,
) -> CallOutcome:
    """Take a pair that cannot be judged out of the queue and lease another in its place."""
    session = load_session(tx, key=session_key, study=context.study.id)
    refuse_ended(session)
    known = tx.one(queries.SAME_REPORT, session=session.id, key=key)
    if known is not None:
        (reported_id,) = known
        if reported_id != assignment_id:
            raise key_reused()
        reported = find_assignment(tx, assignment_id=reported_id, session_id=session.id)
        return answer_again(tx, context, session, None if reported is None else reported.successor_id)
    check_tab(session, tab_token)
    assignment = find_assignment(tx, assignment_id=assignment_id, session_id=session.id)
    if assignment is None or assignment.state not in ("leased", "expired"):
        raise Conflict("this pair is not open any more", code="lease_lost")
    tx.run(
        queries.INSERT_REPORT,
        session=session.id,
        assignment=assignment.id,
        problem=problem,
        detail=detail,
        now=context.now,
        key=key,
    )
    if problem == "image_missing" and not session.preview:
        _count_problem(tx, context, session, assignment.pair_id)
    void(tx, session, assignment, state="reported")
    following = lease_next(tx, context, session)
    if isinstance(following, Shown):
        tx.run(
            queries.FINISH_ASSIGNMENT,
            assignment=assignment.id,
            counted=False,
            state="reported",
            successor=following.assignment.id,
        )
    shown = fill_queue(tx, context, session, following)
    session.tab_seen_ms = session.judged_ms = context.now
    state = state_after(context, session, following, after=None)
    if ends_early_instead(tx, context, session, state):
        return CallOutcome(session, state)
    save_session(tx, session, now=context.now)
    return CallOutcome(session, state, shown)


def _count_problem(tx: Tx, context: AssignmentContext, session: AnnotatorSession, pair_id: int) -> None:
    """Take a pair out that several people could not see. The server could read its files before it came here."""
    reports = tx.scalar(queries.REPORTS_OF_SESSION, session=session.id)
    again = tx.scalar(queries.REPORTS_OF_PERSON, annotator=session.annotator_id, pair=pair_id) > 1
    if reports > REPORTS_THAT_COUNT or again:
        return
    people = tx.scalar(queries.COUNT_PROBLEM, pair=pair_id)
    disabled = tx.scalar(queries.DISABLED_PAIRS, study=context.study.id)
    if people >= PEOPLE_TO_DISABLE and disabled + 1 <= max(1, MOST_DISABLED * context.study.task_pairs):
        tx.run(queries.DISABLE_PAIR, pair=pair_id)
        log.warning("pair %d of study %s is taken out: %d people could not see it", pair_id, context.study.slug, people)

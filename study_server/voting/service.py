"""A vote in one transaction: check, write, free or keep the slot, lease the next pair.

Each function is one job of the writer. It may run again after a failed commit, therefore everything it
decides is in the database and a repeated idempotency key finds the first vote.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from qsched.records import Choice, Doubt, Kind
from qsched.records.evidence import CAME_LATE
from study_server.assignment.open_pairs import places_to_hold
from study_server.assignment.policy import Candidate
from study_server.assignment.queries import RENEW_LEASE
from study_server.assignment.records import Assignment, AssignmentContext, NoWork, Shown
from study_server.assignment.service import lease_next
from study_server.assignment.session import SESSION_WIDTH, AnnotatorSession, load_session, save_session
from study_server.assignment.slots import free_slot, take_slot
from study_server.db import Tx
from study_server.errors import BadRequest, Conflict
from study_server.voting import queries
from study_server.voting.boosted import check_triplet_view
from study_server.voting.failed_checks import end_early, has_failed_checks
from study_server.voting.outcome import (
    CallOutcome,
    answer_again,
    check_tab,
    effective_votes,
    fill_queue,
    key_reused,
    refuse_ended,
    state_after,
)
from study_server.voting.ranked import check_ranked, stored_rankings
from study_server.voting.schemas import View

# Between the page's clock and the server's, for one pair.
CLOCK_SLACK_MS = 2_000


class SubmittedVote(NamedTuple):
    """A checked vote, before it is written."""

    session_key: str
    assignment_id: int
    answers: Mapping[str, str]
    response_ms: int
    hidden_ms: int
    painted_ms: int | None
    key: str
    tab_token: str
    display: Mapping[str, str]
    strengths: Mapping[str, int] = MappingProxyType({})
    view: View | None = None
    rankings: Mapping[str, str] = MappingProxyType({})


def submit_vote(tx: Tx, context: AssignmentContext, vote: SubmittedVote) -> CallOutcome:
    """Write the answers and lease the next pair; the same key again gives the same answer and no second row.

    Raises BadRequest for answers that do not fit the questions, Conflict for another tab, a pair that was
    already answered with another key, one that was reported, or a key that belongs to another pair.
    """
    _check_answers(context, vote)
    session, assignment, known_vote_id = _read(tx, context, vote)
    if assignment.places is not None:
        vote = vote._replace(answers={**vote.answers, **stored_rankings(context, assignment.places, vote.rankings)})
    if known_vote_id is not None:
        return _replay(tx, context, session, vote, assignment, vote_id=known_vote_id)
    _check_takes_vote(session, assignment, vote)
    if (fidelity := context.study.design.fidelity) is not None:
        check_triplet_view(context.cache.get(tx, assignment.pair_id), vote.view, largest=fidelity.boost.largest)

    if assignment.state == "leased" and assignment.lease_expires_ms < context.now:
        # Late but not swept yet: the sweep of this very transaction must not free the slot that the vote fills.
        expires = context.now + context.study.lease_ms
        tx.run(RENEW_LEASE, assignment=assignment.id, session=session.id, expires=expires)
    counted, surplus = _hold_slot(tx, context, assignment, vote)
    previous = effective_votes(tx, assignment.id) if assignment.reopened else {}
    following = _lease_following(tx, context, session, assignment)
    shown = fill_queue(tx, context, session, following)
    session.tab_seen_ms = session.judged_ms = context.now
    session.last_assignment_id = assignment.id
    state = state_after(context, session, following, after=assignment)
    vote_id = 0
    if state == "finished":
        # The checks of the session are looked at now, with this vote. Otherwise the vote is sent with what follows it.
        vote_id = _write(tx, context, session, assignment, vote, surplus=surplus, previous=previous)
    failed = has_failed_checks(tx, context, session, besides=0 if state == "finished" else assignment.id)
    if failed:
        session.state = "active"  # this is not a finish: nobody is shown the completion code
    save_session(tx, session, now=context.now)
    tx.later(
        queries.FINISH_ASSIGNMENT,
        assignment=assignment.id,
        counted=counted,
        state="void" if assignment.state == "void" else "voted",
        successor=following.assignment.id if isinstance(following, Shown) else None,
    )
    vote_id = vote_id or _write(tx, context, session, assignment, vote, surplus=surplus, previous=previous)
    if failed:
        end_early(tx, context, session)
        return CallOutcome(session, "finished", (), vote_id)
    return CallOutcome(
        session,
        state,
        shown,
        vote_id,
        undo_id=None if assignment.state == "void" or assignment.kind == Kind.PRACTICE else vote_id,
        voted=Shown(assignment, context.cache.get(tx, assignment.pair_id)),
        answers=vote.answers,
    )


def _read(tx: Tx, context: AssignmentContext, vote: SubmittedVote) -> tuple[AnnotatorSession, Assignment, int | None]:
    """The session and the assignment of the vote, locked, and the vote that is stored under the same idempotency key.

    One statement for the first vote on an open lease, which nearly all are. Everything else is read again, after the
    session's lock and therefore with all that the lock waited for.
    """
    row = tx.one(
        queries.SESSION_AND_LEASE,
        hash=vote.session_key,
        study=context.study.id,
        assignment=vote.assignment_id,
        key=vote.key,
        **places_to_hold(context.study.design),
    )
    if row is not None:
        session = AnnotatorSession.from_row(row[:SESSION_WIDTH])
        refuse_ended(session)
        *columns, held = row[SESSION_WIDTH:]
        session.held = [Candidate(*pair) for pair in held or ()]
        return session, Assignment(*columns), None
    session = load_session(tx, key=vote.session_key, study=context.study.id)
    refuse_ended(session)
    row = tx.one(queries.ASSIGNMENT_AND_KEY, assignment=vote.assignment_id, session=session.id, key=vote.key)
    if row is None:
        raise BadRequest("this pair was not given to this session; reload the page")
    *columns, known_vote_id, known_assignment_id = row
    assignment = Assignment(*columns)
    if known_vote_id is not None and known_assignment_id != assignment.id:
        raise key_reused()
    return session, assignment, known_vote_id


def _check_takes_vote(session: AnnotatorSession, assignment: Assignment, vote: SubmittedVote) -> None:
    """Conflict for a pair that takes no new vote from this page."""
    if assignment.state == "voted" and not assignment.reopened:
        raise Conflict("this pair is answered already; undo it to correct it", code="already_answered")
    if session.status == "closed":
        raise Conflict("this study has closed, so the answer is not taken", code="closed")
    check_tab(session, vote.tab_token)
    if assignment.state == "reported":
        raise Conflict("this pair was reported as not to be judged", code="lease_lost")


def _write(
    tx: Tx,
    context: AssignmentContext,
    session: AnnotatorSession,
    assignment: Assignment,
    vote: SubmittedVote,
    *,
    surplus: str | None,
    previous: Mapping[str, int],
) -> int:
    """Store a row for each question, which supersedes the `previous` answer to it. Returns the first row's id."""
    vote_ids: list[int] = []
    for place, (question, choice) in enumerate(vote.answers.items(), start=1):
        # The last row takes along what is queued: on PostgreSQL a vote is then four statements.
        insert = tx.last if place == len(vote.answers) else tx.scalar
        vote_ids.append(
            insert(
                queries.INSERT_VOTE,
                assignment=assignment.id,
                session=session.id,
                question=question,
                choice=str(choice),
                response_ms=vote.response_ms,
                hidden_ms=vote.hidden_ms,
                painted_ms=vote.painted_ms,
                now=context.now,
                key=vote.key,
                display=vote.display.get(question),
                supersedes=previous.get(question),
                surplus=surplus,
                strength=vote.strengths.get(question),
                doubt=_doubt(context, session, assignment, vote),
            )
        )
    return vote_ids[0]


def _lease_following(
    tx: Tx, context: AssignmentContext, session: AnnotatorSession, assignment: Assignment
) -> Shown | NoWork | None:
    """The next pair, if this vote frees a place in the queue; counts the trial as done."""
    if assignment.state in ("leased", "expired"):
        if assignment.kind == Kind.PRACTICE:
            session.practice_done += 1
        else:
            session.done += 1
        return lease_next(tx, context, session)
    return lease_next(tx, context, session) if session.outstanding == 0 else None


def _check_answers(context: AssignmentContext, vote: SubmittedVote) -> None:
    design = context.study.design
    asked = {question.id for question in design.questions}
    if design.ranking is not None:
        check_ranked(vote.answers, vote.rankings, asked=asked, allow_skip=design.allow_skip)
        return
    if vote.rankings:
        raise BadRequest("this study asks for no rankings; leave `rankings` out")
    if vote.answers.keys() != asked:
        raise BadRequest(f"the answers are to {sorted(vote.answers)}, the questions are {sorted(asked)}")
    for choice in vote.answers.values():
        if (choice is Choice.TIE and not design.allow_tie) or (choice is Choice.SKIP and not design.allow_skip):
            raise BadRequest(f"this study does not allow {choice.value!r}")
    preferred = {question for question, choice in vote.answers.items() if choice in (Choice.LEFT, Choice.RIGHT)}
    wanted = preferred if design.strength else set()
    if vote.strengths.keys() != wanted:
        rule = "left and right need a strength, 1 (slightly) or 2 (clearly), and no other answer has one"
        raise BadRequest(
            f"strengths are given for {sorted(vote.strengths)}, not for {sorted(wanted)}: "
            + (rule if design.strength else "this study asks for no strength; leave `strengths` out")
        )


def _doubt(
    context: AssignmentContext, session: AnnotatorSession, assignment: Assignment, vote: SubmittedVote
) -> str | None:
    """Says so if the page claims to have shown the pair for longer than it was given out.

    Simulated annotators draw their times and do not wait for them.
    """
    if session.simulated:
        return None
    longest = context.now - assignment.served_ms + CLOCK_SLACK_MS
    return Doubt.RESPONSE_MS.value if vote.response_ms + vote.hidden_ms > longest else None


def _hold_slot(
    tx: Tx, context: AssignmentContext, assignment: Assignment, vote: SubmittedVote
) -> tuple[bool, str | None]:
    """Whether the vote holds one of the pair's slots, and why it does not if it should.

    A skip alone is not a valid vote: its slot goes back. A vote without a slot (late, or a skip corrected) takes
    one if the pair still needs it, and is kept as surplus otherwise.
    """
    if assignment.kind != Kind.TASK:
        return False, None
    if all(choice is Choice.SKIP for choice in vote.answers.values()):
        if assignment.counted:
            free_slot(tx, assignment)
        return False, None
    if assignment.counted:
        return True, None
    if assignment.state != "void" and take_slot(tx, context, assignment):
        return True, None
    return False, CAME_LATE


def _replay(
    tx: Tx,
    context: AssignmentContext,
    session: AnnotatorSession,
    vote: SubmittedVote,
    assignment: Assignment,
    *,
    vote_id: int,
) -> CallOutcome:
    """The first answer again."""
    outcome = answer_again(tx, context, session, assignment.successor_id)
    return CallOutcome(
        session,
        outcome.state,
        outcome.shown,
        vote_id,
        undo_id=vote_id if session.last_assignment_id == assignment.id and not assignment.reopened else None,
        voted=Shown(assignment, context.cache.get(tx, assignment.pair_id)),
        answers=vote.answers,
    )

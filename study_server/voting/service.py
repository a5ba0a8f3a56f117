"""A vote in one transaction: check, write, free or keep the slot, lease the next pair.

Each function is one job of the writer. It may run again after a failed commit, therefore everything it
decides stands in the database and a repeated idempotency key finds the first answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from qsched.records import Choice, Kind
from study_server.assignment.queries import ASSIGNMENT, LOCK_SITTING, RENEW_LEASE
from study_server.assignment.records import Assignment, NoWork, Shown, Sitting
from study_server.assignment.service import (
    QUEUE_DEPTH,
    Desk,
    free_slot,
    lease_next,
    load_sitting,
    read_sitting,
    resume,
    revive,
    save_sitting,
    take_slot,
    void,
)
from study_server.db import Tx
from study_server.errors import BadRequest, Conflict
from study_server.voting import queries

# A tab that sent nothing for this long is taken for closed.
TAB_SILENCE_MS = 45_000
PROBLEMS_TO_DISABLE = 2


class Answer(NamedTuple):
    """A checked vote, before it is written."""

    session_id: int
    assignment_id: int
    answers: Mapping[str, Choice]
    response_ms: int
    hidden_ms: int
    painted_ms: int | None
    key: str
    tab_token: str
    display: str | None
    strengths: Mapping[str, int] = MappingProxyType({})


class Outcome(NamedTuple):
    """What an API call leads to: where the sitting stands and what to show."""

    sitting: Sitting
    state: str
    shown: tuple[Shown, ...] = ()
    vote_id: int | None = None
    undo_id: int | None = None
    voted: Shown | None = None
    choice: Choice | None = None


def submit_vote(tx: Tx, desk: Desk, answer: Answer) -> Outcome:
    """Write the answers and lease the next pair; the same key again gives the same answer and no second row.

    Raises BadRequest for answers that do not fit the questions, Conflict for another tab, a pair that was
    already answered with another key, one that was reported, or a key that belongs to another pair.
    """
    _check_answers(desk, answer)
    # All are asked in one round trip; the second and third see what the lock waited for.
    locked = tx.ask(LOCK_SITTING, session=answer.session_id, slug=desk.study.slug)
    asked = tx.ask(ASSIGNMENT, assignment=answer.assignment_id, session=answer.session_id)
    same_key = tx.ask(queries.SAME_KEY, session=answer.session_id, key=answer.key)
    sitting = read_sitting(locked)
    row, known = asked.fetchone(), same_key.fetchone()
    _refuse_screened_out(sitting)
    if row is None:
        raise BadRequest("this pair was not given to this session; reload the page")
    assignment = Assignment(*row)
    if known is not None:
        vote_id, assignment_id = known
        if assignment_id != assignment.id:
            raise _key_reused()
        return _replay(tx, desk, sitting, answer, assignment, vote_id=vote_id)
    if assignment.state == "voted" and not assignment.reopened:
        raise Conflict("this pair is answered already; undo it to correct it", code="already_answered")
    _check_tab(sitting, answer.tab_token)
    if assignment.state == "reported":
        raise Conflict("this pair was reported as not to be judged", code="lease_lost")

    if assignment.state == "leased" and assignment.lease_expires_ms < desk.now:
        # Late but not swept yet: the sweep of this very transaction must not free the slot that the vote fills.
        expires = desk.now + desk.study.lease_ms
        tx.put(RENEW_LEASE, assignment=assignment.id, session=sitting.id, expires=expires)
    counted, surplus = _settle_slot(tx, desk, assignment, answer)
    previous: dict[str, int] = {}
    if assignment.reopened:
        previous = {question: number for number, question, _ in tx.all(queries.EFFECTIVE, assignment=assignment.id)}
    written = []
    for question, choice in answer.answers.items():
        one = tx.ask(
            queries.INSERT_VOTE,
            assignment=assignment.id, session=sitting.id, question=question, choice=choice.value,
            response_ms=answer.response_ms, hidden_ms=answer.hidden_ms, painted_ms=answer.painted_ms, now=desk.now,
            key=answer.key, display=answer.display, supersedes=previous.get(question), surplus=surplus,
            strength=answer.strengths.get(question),
        )  # fmt: skip
        written.append(one)
    following: Shown | NoWork | None = None
    if assignment.state in ("leased", "expired"):
        if assignment.kind == Kind.PRACTICE:
            sitting.practice_done += 1
        else:
            sitting.done += 1
        following = lease_next(tx, desk, sitting)
    elif sitting.outstanding == 0:
        following = lease_next(tx, desk, sitting)
    shown = _filled_up(tx, desk, sitting, following)
    sitting.tab_seen_ms = desk.now
    sitting.last_assignment_id = assignment.id
    state = _state(desk, sitting, following, after=assignment)
    save_sitting(tx, sitting, now=desk.now)
    tx.put(
        queries.FINISH_ASSIGNMENT,
        assignment=assignment.id, counted=counted, state="void" if assignment.state == "void" else "voted",
        successor=following.assignment.id if isinstance(following, Shown) else None,
    )  # fmt: skip
    vote_id = int(written[0].fetchone()[0])
    return Outcome(
        sitting, state, shown, vote_id,
        undo_id=None if assignment.state == "void" or assignment.kind == Kind.PRACTICE else vote_id,
        voted=Shown(assignment, desk.cache.get(tx, assignment.pair_id)),
        choice=next(iter(answer.answers.values())),
    )  # fmt: skip


def open_session(
    tx: Tx, desk: Desk, *, session_id: int, tab_token: str | None, new_tab: str, take_over: bool
) -> Outcome:
    """Where the sitting stands and its queue: what the page had before a reload, filled up to QUEUE_DEPTH.

    Raises Conflict where another tab was heard from in the last TAB_SILENCE_MS, and before a screening that the
    study requires is passed.
    """
    sitting = load_sitting(tx, session_id=session_id, slug=desk.study.slug)
    if sitting.state == "active" and desk.study.design.screening.required:
        _check_screening(tx, sitting)
    if sitting.tab_token is None or tab_token != sitting.tab_token:
        silent = desk.now - (sitting.tab_seen_ms or 0) > TAB_SILENCE_MS
        if sitting.tab_token is not None and not silent and not take_over:
            raise Conflict("the study is open in another tab or browser; go on there, or take over", code="other_tab")
        sitting.tab_token = new_tab
    sitting.tab_seen_ms = desk.now
    if sitting.state == "active" and sitting.status != "open":
        if sitting.status == "paused" and sitting.outstanding == 0 and _has_run_out(desk, sitting):
            sitting.state = "finished"
        save_sitting(tx, sitting, now=desk.now)
        return Outcome(sitting, "finished" if sitting.state == "finished" else sitting.status)
    shown = resume(tx, desk, sitting) if sitting.state == "active" else []
    following: Shown | NoWork | None = None
    while sum(not item.assignment.reopened for item in shown) < QUEUE_DEPTH:
        following = lease_next(tx, desk, sitting)
        if isinstance(following, NoWork):
            break
        shown.append(following)
    state = "task" if shown else _state(desk, sitting, following, after=None)
    undo_id = None
    if sitting.last_assignment_id is not None and not any(item.assignment.reopened for item in shown):
        standing = tx.all(queries.EFFECTIVE, assignment=sitting.last_assignment_id)
        undo_id = standing[0][0] if standing else None
    save_sitting(tx, sitting, now=desk.now)
    return Outcome(sitting, state, tuple(shown), undo_id=undo_id)


def undo_vote(tx: Tx, desk: Desk, *, session_id: int, vote_id: int, tab_token: str | None) -> Outcome:
    """Open the latest vote for correction, until the next is given. Its row stands until a new one supersedes it."""
    sitting = load_sitting(tx, session_id=session_id, slug=desk.study.slug)
    _refuse_screened_out(sitting)
    if tab_token is not None:
        _check_tab(sitting, tab_token)
    row = None
    if sitting.last_assignment_id is not None:
        row = tx.one(ASSIGNMENT, assignment=sitting.last_assignment_id, session=sitting.id)
    if row is None or vote_id not in [number for number, _, _ in tx.all(queries.EFFECTIVE, assignment=row[0])]:
        raise Conflict("only the latest answer can be undone", code="undo_closed")
    assignment = Assignment(*row)
    if assignment.state != "voted" or assignment.kind == Kind.PRACTICE or sitting.status == "closed":
        raise Conflict("this answer can no longer be undone", code="undo_closed")
    tx.run(queries.REOPEN, assignment=assignment.id)
    sitting.state = "active"
    sitting.tab_seen_ms = desk.now
    save_sitting(tx, sitting, now=desk.now)
    reopened = assignment._replace(reopened=True)
    return Outcome(sitting, "task", (Shown(reopened, desk.cache.get(tx, assignment.pair_id)),))


def keep_leases(tx: Tx, desk: Desk, *, session_id: int, assignments: tuple[int, ...], tab_token: str) -> list[int]:
    """Renew the leases of a living page; returns the assignments that were given away."""
    sitting = load_sitting(tx, session_id=session_id, slug=desk.study.slug)
    _refuse_screened_out(sitting)  # what it holds is swept soon
    _check_tab(sitting, tab_token)
    lost = []
    for number in assignments:
        expires = desk.now + desk.study.lease_ms
        if tx.run(RENEW_LEASE, assignment=number, session=sitting.id, expires=expires):
            continue
        row = tx.one(ASSIGNMENT, assignment=number, session=sitting.id)
        assignment = None if row is None else Assignment(*row)
        if assignment is None or assignment.state in ("void", "reported"):
            lost.append(number)
        elif assignment.state == "expired" and not revive(tx, desk, assignment):
            void(tx, sitting, assignment, state="void")
            lost.append(number)
    sitting.tab_seen_ms = desk.now
    save_sitting(tx, sitting, now=desk.now)
    return lost


def report_problem(
    tx: Tx, desk: Desk, *, session_id: int, assignment_id: int, problem: str, detail: str | None, key: str,
    tab_token: str,
) -> Outcome:  # fmt: skip
    """Take a pair that cannot be judged out of the queue and lease another in its place."""
    sitting = load_sitting(tx, session_id=session_id, slug=desk.study.slug)
    _refuse_screened_out(sitting)
    known = tx.one(queries.SAME_REPORT, session=sitting.id, key=key)
    if known is not None:
        if known[0] != assignment_id:
            raise _key_reused()
        row = tx.one(ASSIGNMENT, assignment=known[0], session=sitting.id)
        return _again(tx, desk, sitting, None if row is None else row[10])
    _check_tab(sitting, tab_token)
    row = tx.one(ASSIGNMENT, assignment=assignment_id, session=sitting.id)
    if row is None or row[6] not in ("leased", "expired"):
        raise Conflict("this pair is not open any more", code="lease_lost")
    assignment = Assignment(*row)
    tx.run(
        queries.INSERT_REPORT,
        session=sitting.id, assignment=assignment.id, problem=problem, detail=detail, now=desk.now, key=key,
    )  # fmt: skip
    if problem == "image_missing":
        tx.run(queries.COUNT_PROBLEM, pair=assignment.pair_id, limit=PROBLEMS_TO_DISABLE)
    void(tx, sitting, assignment, state="reported")
    following = lease_next(tx, desk, sitting)
    if isinstance(following, Shown):
        tx.run(
            queries.FINISH_ASSIGNMENT,
            assignment=assignment.id, counted=False, state="reported", successor=following.assignment.id,
        )  # fmt: skip
    shown = _filled_up(tx, desk, sitting, following)
    sitting.tab_seen_ms = desk.now
    state = _state(desk, sitting, following, after=None)
    save_sitting(tx, sitting, now=desk.now)
    return Outcome(sitting, state, shown)


def _filled_up(tx: Tx, desk: Desk, sitting: Sitting, following: Shown | NoWork | None) -> tuple[Shown, ...]:
    """What to show after `following`: nothing more as a rule, since an answer frees one place of the queue.

    Where the queue had shrunk because no pair was free for a moment, it is filled up again, so that the page can
    load the next pair ahead. A repeated post names only the first of them; the page gets the other when it asks.
    """
    shown = []
    while isinstance(following, Shown):
        shown.append(following)
        following = lease_next(tx, desk, sitting) if sitting.outstanding < QUEUE_DEPTH else None
    return tuple(shown)


def _check_answers(desk: Desk, answer: Answer) -> None:
    design = desk.study.design
    asked = {question.id for question in design.questions}
    if answer.answers.keys() != asked:
        raise BadRequest(f"the answers are to {sorted(answer.answers)}, the questions are {sorted(asked)}")
    for choice in answer.answers.values():
        if (choice is Choice.TIE and not design.allow_tie) or (choice is Choice.SKIP and not design.allow_skip):
            raise BadRequest(f"this study takes no {choice.value!r}")
    preferred = {question for question, choice in answer.answers.items() if choice in (Choice.LEFT, Choice.RIGHT)}
    wanted = preferred if design.strength else set()
    if answer.strengths.keys() != wanted:
        rule = "left and right need a strength, 1 (slightly) or 2 (clearly), and no other answer has one"
        raise BadRequest(
            f"strengths are given for {sorted(answer.strengths)}, not for {sorted(wanted)}: "
            + (rule if design.strength else "this study asks for no strength; leave `strengths` out")
        )


def _check_screening(tx: Tx, sitting: Sitting) -> None:
    row = tx.one(queries.SCREENING, session=sitting.id)
    if row is None or row[0] is None or not json.loads(row[0])["passed"]:
        raise Conflict("this study begins with a check of your screen; open its instructions first", code="screening")


def _refuse_screened_out(sitting: Sitting) -> None:
    if sitting.state == "screened_out":
        raise Conflict("this device was found not to fit the study", code="screened_out")


def _check_tab(sitting: Sitting, tab_token: str) -> None:
    if sitting.tab_token != tab_token:
        raise Conflict("the study is open in another tab or browser", code="other_tab")


def _settle_slot(tx: Tx, desk: Desk, assignment: Assignment, answer: Answer) -> tuple[bool, str | None]:
    """Whether the vote holds one of the pair's slots, and why it does not if it should.

    A skip alone is no valid vote: its slot goes back. A vote without a slot (late, or a skip corrected) takes
    one if the pair still needs it, and is kept as surplus otherwise.
    """
    if assignment.kind != Kind.TASK:
        return False, None
    if all(choice is Choice.SKIP for choice in answer.answers.values()):
        if assignment.counted:
            free_slot(tx, assignment)
        return False, None
    if assignment.counted:
        return True, None
    if assignment.state != "void" and take_slot(tx, desk, assignment):
        return True, None
    return False, "lease ran out and the pair had its votes"


def _key_reused() -> Conflict:
    return Conflict(
        "this idempotency key belongs to the answer to another pair; draw a new one for each answer", code="key_reused"
    )


def _replay(tx: Tx, desk: Desk, sitting: Sitting, answer: Answer, assignment: Assignment, *, vote_id: int) -> Outcome:
    """The first answer again."""
    outcome = _again(tx, desk, sitting, assignment.successor_id)
    return Outcome(
        sitting, outcome.state, outcome.shown, vote_id,
        undo_id=vote_id if sitting.last_assignment_id == assignment.id and not assignment.reopened else None,
        voted=Shown(assignment, desk.cache.get(tx, assignment.pair_id)),
        choice=next(iter(answer.answers.values())),
    )  # fmt: skip


def _again(tx: Tx, desk: Desk, sitting: Sitting, successor: int | None) -> Outcome:
    row = None if successor is None else tx.one(ASSIGNMENT, assignment=successor, session=sitting.id)
    shown: tuple[Shown, ...] = ()
    if row is not None and row[6] == "leased":
        following = Assignment(*row)
        shown = (Shown(following, desk.cache.get(tx, following.pair_id)),)
    if sitting.state == "finished":
        state = "finished"
    elif sitting.outstanding:
        state = "task"
    else:
        state = "waiting" if sitting.status == "open" else sitting.status
    return Outcome(sitting, state, shown)


def _state(desk: Desk, sitting: Sitting, following: Shown | NoWork | None, *, after: Assignment | None) -> str:
    """What the page shows next; ends the sitting where nothing is left. Changes `sitting.state`."""
    if sitting.state != "active":
        return "finished"
    if sitting.outstanding > 0 or isinstance(following, Shown):
        block_over = (
            after is not None
            and after.kind != Kind.PRACTICE
            and not after.reopened
            and sitting.done % desk.study.design.block_length == 0
            and sitting.done < sitting.total
        )
        return "break" if block_over else "task"
    if sitting.status == "closed" or (sitting.status == "paused" and not _has_run_out(desk, sitting)):
        return sitting.status
    if isinstance(following, NoWork) and not following.final:
        return "waiting"
    sitting.state = "finished"
    return "finished"


def _has_run_out(desk: Desk, sitting: Sitting) -> bool:
    """Whether nothing would be handed out even if the study went on: the plan is worked off or the time is over."""
    return sitting.position >= len(sitting.plan) or sitting.seconds_left(desk.study.design, desk.now) == 0

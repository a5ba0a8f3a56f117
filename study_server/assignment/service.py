"""Leases: hand out the next pair of a session, bring back what a reloaded page had, free what was abandoned.

A pair's `load` counts its valid votes and live leases and is changed only under the condition that it stays
within the target, in the same transaction as the lease itself: that is the whole of exact redundancy (`slots`).
"""

from __future__ import annotations

import random

from qsched.records import Kind, TripletKind
from study_server.assignment import queries
from study_server.assignment.adaptive import Draw, draw_comparison
from study_server.assignment.open_pairs import ComparisonPairs, Pool, find_open, find_open_comparisons
from study_server.assignment.policy import (
    LETTERS,
    AnnotatorHistory,
    Candidate,
    ChosenPair,
    choose_pair,
    draw_places,
    mirror,
    plan_session,
    remember,
)
from study_server.assignment.records import Assignment, AssignmentContext, NoWork, Shown
from study_server.assignment.session import AnnotatorSession
from study_server.assignment.slots import (
    expire_leases,
    expire_silent_holders,
    free_slot,
    return_to_budget,
    take_from_budget,
    take_slot,
)
from study_server.db import Tx
from study_server.studies.known_answers import on_screen
from study_server.studies.session_length import REPEAT_GAP
from study_server.studies.study import Study

QUEUE_DEPTH = 2
CLAIM_ATTEMPTS = 4
NO_TARGET = 2**31
TrialKind = Kind | TripletKind
# Items with a known answer: no vote on one counts, and each has a pool of its own name.
KNOWN = (Kind.GOLD, TripletKind.TRAP, TripletKind.BIAS)


def new_assignment_id(context: AssignmentContext) -> int:
    """The time in ms and 20 random bits: in order, and known before the database is asked.

    Two alike within a millisecond break the primary key and the job is tried again.
    """
    return context.now << 20 | context.rng.getrandbits(20)


def new_plan(study: Study, rng: random.Random, *, seen: int = 0) -> str:
    """The plan of a new session; `seen` pairs of the study are known to this person already."""
    return plan_session(study.count_trials(seen=seen), rng)


def lease_next(tx: Tx, context: AssignmentContext, session: AnnotatorSession) -> Shown | NoWork:
    """Hand out the session's next trial, or say that there is none (now or ever). Changes `session`."""
    left = session.seconds_left(context.study.design, context.now)
    if session.state != "active" or session.status != "open" or left == 0:
        return NoWork(final=True)
    swept = False
    missing: set[str] = set()
    while session.position < len(session.plan):
        kind = LETTERS[session.plan[session.position]]
        picked = _pick(tx, context, session, kind)
        if isinstance(picked, Assignment):
            return Shown(picked, context.cache.get(tx, picked.pair_id))
        if kind not in (Kind.TASK, Kind.WARMUP):
            # Nothing old enough to repeat yet: another trial first. Otherwise (no gold pair unseen, nothing to repeat
            # at all) the trial is left out, the session is one shorter.
            missing.add(session.plan[session.position])
            later = _later_kind(session, missing) if kind is Kind.REPEAT else None
            if later is not None:
                _swap(session, later)
                continue
            session.plan = session.plan[: session.position] + session.plan[session.position + 1 :]
            continue
        if not swept:
            swept = True
            expire_leases(tx, now=context.now)
            if not picked.final:
                expire_silent_holders(tx, study_id=context.study.id, session_id=session.id, now=context.now)
            continue
        if not picked.final:
            missing.update("TW")
            later = _later_kind(session, missing)
            if later is None:
                return NoWork(final=False)
            _swap(session, later)
            continue
        # Every pair is judged or known to this person: what is left of the plan is its special trials.
        rest = session.plan[session.position :]
        session.plan = session.plan[: session.position] + "".join(c for c in rest if c not in "TW")
    return NoWork(final=True)


def resume(tx: Tx, context: AssignmentContext, session: AnnotatorSession) -> list[Shown]:
    """What the person had before a reload, leases renewed; a pair given away meanwhile is replaced later."""
    expires = context.now + context.study.lease_ms
    shown = []
    for row in tx.all(queries.UNFINISHED, session=session.id):
        assignment = Assignment(*row)
        if assignment.state == "leased":
            tx.run(queries.RENEW_LEASE, assignment=assignment.id, session=session.id, expires=expires)
        elif assignment.state == "expired" and not revive(tx, context, assignment):
            void(tx, session, assignment, state="void")
            continue
        shown.append(Shown(assignment, context.cache.get(tx, assignment.pair_id)))
    return shown


def revive(tx: Tx, context: AssignmentContext, assignment: Assignment) -> bool:
    """Lease an expired assignment again, if its pair still has a free slot."""
    counted = assignment.kind == Kind.TASK
    if counted and not take_slot(tx, context, assignment):
        return False
    tx.run(queries.REVIVE, assignment=assignment.id, expires=context.now + context.study.lease_ms, counted=counted)
    return True


def void(tx: Tx, session: AnnotatorSession, assignment: Assignment, *, state: str) -> None:
    """End an assignment without a vote and plan one more trial of its kind in its place (practice is skipped)."""
    if assignment.counted and assignment.state == "leased":
        free_slot(tx, assignment)
    tx.run(queries.VOID, assignment=assignment.id, state=state)
    letter = session.plan[assignment.position]
    if letter == "P":
        session.practice_done += 1
    else:
        session.voided += 1
        session.plan += letter


def _pick(tx: Tx, context: AssignmentContext, session: AnnotatorSession, kind: TrialKind) -> Assignment | NoWork:
    if kind in (Kind.TASK, Kind.WARMUP):
        return _pick_open(tx, context, session, kind)
    if kind is Kind.PRACTICE:
        number = session.plan[: session.position].count("P")
        row = tx.one(queries.PRACTICE_PAIR, study=context.study.id, number=number)
        candidates = [] if row is None else [Candidate(*row)]
    elif kind in KNOWN:
        candidates = find_open(tx, context, session, Pool(context.study.id, kind.value), target=NO_TARGET)
        context.rng.shuffle(candidates)
        candidates = candidates[:1]
    elif kind is Kind.INSTRUCTED:
        # What it shows does not matter: late in a session it is a pair that was judged before.
        pool = Pool(context.study.id, "task")
        candidates = find_open(tx, context, session, pool, target=NO_TARGET) or _judged(tx, session)
    else:
        candidates = _judged(tx, session)
    person = AnnotatorHistory(session.recent, session.left_balance)
    evened = [candidate._replace(load=0, side_balance=0) for candidate in candidates]
    choice = choose_pair(evened, person, context.rng)
    if choice is not None and kind is Kind.REPEAT and context.study.design.mirror_repeats:
        choice = mirror(choice, candidates)
    return NoWork(final=True) if choice is None else _insert(tx, context, session, kind, choice)


def _pick_open(tx: Tx, context: AssignmentContext, session: AnnotatorSession, kind: TrialKind) -> Assignment | NoWork:
    """A pair with a free slot, within the study's total. A warm-up trial shows one without taking the slot."""
    budgeted = kind is Kind.TASK and context.study.design.votes_total is not None
    if budgeted and not take_from_budget(tx, context.study.id):
        left = tx.scalar(queries.BUDGET_LEFT, study=context.study.id)
        held = left or tx.one(queries.LEASED_BY_OTHERS, study=context.study.id, annotator=session.annotator_id)
        return NoWork(final=not held)
    picked = _pick_slot(tx, context, session, kind)
    if budgeted and isinstance(picked, NoWork):
        return_to_budget(tx, study_id=context.study.id)
    return picked


def _pick_slot(tx: Tx, context: AssignmentContext, session: AnnotatorSession, kind: TrialKind) -> Assignment | NoWork:
    """The fewest-voted open pair: of all, or in an adaptive study of the comparison that was drawn."""
    target, adaptivity = context.study.design.votes_per_pair, context.study.design.adaptivity
    person = AnnotatorHistory(session.recent, session.left_balance)
    locked, session.held = session.held, []
    if kind is Kind.TASK and (choice := choose_pair(locked, person, context.rng)) is not None:
        context.cache.get(tx, choice.pair_id)  # read now, it would send what is queued
        tx.later(queries.CLAIM_HELD, pair=choice.pair_id, side=1 if choice.first_on_left else -1)
        return _insert(tx, context, session, kind, choice)
    contended = False
    draw: Draw | None = None
    for _ in range(CLAIM_ATTEMPTS):
        if adaptivity is None:
            candidates = _find_task(tx, context, session)
        else:
            # The draw is kept while its comparison is open: drawing again after a lost race would make the
            # stored probability wrong for comparisons that are much in demand.
            draw = draw or _draw(tx, context, session, floor=adaptivity.floor)
            candidates = (
                find_open(tx, context, session, ComparisonPairs(draw.comparison_id), target=target) if draw else []
            )
        if draw and not candidates:
            draw, contended = None, True
            continue
        while candidates:
            choice = choose_pair(candidates, person, context.rng)
            if choice is None:
                break
            chosen = next(candidate for candidate in candidates if candidate.pair_id == choice.pair_id)
            if kind is Kind.WARMUP or _claim(tx, chosen, choice):
                return _insert(tx, context, session, kind, choice, draw)
            contended = True
            candidates = [candidate for candidate in candidates if candidate is not chosen]
        if not contended:
            break
    if contended:
        return NoWork(final=False)
    least = min((group.votes for group in context.study.groups), default=target)
    held = tx.one(queries.HELD_BY_OTHERS, study=context.study.id, target=least, annotator=session.annotator_id)
    return NoWork(final=held is None)


def _find_task(tx: Tx, context: AssignmentContext, session: AnnotatorSession) -> list[Candidate]:
    """Open pairs of the whole task; where triplets have numbers of their own, of a group drawn in proportion to its
    votes, so that everybody sees the same mixture from the first to the last session."""
    study = context.study
    if not study.groups:
        return find_open(tx, context, session, Pool(study.id, "task"), target=study.design.votes_per_pair)
    left = list(study.groups)
    while left:
        (group,) = context.rng.choices(left, weights=[one.pairs * one.votes for one in left])
        if found := find_open(tx, context, session, ComparisonPairs(group.id), target=group.votes):
            return found
        left.remove(group)
    return []


def _draw(tx: Tx, context: AssignmentContext, session: AnnotatorSession, *, floor: float) -> Draw | None:
    """A comparison that has an open pair for this person, of another prompt than the recent ones if there is any."""
    opened = find_open_comparisons(tx, context, session)
    return draw_comparison(opened, context.shares, floor=floor, rng=context.rng)


def _judged(tx: Tx, session: AnnotatorSession) -> list[Candidate]:
    """Pairs that this session judged long enough ago to show again."""
    rows = tx.all(queries.REPEATABLE, session=session.id, latest=session.position - REPEAT_GAP)
    return [Candidate(pair, prompt, 0, 1 if first_on_left else -1) for pair, prompt, first_on_left in rows]


def _claim(tx: Tx, seen: Candidate, choice: ChosenPair) -> bool:
    side = 1 if choice.first_on_left else -1
    claimed = tx.one(queries.CLAIM_PAIR, pair=seen.pair_id, load=seen.load, balance=seen.side_balance, side=side)
    return claimed is not None


def _insert(
    tx: Tx,
    context: AssignmentContext,
    session: AnnotatorSession,
    kind: TrialKind,
    choice: ChosenPair,
    draw: Draw | None = None,
) -> Assignment:
    expires = context.now + context.study.lease_ms
    expected = places = None
    if context.study.design.ranking is not None:
        count = len(context.cache.get(tx, choice.pair_id).pictures)
        places = draw_places(count, first_on_left=choice.first_on_left, rng=context.rng)
    if kind in KNOWN or kind is Kind.PRACTICE:
        better = context.cache.get(tx, choice.pair_id).better
        expected = None if better is None else on_screen(better, first_on_left=choice.first_on_left)
    elif kind is Kind.INSTRUCTED:
        expected = context.rng.choice(("left", "right"))
    counted = kind is Kind.TASK
    number = new_assignment_id(context)
    tx.later(
        queries.INSERT_ASSIGNMENT,
        id=number,
        session=session.id,
        annotator=session.annotator_id,
        pair=choice.pair_id,
        kind=kind.value,
        position=session.position,
        first_on_left=choice.first_on_left,
        expected=expected,
        counted=counted,
        now=context.now,
        expires=expires,
        probability=None if draw is None else draw.probability,
        places=places,
    )
    assignment = Assignment(
        number,
        choice.pair_id,
        kind.value,
        session.position,
        choice.first_on_left,
        expected,
        "leased",
        counted,
        False,
        expires,
        None,
        context.now,
        places,
    )
    session.position += 1
    if kind is not Kind.PRACTICE:
        session.left_balance += assignment.side
        session.recent = remember(session.recent, choice.prompt_id, gap=context.study.design.prompt_gap)
    return assignment


def _later_kind(session: AnnotatorSession, missing: set[str]) -> int | None:
    """The next place whose kind is not among the `missing` ones."""
    for place in range(session.position + 1, len(session.plan)):
        if session.plan[place] not in missing:
            return place
    return None


def _swap(session: AnnotatorSession, place: int) -> None:
    letters = list(session.plan)
    letters[session.position], letters[place] = letters[place], letters[session.position]
    session.plan = "".join(letters)

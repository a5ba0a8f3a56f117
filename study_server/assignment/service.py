"""Leases: hand out the next pair of a sitting, bring back what a reloaded page had, free what was abandoned.

A pair's `load` counts its valid votes and live leases and is changed only under the condition that it stays
within the target, in the same transaction as the lease itself: that is the whole of exact redundancy (`slots`).
"""

from __future__ import annotations

import random

from qsched.records import Kind
from study_server.assignment import queries
from study_server.assignment.adaptive import Draw, draw_comparison
from study_server.assignment.policy import (
    LETTERS,
    REPEAT_GAP,
    Candidate,
    Choice,
    Person,
    PlanCounts,
    choose_pair,
    draw_side,
    plan_session,
    remember,
)
from study_server.assignment.records import Assignment, Desk, NoWork, PairCache, Shown, Sitting, Study
from study_server.assignment.slots import expire_leases, free_slot, return_to_budget, take_from_budget, take_slot
from study_server.db import Tx
from study_server.db.statements import Cursor
from study_server.errors import NotSignedIn
from study_server.studies.design import MAX_PROMPT_GAP

QUEUE_DEPTH = 2
WINDOW = 8
CLAIM_ATTEMPTS = 4
NO_TARGET = 2**31


def load_sitting(tx: Tx, *, session_id: int, slug: str) -> Sitting:
    """Lock and read a session; NotSignedIn where it does not exist (any more)."""
    return read_sitting(tx.ask(queries.LOCK_SITTING, session=session_id, slug=slug))


def read_sitting(asked: Cursor) -> Sitting:
    """The session that LOCK_SITTING was asked for."""
    row = asked.fetchone()
    if row is None:
        raise NotSignedIn("this session is unknown or over; open the study's link again")
    return Sitting.from_row(row)


def new_assignment_id(desk: Desk) -> int:
    """The time in ms and 20 random bits: in order, and known before the database is asked.

    Two alike within a millisecond break the primary key and the job is tried again.
    """
    return desk.now << 20 | desk.rng.getrandbits(20)


def save_sitting(tx: Tx, sitting: Sitting, *, now: int) -> None:
    """Write a sitting back."""
    tx.put(
        queries.SAVE_SITTING,
        session=sitting.id, state=sitting.state, plan=sitting.plan, position=sitting.position, done=sitting.done,
        practice_done=sitting.practice_done, voided=sitting.voided, left_balance=sitting.left_balance,
        recent=",".join(map(str, sitting.recent)), last_assignment_id=sitting.last_assignment_id,
        tab_token=sitting.tab_token, tab_seen_ms=sitting.tab_seen_ms, now=now,
    )  # fmt: skip


def new_plan(study: Study, rng: random.Random, *, seen: int = 0) -> str:
    """The plan of a new sitting; `seen` pairs of the study are known to this person already."""
    design = study.design
    available = max(0, study.task_pairs - seen)
    warmup = min(design.warmup, max(0, available - 1))
    task = available - warmup
    if design.pairs_per_annotator is not None:
        task = min(task, design.pairs_per_annotator)
    repeats = round(design.repeat_rate * task) if task > REPEAT_GAP else 0
    counts = PlanCounts(
        practice=study.practice_pairs, warmup=warmup, task=task, gold=min(design.gold_shown, study.gold_pairs),
        instructed=design.instructed if task else 0, repeats=repeats,
    )  # fmt: skip
    return plan_session(counts, rng)


def lease_next(tx: Tx, desk: Desk, sitting: Sitting) -> Shown | NoWork:
    """Hand out the sitting's next trial, or say that there is none (now or ever). Changes `sitting`."""
    left = sitting.seconds_left(desk.study.design, desk.now)
    if sitting.state != "active" or sitting.status != "open" or left == 0:
        return NoWork(final=True)
    swept = False
    missing: set[str] = set()
    while sitting.position < len(sitting.plan):
        kind = LETTERS[sitting.plan[sitting.position]]
        picked = _pick(tx, desk, sitting, kind)
        if isinstance(picked, Assignment):
            return Shown(picked, desk.cache.get(tx, picked.pair_id))
        if kind not in (Kind.TASK, Kind.WARMUP):
            # Nothing old enough to repeat yet: another trial first. Otherwise (no gold pair unseen, nothing to repeat
            # at all) the trial is left out, the sitting is one shorter.
            missing.add(sitting.plan[sitting.position])
            later = _later_kind(sitting, missing) if kind is Kind.REPEAT else None
            if later is not None:
                _swap(sitting, later)
                continue
            sitting.plan = sitting.plan[: sitting.position] + sitting.plan[sitting.position + 1 :]
            continue
        if not swept:
            swept = True
            expire_leases(tx, now=desk.now)
            continue
        if not picked.final:
            missing.update("TW")
            later = _later_kind(sitting, missing)
            if later is None:
                return NoWork(final=False)
            _swap(sitting, later)
            continue
        # Every pair is judged or known to this person: what is left of the plan is its special trials.
        rest = sitting.plan[sitting.position :]
        sitting.plan = sitting.plan[: sitting.position] + "".join(c for c in rest if c not in "TW")
    return NoWork(final=True)


def resume(tx: Tx, desk: Desk, sitting: Sitting) -> list[Shown]:
    """What the person had before a reload, leases renewed; a pair given away meanwhile is replaced later."""
    expires = desk.now + desk.study.lease_ms
    shown = []
    for row in tx.all(queries.UNFINISHED, session=sitting.id):
        assignment = Assignment(*row)
        if assignment.state == "leased":
            tx.run(queries.RENEW_LEASE, assignment=assignment.id, session=sitting.id, expires=expires)
        elif assignment.state == "expired" and not revive(tx, desk, assignment):
            void(tx, sitting, assignment, state="void")
            continue
        shown.append(Shown(assignment, desk.cache.get(tx, assignment.pair_id)))
    return shown


def revive(tx: Tx, desk: Desk, assignment: Assignment) -> bool:
    """Lease an expired assignment again, if its pair still has a free slot."""
    counted = assignment.kind == Kind.TASK
    if counted and not take_slot(tx, desk, assignment):
        return False
    tx.run(queries.REVIVE, assignment=assignment.id, expires=desk.now + desk.study.lease_ms, counted=counted)
    return True


def void(tx: Tx, sitting: Sitting, assignment: Assignment, *, state: str) -> None:
    """End an assignment without a vote and plan one more trial of its kind in its place (practice is skipped)."""
    if assignment.counted and assignment.state == "leased":
        free_slot(tx, assignment)
    tx.run(queries.VOID, assignment=assignment.id, state=state)
    letter = sitting.plan[assignment.position]
    if letter == "P":
        sitting.practice_done += 1
    else:
        sitting.voided += 1
        sitting.plan += letter


def _pick(tx: Tx, desk: Desk, sitting: Sitting, kind: Kind) -> Assignment | NoWork:
    if kind in (Kind.TASK, Kind.WARMUP):
        return _pick_open(tx, desk, sitting, kind)
    if kind is Kind.PRACTICE:
        number = sitting.plan[: sitting.position].count("P")
        row = tx.one(queries.PRACTICE_PAIR, study=desk.study.id, number=number)
        candidates = [] if row is None else [Candidate(*row)]
    elif kind is Kind.GOLD:
        candidates = _window(tx, desk, sitting, pool="gold", target=NO_TARGET)
        desk.rng.shuffle(candidates)
        candidates = candidates[:1]
    elif kind is Kind.INSTRUCTED:
        # What it shows does not matter: late in a sitting it is a pair that was judged before.
        candidates = _window(tx, desk, sitting, pool="task", target=NO_TARGET) or _judged(tx, sitting)
    else:
        candidates = _judged(tx, sitting)
    person = Person(sitting.recent, sitting.left_balance)
    evened = [candidate._replace(load=0, side_balance=0) for candidate in candidates]
    choice = choose_pair(evened, person, desk.rng)
    return NoWork(final=True) if choice is None else _insert(tx, desk, sitting, kind, choice)


def _pick_open(tx: Tx, desk: Desk, sitting: Sitting, kind: Kind) -> Assignment | NoWork:
    """A pair with a free slot, within the study's total. A warm-up trial shows one without taking the slot."""
    budgeted = kind is Kind.TASK and desk.study.design.votes_total is not None
    if budgeted and not take_from_budget(tx, desk.study.id):
        left = tx.scalar(queries.BUDGET_LEFT, study=desk.study.id)
        held = left or tx.one(queries.LEASED_BY_OTHERS, study=desk.study.id, annotator=sitting.annotator_id)
        return NoWork(final=not held)
    picked = _pick_slot(tx, desk, sitting, kind)
    if budgeted and isinstance(picked, NoWork):
        return_to_budget(tx, study_id=desk.study.id)
    return picked


def _pick_slot(tx: Tx, desk: Desk, sitting: Sitting, kind: Kind) -> Assignment | NoWork:
    """The fewest-voted open pair: of all, or in an adaptive study of the comparison that was drawn."""
    target, adaptivity = desk.study.design.votes_per_pair, desk.study.design.adaptivity
    person = Person(sitting.recent, sitting.left_balance)
    contended = False
    draw: Draw | None = None
    for _ in range(CLAIM_ATTEMPTS):
        if adaptivity is None:
            candidates = _window(tx, desk, sitting, pool="task", target=target)
        else:
            # The draw stands while its comparison is open: drawing again after a lost race would make the
            # stored probability wrong for comparisons that are much in demand.
            draw = draw or _draw(tx, desk, sitting, floor=adaptivity.floor)
            candidates = _window_of(tx, desk, sitting, draw) if draw else []
        if draw and not candidates:
            draw, contended = None, True
            continue
        while candidates:
            choice = choose_pair(candidates, person, desk.rng)
            if choice is None:
                break
            chosen = next(candidate for candidate in candidates if candidate.pair_id == choice.pair_id)
            if kind is Kind.WARMUP or _claim(tx, chosen, choice):
                return _insert(tx, desk, sitting, kind, choice, draw)
            contended = True
            candidates = [candidate for candidate in candidates if candidate is not chosen]
        if not contended:
            break
    if contended:
        return NoWork(final=False)
    held = tx.one(queries.HELD_BY_OTHERS, study=desk.study.id, target=target, annotator=sitting.annotator_id)
    return NoWork(final=held is None)


def _draw(tx: Tx, desk: Desk, sitting: Sitting, *, floor: float) -> Draw | None:
    """A comparison that has an open pair for this person, of another prompt than the recent ones if there is any."""
    for excluded in _exclusions(sitting):
        rows = tx.all(
            queries.OPEN_COMPARISONS,
            study=desk.study.id, target=desk.study.design.votes_per_pair, annotator=sitting.annotator_id, **excluded,
        )  # fmt: skip
        if rows:
            return draw_comparison([number for (number,) in rows], desk.shares, floor=floor, rng=desk.rng)
    return None


def _window_of(tx: Tx, desk: Desk, sitting: Sitting, draw: Draw) -> list[Candidate]:
    """As `_window`, within one comparison."""
    for excluded in _exclusions(sitting):
        rows = tx.all(
            queries.OPEN_PAIRS_OF,
            comparison=draw.comparison_id, target=desk.study.design.votes_per_pair, annotator=sitting.annotator_id,
            window=WINDOW, **excluded,
        )  # fmt: skip
        if rows:
            return [Candidate(*row) for row in rows]
    return []


def _exclusions(sitting: Sitting) -> list[dict[str, int]]:
    """Prompts not to show: the recent ones; then none, for where nothing else is open."""
    nothing = {f"r{i}": -1 for i in range(MAX_PROMPT_GAP)}
    recent = nothing | {f"r{i}": prompt for i, prompt in enumerate(sitting.recent)}
    return [recent, nothing] if sitting.recent else [nothing]


def _window(tx: Tx, desk: Desk, sitting: Sitting, *, pool: str, target: int) -> list[Candidate]:
    """The open pairs that come first; those of recent prompts only if there is no other."""
    for excluded in _exclusions(sitting):
        rows = tx.all(
            queries.OPEN_PAIRS,
            study=desk.study.id, pool=pool, target=target, annotator=sitting.annotator_id, window=WINDOW, **excluded,
        )  # fmt: skip
        if rows:
            return [Candidate(*row) for row in rows]
    return []


def _judged(tx: Tx, sitting: Sitting) -> list[Candidate]:
    """Pairs that this sitting judged long enough ago to show again."""
    rows = tx.all(queries.REPEATABLE, session=sitting.id, latest=sitting.position - REPEAT_GAP)
    return [Candidate(pair, prompt, 0, 0) for pair, prompt in rows]


def _claim(tx: Tx, seen: Candidate, choice: Choice) -> bool:
    side = 1 if choice.first_on_left else -1
    claimed = tx.one(queries.CLAIM_PAIR, pair=seen.pair_id, load=seen.load, balance=seen.side_balance, side=side)
    return claimed is not None


def _insert(tx: Tx, desk: Desk, sitting: Sitting, kind: Kind, choice: Choice, draw: Draw | None = None) -> Assignment:
    expires = desk.now + desk.study.lease_ms
    expected = None
    if kind in (Kind.GOLD, Kind.PRACTICE):
        better = desk.cache.get(tx, choice.pair_id).better
        expected = "left" if (better == "first") == choice.first_on_left else "right"
    elif kind is Kind.INSTRUCTED:
        expected = desk.rng.choice(("left", "right"))
    counted = kind is Kind.TASK
    number = new_assignment_id(desk)
    tx.put(
        queries.INSERT_ASSIGNMENT,
        id=number, session=sitting.id, annotator=sitting.annotator_id, pair=choice.pair_id, kind=kind.value,
        position=sitting.position, first_on_left=choice.first_on_left, expected=expected, counted=counted,
        now=desk.now, expires=expires, probability=None if draw is None else draw.probability,
    )  # fmt: skip
    assignment = Assignment(
        number, choice.pair_id, kind.value, sitting.position, choice.first_on_left, expected, "leased", counted,
        False, expires, None,
    )  # fmt: skip
    sitting.position += 1
    if kind is not Kind.PRACTICE:
        sitting.left_balance += assignment.side
        sitting.recent = remember(sitting.recent, choice.prompt_id, gap=desk.study.design.prompt_gap)
    return assignment


def _later_kind(sitting: Sitting, missing: set[str]) -> int | None:
    """The next place whose kind is not among the `missing` ones."""
    for place in range(sitting.position + 1, len(sitting.plan)):
        if sitting.plan[place] not in missing:
            return place
    return None


def _swap(sitting: Sitting, place: int) -> None:
    letters = list(sitting.plan)
    letters[sitting.position], letters[place] = letters[place], letters[sitting.position]
    sitting.plan = "".join(letters)


__all__ = [
    "QUEUE_DEPTH", "Desk", "PairCache", "draw_side", "expire_leases", "free_slot", "lease_next", "load_sitting",
    "new_plan", "read_sitting", "resume", "revive", "save_sitting", "take_slot", "void",
]  # fmt: skip

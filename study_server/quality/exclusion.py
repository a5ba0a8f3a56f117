"""Exclude a person: their votes stay in the database, count nowhere, and their slots go to others; and the way back.

Both directions are one transaction. The sessions of the person are locked first, as a vote does it, so that no vote
comes in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from qsched.records.evidence import CAME_BACK_LATE
from study_server.assignment.queries import ASSIGNMENT_COLUMNS
from study_server.assignment.records import Assignment, AssignmentContext
from study_server.assignment.slots import free_slot, take_slot
from study_server.db import Statement, Tx
from study_server.errors import BadRequest, Conflict, NotFound
from study_server.studies.actions import record_action

MAX_REASON = 500

PERSON = Statement("""
    SELECT id, pseudonym, excluded_ms FROM annotators WHERE study_id = :study AND pseudonym = :who
    UNION
    SELECT a.id, a.pseudonym, a.excluded_ms FROM annotators a JOIN sessions s ON s.annotator_id = a.id
    WHERE a.study_id = :study AND (s.pseudonym = :who OR s.withdraw_code = :code)
    UNION
    SELECT a.id, a.pseudonym, a.excluded_ms FROM annotators a JOIN platform_identities i ON i.annotator_id = a.id
    WHERE a.study_id = :study AND i.external_id = :platform_id
""")
LOCK_SESSIONS = Statement("""
    SELECT id FROM sessions WHERE annotator_id = :annotator ORDER BY id [[sqlite: | postgresql: FOR UPDATE]]
""")
HOLDS_SLOT = Statement(f"""
    SELECT {ASSIGNMENT_COLUMNS} FROM assignments a JOIN sessions s ON s.id = a.session_id
    WHERE s.annotator_id = :annotator AND a.counted ORDER BY a.pair_id [[sqlite: | postgresql: FOR UPDATE OF a]]
""")
UNCOUNT = Statement("""
    UPDATE assignments SET counted = FALSE, state = CASE WHEN state = 'leased' THEN 'expired' ELSE state END
    WHERE session_id IN (SELECT id FROM sessions WHERE annotator_id = :annotator) AND (counted OR state = 'leased')
""")
END_SESSIONS = Statement("""
    UPDATE sessions SET state = 'excluded' WHERE annotator_id = :annotator AND state IN ('active', 'finished')
""")
REOPEN_SESSIONS = Statement("""
    UPDATE sessions SET state = CASE WHEN finished_ms IS NULL THEN 'active' ELSE 'finished' END
    WHERE annotator_id = :annotator AND state = 'excluded'
""")
MARK = Statement("UPDATE annotators SET excluded_ms = :at, excluded_reason = :reason WHERE id = :annotator")
# What would count if it had a slot: a task pair with a valid answer that is not surplus for another reason.
UNCOUNTED = Statement(f"""
    SELECT {ASSIGNMENT_COLUMNS} FROM assignments a JOIN sessions s ON s.id = a.session_id
    WHERE s.annotator_id = :annotator AND a.kind = 'task' AND a.state = 'voted' AND NOT a.counted
      AND EXISTS (SELECT 1 FROM votes v WHERE v.assignment_id = a.id AND v.choice <> 'skip'
                  AND (v.surplus_reason IS NULL OR v.surplus_reason = :late)
                  AND NOT EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id))
    ORDER BY a.pair_id [[sqlite: | postgresql: FOR UPDATE OF a]]
""")
COUNT_AGAIN = Statement("UPDATE assignments SET counted = TRUE WHERE id = :assignment")
SET_SURPLUS = Statement("""
    UPDATE votes SET surplus_reason = CAST(:reason AS TEXT)
    WHERE assignment_id = :assignment AND (surplus_reason IS NULL OR surplus_reason = :late)
""")


@dataclass(frozen=True, slots=True)
class StudyAnnotator:
    """An annotator of a study, and whether they are excluded."""

    id: int
    pseudonym: str
    excluded: bool


@dataclass(frozen=True, slots=True)
class Exclusion:
    """What an exclusion or its end did: slots that were opened or taken, and votes that came back too late for one."""

    pseudonym: str
    slots: int
    late: int = 0


def find_person(tx: Tx, *, study_id: int, who: str = "", platform_id: str | None = None) -> StudyAnnotator:
    """By pseudonym (of the person or a session), withdrawal code or platform id; NotFound for nobody."""
    row = tx.one(PERSON, study=study_id, who=who, code=who.upper(), platform_id=platform_id)
    if row is None:
        named = f"platform id {platform_id!r}" if platform_id is not None else repr(who)
        raise NotFound(f"no annotator of this study is known by {named}; `qsched study people` lists them")
    return StudyAnnotator(int(row[0]), row[1], row[2] is not None)


def exclude(tx: Tx, context: AssignmentContext, *, pseudonym: str, reason: str, by: str) -> Exclusion:
    """Leave a person's votes out, open their slots and end their sessions; Conflict if they are excluded already."""
    person = find_person(tx, study_id=context.study.id, who=pseudonym)
    reason = reason.strip()
    if not 1 <= len(reason) <= MAX_REASON:
        raise BadRequest(f"an exclusion needs a reason of 1 to {MAX_REASON} characters; the study card reports it")
    tx.all(LOCK_SESSIONS, annotator=person.id)
    if person.excluded:
        raise Conflict(f"{person.pseudonym} is excluded already")
    held = [Assignment(*row) for row in tx.all(HOLDS_SLOT, annotator=person.id)]
    for assignment in held:
        free_slot(tx, assignment)
    tx.run(UNCOUNT, annotator=person.id)
    tx.run(END_SESSIONS, annotator=person.id)
    tx.run(MARK, annotator=person.id, at=context.now, reason=reason)
    record_action(tx, "excluded", actor=by, study=context.study.slug, detail=f"{person.pseudonym}: {reason}")
    return Exclusion(person.pseudonym, len(held))


def include(tx: Tx, context: AssignmentContext, *, pseudonym: str, reason: str, by: str) -> Exclusion:
    """Let a person's votes count again wherever their pairs still need one; the others are kept as surplus.

    Sessions that had not finished go on. Conflict if the person is not excluded.
    """
    person = find_person(tx, study_id=context.study.id, who=pseudonym)
    tx.all(LOCK_SESSIONS, annotator=person.id)
    if not person.excluded:
        raise Conflict(f"{person.pseudonym} is not excluded")
    taken = late = 0
    for row in tx.all(UNCOUNTED, annotator=person.id, late=CAME_BACK_LATE):
        assignment = Assignment(*row)
        counts = take_slot(tx, context, assignment)
        if counts:
            tx.run(COUNT_AGAIN, assignment=assignment.id)
        surplus = None if counts else CAME_BACK_LATE
        tx.run(SET_SURPLUS, assignment=assignment.id, reason=surplus, late=CAME_BACK_LATE)
        taken, late = taken + counts, late + (not counts)
    tx.run(REOPEN_SESSIONS, annotator=person.id)
    tx.run(MARK, annotator=person.id, at=None, reason=None)
    detail = f"{person.pseudonym}: {reason.strip() or 'no reason given'}"
    record_action(tx, "included again", actor=by, study=context.study.slug, detail=detail)
    return Exclusion(person.pseudonym, taken, late)

"""Delete personal data: one person's on request, with the votes unless the consent text lets these stay; or, after a
retention period, everybody's but the votes.
"""

from __future__ import annotations

from dataclasses import dataclass

from study_server.assignment.records import Assignment, AssignmentContext
from study_server.assignment.slots import free_slot
from study_server.db import Statement, Tx
from study_server.quality.exclusion import HOLDS_SLOT, LOCK_SESSIONS, find_person
from study_server.quality.revoking import remember_withdrawn
from study_server.studies.actions import record_action

DAY_MS = 24 * 3_600_000
COUNT_VOTES = Statement("""
    SELECT COUNT(*) FROM votes v JOIN sessions s ON s.id = v.session_id WHERE s.annotator_id = :annotator
""")
DELETE_PERSON = Statement("DELETE FROM annotators WHERE id = :annotator")
DELETE_IDENTITIES = Statement("DELETE FROM platform_identities WHERE annotator_id = :annotator")
DELETE_SUBMISSIONS = Statement("DELETE FROM platform_sessions WHERE annotator_id = :annotator")
# The cookie, the code and the answers about the person go, and nothing can be added any more.
STRIP_SESSIONS = Statement("""
    UPDATE sessions SET token_hash = NULL, tab_token = NULL, withdraw_code = NULL, screening = NULL,
                        comprehension = NULL, demographics = NULL,
                        state = CASE WHEN state = 'active' THEN 'finished' ELSE state END
    WHERE annotator_id = :annotator
""")
STRIP_VOTES = Statement("""
    UPDATE votes SET display = NULL WHERE session_id IN (SELECT id FROM sessions WHERE annotator_id = :annotator)
""")
STRIP_REPORTS = Statement("""
    UPDATE reports SET detail = NULL WHERE session_id IN (SELECT id FROM sessions WHERE annotator_id = :annotator)
""")


# The same for everybody whose participation began before a time.
OLD = "SELECT id FROM sessions WHERE study_id = :study AND started_ms < :before"
RECENT_PEOPLE = "SELECT annotator_id FROM sessions WHERE study_id = :study AND started_ms >= :before"
COUNT_OLD = Statement(f"""
    SELECT COUNT(*) FROM sessions s WHERE s.id IN ({OLD})
      AND (s.token_hash IS NOT NULL OR s.withdraw_code IS NOT NULL OR s.screening IS NOT NULL
           OR s.demographics IS NOT NULL
           OR EXISTS (SELECT 1 FROM platform_sessions p WHERE p.session_id = s.id))
""")
CLEAN_OLD = (
    Statement(f"""
        DELETE FROM platform_identities WHERE study_id = :study AND annotator_id NOT IN ({RECENT_PEOPLE})
    """),
    Statement(f"DELETE FROM platform_sessions WHERE session_id IN ({OLD})"),
    Statement(f"UPDATE reports SET detail = NULL WHERE detail IS NOT NULL AND session_id IN ({OLD})"),
    Statement(f"""
        UPDATE sessions SET token_hash = NULL, tab_token = NULL, withdraw_code = NULL, screening = NULL,
                            comprehension = NULL, demographics = NULL,
                        state = CASE WHEN state = 'active' THEN 'finished' ELSE state END
        WHERE id IN ({OLD})
    """),
)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was deleted: vote rows, and slots that others fill now; `kept` are votes that the consent lets stay."""

    votes: int
    slots: int
    kept: int


def clean_up(tx: Tx, context: AssignmentContext, *, days: int, by: str) -> int:
    """Delete what could lead to people who began more than `days` days ago; returns how many sessions had any of it.

    Platform ids, answers about the person, the device, words of reports, cookies and withdrawal codes go; votes and how
    they looked on the screen stay under pseudonyms. Nobody of them can come back to their place, and a person who comes
    by a platform again is a new one.
    """
    values = {"study": context.study.id, "before": context.now - days * DAY_MS}
    sessions = int(tx.scalar(COUNT_OLD, **values))
    for statement in CLEAN_OLD:
        tx.run(statement, **values)
    if sessions:
        record_action(
            tx,
            "old personal data deleted",
            actor=by,
            study=context.study.slug,
            detail=f"{sessions} sessions of more than {days} days ago",
        )
    return sessions


def forget(tx: Tx, context: AssignmentContext, *, by: str, who: str = "", platform_id: str | None = None) -> Forgotten:
    """Delete the data of a person known by pseudonym, withdrawal code or platform id; NotFound for nobody.

    If the study's `consent.after_withdrawal` is `keep_votes`, the votes stay under the pseudonym, and whatever could
    lead to the person goes. The log holds the counts only.
    """
    person = find_person(tx, study_id=context.study.id, who=who, platform_id=platform_id)
    tx.all(LOCK_SESSIONS, annotator=person.id)
    votes = int(tx.scalar(COUNT_VOTES, annotator=person.id))
    if context.study.design.consent.after_withdrawal == "keep_votes":
        remember_withdrawn(tx, context, annotator=person.id)
        for statement in (DELETE_IDENTITIES, DELETE_SUBMISSIONS, STRIP_SESSIONS, STRIP_VOTES, STRIP_REPORTS):
            tx.run(statement, annotator=person.id)
        done = Forgotten(0, 0, votes)
    else:
        held = [Assignment(*row) for row in tx.all(HOLDS_SLOT, annotator=person.id)]
        for assignment in held:
            free_slot(tx, assignment)
        tx.run(DELETE_PERSON, annotator=person.id)
        done = Forgotten(votes, len(held), 0)
    record_action(
        tx,
        "data of one person deleted",
        actor=by,
        study=context.study.slug,
        detail=f"{done.votes} vote rows deleted, {done.slots} slots opened, {done.kept} vote rows kept",
    )
    return done

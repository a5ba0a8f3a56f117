"""The early end: who fails as many attention checks as the study allows is excluded by the study's own rule.

A check counts once its answer can no longer be taken back: when the next pair is answered, or the session is over.
"""

from __future__ import annotations

from study_server.assignment.records import AssignmentContext
from study_server.assignment.session import AnnotatorSession, save_session
from study_server.db import Tx
from study_server.quality.exclusion import exclude
from study_server.voting import queries
from study_server.voting.answers import PageState

#: Who acted, in the log of owners' actions.
RULE = "the study's rule"


def has_failed_checks(tx: Tx, context: AssignmentContext, session: AnnotatorSession, *, besides: int = 0) -> bool:
    """Whether the session has failed as many checks as end it, not counting the assignment `besides`.

    Never for a person whom the rule excluded before: the owner has included them again.
    """
    limit = context.study.failed_checks_end
    if limit is None or session.preview or "I" not in session.plan[: session.position]:
        return False
    if int(tx.scalar(queries.FAILED_CHECKS, session=session.id, besides=besides)) < limit:
        return False
    return tx.one(queries.EXCLUDED_BEFORE, annotator=session.annotator_id, slug=context.study.slug, rule=RULE) is None


def end_early(tx: Tx, context: AssignmentContext, session: AnnotatorSession) -> None:
    """Exclude the person: their votes count nowhere, their slots go to others, and the owner can include them again."""
    pseudonym = tx.scalar(queries.PSEUDONYM, session=session.id)
    limit = context.study.failed_checks_end
    reason = f"{limit} attention check{'s' if limit != 1 else ''} failed"
    exclude(tx, context, pseudonym=pseudonym, reason=reason, by=RULE)
    session.state = "excluded"


def ends_early_instead(tx: Tx, context: AssignmentContext, session: AnnotatorSession, state: PageState) -> bool:
    """Whether a session that would now be finished ended early; saves it."""
    if state != "finished" or session.state != "finished" or not has_failed_checks(tx, context, session):
        return False
    session.state = "active"  # this is not a finish: nobody is shown the completion code
    save_session(tx, session, now=context.now)
    end_early(tx, context, session)
    return True

"""Whom to pay: one row per participation, with the platform's own names. Kept apart from votes and every export."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from qsched.records.owner_api import PaymentInfo
from study_server.db import Statement, Tx
from study_server.quality.figures import CountedAnswer, KnownAnswerFigures, known_answer_figures
from study_server.quality.people import PEOPLE_AT_ONCE, SESSIONS, SessionRow
from study_server.studies.platform import Platform
from study_server.studies.session_length import failures_allowed_to_reject
from study_server.studies.study import Study

# Simulated people and owners' previews are paid nothing, and a study may have thousands of them.
PAGE = Statement("""
    SELECT a.id, a.pseudonym, a.excluded_reason FROM annotators a
    WHERE a.study_id = :study AND a.id < :before
      AND EXISTS (SELECT 1 FROM sessions s WHERE s.annotator_id = a.id AND NOT s.simulated)
      AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.annotator_id = a.id AND s.preview)
    ORDER BY a.id DESC LIMIT :limit
""")
NAMES = Statement("""
    SELECT s.annotator_id, s.pseudonym, i.platform, i.external_id, ps.external_study, ps.external_session
    FROM sessions s
    LEFT JOIN platform_identities i ON i.annotator_id = s.annotator_id
    LEFT JOIN platform_sessions ps ON ps.session_id = s.id
    WHERE s.study_id = :study AND s.annotator_id BETWEEN :low AND :high
""")
# Of the task only pairs that were shown again: checks, gold and repeats is all that the list says of somebody's work.
# Which pairs those are is found once for all people of a page, not once for each answer.
ANSWERS = Statement("""
    SELECT s.annotator_id, a.id, a.pair_id, a.kind, a.first_on_left, a.expected, v.question, v.choice, v.response_ms,
           v.display, a.counted
    FROM sessions s
    JOIN assignments a ON a.session_id = s.id
    JOIN votes v ON v.assignment_id = a.id
    WHERE s.study_id = :study AND s.annotator_id BETWEEN :low AND :high
      AND (a.kind <> 'task'
           OR (s.annotator_id, a.pair_id) IN (SELECT m.annotator_id, r.pair_id
                                              FROM sessions m JOIN assignments r ON r.session_id = m.id
                                              WHERE m.study_id = :study AND m.annotator_id BETWEEN :low AND :high
                                                AND r.kind = 'repeat'))
      AND NOT EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id)
    ORDER BY v.id
""")


class PlatformNames(NamedTuple):
    """What a recruiting platform calls a participation: the platform, the person, the study and the submission."""

    platform: str | None
    person: str | None
    study: str | None
    submission: str | None


@dataclass(frozen=True, slots=True)
class PaidPerson:
    """One annotator as the payment list needs them; `names` goes by the pseudonym of each session."""

    id: int
    pseudonym: str
    excluded_reason: str | None
    sessions: tuple[SessionRow, ...]
    names: dict[str, PlatformNames]
    work: KnownAnswerFigures


def read_payments(tx: Tx, study: Study) -> Iterator[tuple[PaidPerson, PaymentInfo]]:
    """Every participation with its person, the newest person first. Simulated ones and previews are left out."""
    before = 2**62
    while people := paid_people(tx, study, before=before, limit=PEOPLE_AT_ONCE):
        for person in people:
            for payment in payments_of(study, person):
                yield person, payment
        before = people[-1].id


def paid_people(tx: Tx, study: Study, *, before: int, limit: int) -> list[PaidPerson]:
    """The people to pay with a number below `before`, the newest first."""
    rows = tx.all(PAGE, study=study.id, before=before, limit=limit)
    if not rows:
        return []
    between = {"study": study.id, "low": rows[-1][0], "high": rows[0][0]}
    sessions: dict[int, list[SessionRow]] = defaultdict(list)
    for annotator, *values in tx.all(SESSIONS, **between):
        sessions[annotator].append(SessionRow(*values))
    answers: dict[int, list[CountedAnswer]] = defaultdict(list)
    for annotator, *values in tx.all(ANSWERS, **between):
        answers[annotator].append(CountedAnswer(*values))
    names: dict[int, dict[str, PlatformNames]] = defaultdict(dict)
    for annotator, session, *named in tx.all(NAMES, **between):
        names[annotator][session] = PlatformNames(*named)
    return [
        PaidPerson(number, name, reason, tuple(sessions[number]), names[number], known_answer_figures(answers[number]))
        for number, name, reason in rows
    ]


def payments_of(study: Study, person: PaidPerson) -> Iterator[PaymentInfo]:
    """The participations of a person."""
    for session in person.sessions:
        if not session.simulated:
            yield _payment(study, person, session)


def _payment(study: Study, person: PaidPerson, session: SessionRow) -> PaymentInfo:
    work = person.work
    platform, platform_id, platform_study, submission = person.names[session.pseudonym]
    missed = work.checks.of - work.checks.part
    enough = failures_allowed_to_reject(study.design, study.count_trials())
    return PaymentInfo(
        platform=platform or "",
        platform_id=platform_id or "",
        platform_study=platform_study or "",
        submission=submission or "",
        state=session.state,
        code=shown_code(study.design.platform, session) or "",
        started_at=datetime.fromtimestamp(session.started_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        minutes="" if session.minutes is None else f"{session.minutes:.1f}",
        trials=session.done,
        checks_passed=work.checks.part,
        checks_shown=work.checks.of,
        gold_right=work.gold.part,
        gold_judged=work.gold.of,
        repeats_same=work.repeats.part,
        repeats_shown=work.repeats.of,
        rejection_allowed="" if platform != "prolific" else "yes" if missed >= enough else "no",
        excluded_reason=person.excluded_reason or "",
    )


def shown_code(platform: Platform, session: SessionRow) -> str | None:
    """The code on the last page that this person has seen, None before the end."""
    if session.finished_ms is not None:
        return platform.completion_code
    codes = {
        "screened_out": platform.screened_out_code,
        "not_understood": platform.not_understood_code,
        "excluded": platform.failed_check_code,
    }
    return codes.get(session.state)

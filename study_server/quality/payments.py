"""Whom to pay: one row per participation, with the platform's own names. Kept apart from votes and every export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from qsched.records.owner_api import PaymentInfo
from study_server.db import Statement, Tx
from study_server.quality.people import PersonRow, SessionRow, every_person
from study_server.studies.platform import Platform
from study_server.studies.session_length import failures_allowed_to_reject
from study_server.studies.study import Study

NAMES = Statement("""
    SELECT s.pseudonym, i.platform, i.external_id, ps.external_study, ps.external_session
    FROM sessions s
    LEFT JOIN platform_identities i ON i.annotator_id = s.annotator_id
    LEFT JOIN platform_sessions ps ON ps.session_id = s.id
    WHERE s.annotator_id = :annotator
""")


def read_payments(tx: Tx, study: Study) -> Iterator[tuple[PersonRow, PaymentInfo]]:
    """Every participation with its person, the newest person first. Simulated ones and previews are left out."""
    return payments_of(tx, study, every_person(tx, study_id=study.id))


def payments_of(tx: Tx, study: Study, people: Iterable[PersonRow]) -> Iterator[tuple[PersonRow, PaymentInfo]]:
    """The participations of some people of a study."""
    for person in people:
        names = {session: named for session, *named in tx.all(NAMES, annotator=person.id)}
        for session in person.sessions:
            if not session.simulated:
                yield person, _payment(study, person, session, names[session.pseudonym])


def _payment(study: Study, person: PersonRow, session: SessionRow, names: list[str | None]) -> PaymentInfo:
    work = person.work
    platform, platform_id, platform_study, submission = names
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

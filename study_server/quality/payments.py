"""Whom to pay: one row per participation, with the platform's own names. Kept apart from votes and every export.

Values that a spreadsheet would run as a formula begin with an apostrophe: a platform id comes from a link that anybody
can write.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from study_server.db import Statement, Tx
from study_server.quality.people import PersonRow, SessionRow, every_person
from study_server.studies.design import Platform
from study_server.studies.session_length import session_minutes
from study_server.studies.study import Study

# Prolific: a short study may reject after one failed attention check, a longer one after two.
SHORT_MINUTES = 5
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

NAMES = Statement("""
    SELECT s.pseudonym, i.platform, i.external_id, ps.external_study, ps.external_session
    FROM sessions s
    LEFT JOIN platform_identities i ON i.annotator_id = s.annotator_id
    LEFT JOIN platform_sessions ps ON ps.session_id = s.id
    WHERE s.annotator_id = :annotator
""")


@dataclass(frozen=True, slots=True)
class Payment:
    """One participation. The columns of people.csv, in their order.

    code              what the last page showed
    minutes           from consent to the end, or to the last answer
    rejection_allowed by Prolific's rule on attention checks; "" for other platforms
    """

    platform: str
    platform_id: str
    platform_study: str
    submission: str
    state: str
    code: str
    started_at: str
    minutes: str
    trials: int
    checks_passed: int
    checks_shown: int
    gold_right: int
    gold_judged: int
    repeats_same: int
    repeats_shown: int
    rejection_allowed: str
    excluded_reason: str


COLUMNS = tuple(field.name for field in fields(Payment))


def read_payments(tx: Tx, study: Study) -> Iterator[tuple[PersonRow, Payment]]:
    """Every participation with its person, the newest person first. Simulated ones and previews are left out."""
    for person in every_person(tx, study_id=study.id):
        names = {session: named for session, *named in tx.all(NAMES, annotator=person.id)}
        for session in person.sessions:
            if not session.simulated:
                yield person, _payment(study, person, session, names[session.pseudonym])


def _payment(study: Study, person: PersonRow, session: SessionRow, names: list[str | None]) -> Payment:
    work = person.work
    platform, platform_id, platform_study, submission = names
    missed = work.checks.of - work.checks.part
    short = session_minutes(study.design, study.count_trials()) < SHORT_MINUTES
    return Payment(
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
        rejection_allowed="" if platform != "prolific" else "yes" if missed >= (1 if short else 2) else "no",
        excluded_reason=person.excluded_reason or "",
    )


def shown_code(platform: Platform, session: SessionRow) -> str | None:
    """The code on the last page that this person has seen, None before the end."""
    if session.finished_ms is not None:
        return platform.completion_code
    return {"screened_out": platform.screened_out_code, "excluded": platform.failed_check_code}.get(session.state)


def payments_csv(rows: Iterator[tuple[PersonRow, Payment]]) -> Iterator[str]:
    """The table as CSV, a line at a time."""
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    writer.writerow(COLUMNS)
    for _, payment in rows:
        writer.writerow([_harmless(getattr(payment, name)) for name in COLUMNS])
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


def _harmless(value: str | int) -> str | int:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

"""An owner's decisions about submissions, checked against what the platform and our database know of them.

Nothing is decided here: every decision is of a list that the owner wrote. A link can be forged, so what the platform
says of a submission counts, and what our database says is shown beside it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from qsched.errors import InputError
from qsched.records.owner_api import PaymentInfo
from study_server.db import Statement, Tx
from study_server.recruiting.platform import APPROVED, AWAITING_REVIEW, Bonus, Submission
from study_server.studies.study import Study

STUDIES_NAMED = Statement("""
    SELECT ps.external_study, COUNT(*) FROM platform_sessions ps JOIN sessions s ON s.id = ps.session_id
    WHERE s.study_id = :study AND ps.platform = :platform AND ps.external_study IS NOT NULL AND NOT s.preview
    GROUP BY ps.external_study ORDER BY 2 DESC
""")
PAID = Statement("SELECT detail FROM owner_actions WHERE study = :study AND action = :action ORDER BY id")
_AMOUNT = re.compile(r"[0-9]{1,6}(\.[0-9]{1,2})?")
BONUS_ACTION = "Prolific bonuses paid"


@dataclass(frozen=True, slots=True)
class Joined:
    """One submission with what our database knows of it; `note` says what does not fit together."""

    submission: Submission
    here: PaymentInfo | None
    note: str


def platform_study(tx: Tx, study: Study, *, platform: str, named: str | None) -> str:
    """The platform's study: the one named, else the only one that people's links named; InputError otherwise."""
    if named is not None:
        return named
    found = tx.all(STUDIES_NAMED, study=study.id, platform=platform)
    if len(found) == 1:
        return str(found[0][0])
    if not found:
        raise InputError(f"nobody has come to study {study.slug} by {platform} yet; name its study with --study-id")
    several = ", ".join(f"{name} ({people} people)" for name, people in found[:5])
    raise InputError(f"people's links name several studies of {platform}: {several}; name yours with --study-id")


def join(submissions: Sequence[Submission], payments: Sequence[PaymentInfo]) -> list[Joined]:
    """Each submission of the platform with our row of it."""
    here = {payment.submission: payment for payment in payments if payment.submission}
    return [Joined(one, here.get(one.id), _note(one, here.get(one.id))) for one in submissions]


def _note(there: Submission, here: PaymentInfo | None) -> str:
    if here is None:
        return "never came here" if there.status == AWAITING_REVIEW else ""
    if there.person and here.platform_id != there.person:
        return f"our link named another person ({here.platform_id})"
    if there.status == AWAITING_REVIEW and here.state != "finished":
        return f"not finished here ({here.state})"
    if there.status == AWAITING_REVIEW and there.code and here.code and there.code != here.code:
        return f"entered the code {there.code}, our page showed {here.code}"
    return ""


def read_list(path: Path) -> list[str]:
    """Submission ids: one per line, or the column `submission` of a CSV such as people.csv; InputError for others."""
    rows, columns = _read_rows(path)
    if columns and "submission" in columns:
        found = [row[columns.index("submission")].strip() for row in rows[1:]]
    elif all(len(row) == 1 for row in rows):
        found = [row[0].strip() for row in rows]
    else:
        raise InputError(f"{path}: write one submission id per line, or a CSV with a column `submission`")
    return _checked(path, found)


def read_bonuses(path: Path) -> list[Bonus]:
    """Bonuses from a CSV with the columns submission and amount; InputError names the row that does not fit."""
    rows, columns = _read_rows(path)
    if columns is None or not {"submission", "amount"} <= set(columns):
        raise InputError(f"{path}: the first line must name the columns submission and amount")
    ids = _checked(path, [row[columns.index("submission")].strip() for row in rows[1:]])
    bonuses = []
    for number, (submission, row) in enumerate(zip(ids, rows[1:], strict=True), start=2):
        text = row[columns.index("amount")].strip()
        if not _AMOUNT.fullmatch(text) or Decimal(text) == 0:
            raise InputError(f"{path}:{number}: {text!r} is not an amount above 0 with at most two decimals, like 1.50")
        bonuses.append(Bonus(submission, Decimal(text)))
    return bonuses


def bonus_mark(bonus: Bonus) -> str:
    """Names a submission in the log without its id, which viewers may not read."""
    return hashlib.sha256(f"bonus {bonus.submission}".encode()).hexdigest()[:16]


def paid_before(tx: Tx, slug: str, bonuses: Sequence[Bonus]) -> list[Bonus]:
    """Those of `bonuses` whose submission has had a bonus in this study, whatever the list or the amount was."""
    marks = {word for (detail,) in tx.all(PAID, study=slug, action=BONUS_ACTION) for word in detail.split()}
    return [bonus for bonus in bonuses if bonus_mark(bonus) in marks]


def refuse_unknown(ids: Sequence[str], submissions: Sequence[Submission], *, study: str) -> None:
    """InputError if the platform does not know a submission as one of this study."""
    known = {one.id for one in submissions}
    unknown = [one for one in ids if one not in known]
    if unknown:
        raise InputError(
            f"{len(unknown)} of {len(ids)} are not submissions of study {study} there, the first {unknown[0]}; "
            "nothing was done"
        )


def to_approve(ids: Sequence[str], joined: Sequence[Joined]) -> tuple[list[Joined], list[str]]:
    """Those of the list that await review, and those that are approved already; InputError for any other status."""
    by_id = {one.submission.id: one for one in joined}
    done = [one for one in ids if by_id[one].submission.status == APPROVED]
    rest = [by_id[one] for one in ids if one not in set(done)]
    _refuse_status(rest, "approved")
    return rest, done


def to_reject(ids: Sequence[str], joined: Sequence[Joined], *, category: str) -> list[Joined]:
    """Those of the list, which all await review; InputError for a failed check that Prolific's rule does not allow."""
    by_id = {one.submission.id: one for one in joined}
    rest = [by_id[one] for one in ids]
    _refuse_status(rest, "rejected")
    if category == "FAILED_CHECK":
        wrong = [one for one in rest if one.here is None or one.here.rejection_allowed != "yes"]
        if wrong:
            raise InputError(
                f"{len(wrong)} of {len(rest)} may not be rejected for failed checks, the first "
                f"{wrong[0].submission.id}: one missed attention check in a study of less than five minutes, two in a "
                "longer one; gold is never a reason. Nothing was done"
            )
    return rest


def _refuse_status(rows: Sequence[Joined], action: str) -> None:
    others = Counter(one.submission.status for one in rows if one.submission.status != AWAITING_REVIEW)
    if others:
        words = ", ".join(f"{count} {status.lower()}" for status, count in others.items())
        raise InputError(f"only submissions that await review can be {action}; the list has {words}. Nothing was done")


def _read_rows(path: Path) -> tuple[list[list[str]], list[str] | None]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    if not rows:
        raise InputError(f"{path} is empty; write one submission id per line")
    if len(rows[0]) == 1 and rows[0][0].strip() != "submission":
        return rows, None
    ragged = [number for number, row in enumerate(rows, start=1) if len(row) != len(rows[0])]
    if ragged:
        raise InputError(f"{path}: row {ragged[0]} has another number of columns than the first")
    return rows, [cell.strip() for cell in rows[0]]


def _checked(path: Path, ids: list[str]) -> list[str]:
    for one in ids:
        if not (one.isascii() and one.isalnum() and len(one) <= 64):
            raise InputError(f"{path}: {one!r} is not a submission id (letters and digits)")
    twice = [one for one, count in Counter(ids).items() if count > 1]
    if twice:
        raise InputError(f"{path}: {twice[0]} is listed twice; list each submission once")
    if not ids:
        raise InputError(f"{path} names no submission")
    return ids

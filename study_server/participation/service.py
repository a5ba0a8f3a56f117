"""Joining a study, and how far a person is in it."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import Any

from study_server.assignment.records import AssignmentContext
from study_server.assignment.service import new_plan
from study_server.assignment.session import load_session
from study_server.db import Tx
from study_server.errors import BadRequest, Conflict, Forbidden, NotSignedIn
from study_server.participation import queries
from study_server.participation.comprehension import Understanding
from study_server.participation.schemas import ScreeningBody
from study_server.participation.screening import find_problems
from study_server.quality.revoking import has_withdrawn, is_revoked
from study_server.studies.design import StudyDesign
from study_server.studies.panels import panel_of
from study_server.studies.study import Study
from study_server.web.catalogue import load_catalogue
from study_server.web.security import Keyring
from study_server.web.signed_links import CODE_LETTERS, personal_name

MAX_EXTERNAL = 128
MAX_ANSWER = 500
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
# What a platform's link holds where the platform did not fill it in: {{%PROLIFIC_PID%}}, ${id}, %ID%, [ID], <ID>.
PLACEHOLDER = re.compile(r"[{}<>]|^%.*%$|^\[.*\]$")


@dataclass(frozen=True, slots=True)
class PlatformParticipant:
    """Who comes, as the platform names them."""

    platform: str
    external_id: str
    external_study: str | None
    external_session: str | None


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """How far a session is."""

    state: str
    answered: int
    started: bool
    screening: dict[str, Any] | None
    simulated: bool
    status: str
    names: dict[str, str | None]
    understanding: Understanding
    preview: bool
    withdraw_code: str | None

    @property
    def may_begin(self) -> bool:
        """Whether the questions about the instructions are answered; simulated annotators read nothing."""
        return self.understanding.passed or self.simulated

    @property
    def passed_screening(self) -> bool:
        """Whether the device check is done, with whatever outcome the study accepts."""
        return self.screening is not None and bool(self.screening["done"])


@dataclass(frozen=True, slots=True)
class Screened:
    """Outcome of a device check: problems as (code, message), whether another try is allowed."""

    problems: tuple[tuple[str, str], ...]
    ok: bool
    retry: bool


class FormMisfit(BadRequest):
    """What the consent form cannot be taken with: a text of the catalogue, its values, and the question it is about."""

    code = "form"

    def __init__(self, key: str, *, question: str | None = None, **values: str) -> None:
        super().__init__(load_catalogue().text(key, **values))
        self.key, self.question, self.values = key, question, values


class TakesNoMorePart(Forbidden):
    """Somebody whom the owner excluded, or whose data were deleted while their votes stay, comes again."""

    code = "ended"


def platform_participant(study: Study, fields: dict[str, str], keys: Keyring) -> PlatformParticipant | None:
    """The panel's names from the link; FormMisfit where they are needed and missing, not filled in, or not signed."""
    panel = panel_of(study.design.platform)
    for name in panel.names:
        value = fields.get(name, "")
        if len(value) > MAX_EXTERNAL:
            raise FormMisfit("consent.problem.link", name=name, limit=str(MAX_EXTERNAL))
        if PLACEHOLDER.search(value):
            raise FormMisfit("consent.problem.placeholder", name=name, value=value)
    person = fields.get(panel.parameters.person, "")
    if panel.name == "personal" and person:
        person = personal_name(keys, study, person) or ""
    if not person:
        if panel.required and not fields.get("simulated"):
            if panel.name == "personal":
                raise FormMisfit("consent.problem.personal")
            raise FormMisfit("consent.problem.platform", platform=panel.title or panel.name)
        return None
    study_name, submission = (
        fields.get(name) or None if name is not None else None
        for name in (panel.parameters.study, panel.parameters.submission)
    )
    return PlatformParticipant(panel.name, person, study_name, submission)


def refuse_revoked(tx: Tx, study: Study, participant: PlatformParticipant | None) -> None:
    """FormMisfit for a personal link that the owner took back; a link that was used before that goes on.

    TakesNoMorePart for a person whose data were deleted while their votes stay.
    """
    if participant is None:
        return
    if has_withdrawn(tx, study, platform=participant.platform, name=participant.external_id):
        raise TakesNoMorePart("your part in this study is over")
    if participant.platform != "personal":
        return
    if (
        is_revoked(tx, study_id=study.id, name=participant.external_id)
        and _find_known(tx, study, participant)[0] is None
    ):
        raise FormMisfit("consent.problem.personal")


def read_demographics(design: StudyDesign, fields: dict[str, str], *, language: str) -> dict[str, str]:
    """The answers about oneself, a choice in the study's first language whatever it was read in.

    FormMisfit, worded in `language`, for a required answer that is missing or a choice that is not offered.
    """
    answers = {}
    for question in design.demographics:
        value = fields.get(f"d_{question.id}", "").strip()[:MAX_ANSWER]
        label = design.words(question.label, language).text
        if not value:
            if question.required:
                raise FormMisfit("consent.problem.required", question=question.id, label=label)
            continue
        if question.kind == "choice" and value not in map(design.first, question.choices):
            raise FormMisfit("consent.problem.choice", question=question.id, label=label, value=value)
        if question.kind == "number" and not NUMBER.fullmatch(value):
            raise FormMisfit("consent.problem.number", question=question.id, label=label, value=value)
        answers[question.id] = value
    return answers


def join(
    tx: Tx,
    context: AssignmentContext,
    *,
    participant: PlatformParticipant | None,
    simulated: bool,
    demographics: dict[str, str],
    session_key: str,
    preview: bool = False,
) -> None:
    """A new session, or the one that this person and submission already have, with this key from now on.

    Raises TakesNoMorePart if the owner has excluded this person, their data were deleted while their votes stay, or an
    earlier submission of theirs did not pass the questions about the instructions. A preview is the owner's walk: its
    task trials are warm-up trials, which show open pairs and fill no slot.
    """
    study: Study = context.study
    if tx.one(queries.SESSION_OF_KEY, key=session_key) is not None:
        return  # the same form again
    annotator: int | None = None
    if participant is not None:
        annotator, known = _find_known(tx, study, participant)
        if known is not None:
            tx.run(queries.RENEW_TOKEN, session=known, key=session_key)
            return
        if annotator is not None and (
            _is_excluded(tx, study, participant) or tx.one(queries.NOT_UNDERSTOOD, annotator=annotator)
        ):
            raise TakesNoMorePart("your part in this study is over")
    seen = 0
    if annotator is None:
        refuse_revoked(tx, study, participant)
        annotator = tx.scalar(
            queries.INSERT_ANNOTATOR, study=study.id, pseudonym=f"a-{secrets.token_hex(6)}", now=context.now
        )
        if participant is not None:
            tx.run(
                queries.INSERT_IDENTITY,
                study=study.id,
                annotator=annotator,
                platform=participant.platform,
                external=participant.external_id,
            )
    else:
        seen = tx.scalar(queries.SEEN_PAIRS, annotator=annotator)
    plan = new_plan(study, context.rng, seen=seen)
    session_id: int = tx.scalar(
        queries.INSERT_SESSION,
        study=study.id,
        annotator=annotator,
        pseudonym=f"s-{secrets.token_hex(6)}",
        simulated=simulated,
        consent_version=study.design.consent.version,
        now=context.now,
        plan=plan.replace("T", "W") if preview else plan,
        demographics=json.dumps(demographics, ensure_ascii=False) if demographics else None,
        key=session_key,
        preview=preview,
        withdraw_code=new_withdraw_code(),
    )
    if participant is not None:
        tx.run(
            queries.INSERT_PLATFORM_SESSION,
            session=session_id,
            annotator=annotator,
            platform=participant.platform,
            external_study=participant.external_study,
            external_session=participant.external_session,
        )


def leave(tx: Tx, context: AssignmentContext, *, session_key: str) -> None:
    """Forget the session's token, so that no cookie opens it any more; its answers stay."""
    tx.run(queries.FORGET_TOKEN, key=session_key, study=context.study.id)


def reopen_known_session(
    tx: Tx, context: AssignmentContext, *, participant: PlatformParticipant, session_key: str
) -> SessionSummary | None:
    """Give the session that this person and submission already have a new key; None if there is none."""
    _, known = _find_known(tx, context.study, participant)
    if known is None:
        return None
    tx.run(queries.RENEW_TOKEN, session=known, key=session_key)
    return read_summary(tx, session_key=session_key, study=context.study)


def new_withdraw_code() -> str:
    """What a person quotes to have their data deleted: 40 random bits in letters and digits that look unlike."""
    letters = [secrets.choice(CODE_LETTERS) for _ in range(8)]
    return "".join(letters[:4]) + "-" + "".join(letters[4:])


def _is_excluded(tx: Tx, study: Study, participant: PlatformParticipant) -> bool:
    row = tx.one(queries.KNOWN_PERSON, study=study.id, platform=participant.platform, external=participant.external_id)
    return row is not None and row[1] is not None


def _find_known(tx: Tx, study: Study, participant: PlatformParticipant) -> tuple[int | None, int | None]:
    person = tx.one(
        queries.KNOWN_PERSON, study=study.id, platform=participant.platform, external=participant.external_id
    )
    if person is None:
        return None, None
    session = tx.one(queries.KNOWN_SESSION, annotator=person[0], external=participant.external_session)
    return int(person[0]), None if session is None else int(session[0])


def read_summary(tx: Tx, *, session_key: str, study: Study) -> SessionSummary | None:
    """How far the session is; None if it does not exist."""
    row = tx.one(queries.SESSION_SUMMARY, key=session_key, study=study.id)
    if row is None:
        return None
    state, done, practice_done, screening, simulated, status, *names, comprehension, preview, withdraw_code = row
    return SessionSummary(
        state,
        done,
        done + practice_done > 0,
        None if screening is None else json.loads(screening),
        bool(simulated),
        status,
        dict(zip(("person", "study", "submission"), names, strict=True)),
        Understanding.of(comprehension),
        bool(preview),
        withdraw_code,
    )


def record_screening(tx: Tx, context: AssignmentContext, *, session_key: str, body: ScreeningBody) -> Screened:
    """Store what the device is; screened out after the allowed attempts where the study requires a pass.

    The first outcome is final: Conflict for another report after the check is done or a pair was handed out. The same
    report again, whose answer was lost, is answered again.
    """
    design = context.study.design
    session = load_session(tx, key=session_key, study=context.study.id)
    summary = read_summary(tx, session_key=session_key, study=context.study)
    if summary is None:
        raise NotSignedIn("this session is unknown or over; open the study's link again")
    if summary.state == "screened_out":
        raise Conflict("this device was found not to fit the study", code="screened_out")
    problems = find_problems(design.screening, body, simulated=summary.simulated)
    device, before = body.model_dump(mode="json"), summary.screening or {}
    if summary.passed_screening and device.items() <= before.items():
        return Screened(problems, ok=True, retry=False)
    if summary.passed_screening or session.position > 0:
        raise Conflict("the check of this device is over; go on with the study", code="screening_over")
    attempts = before.get("attempts", 0) + 1
    ok = not problems or not design.screening.required
    out = not ok and attempts >= design.screening.attempts
    record = device | {
        "attempts": attempts,
        "problems": [code for code, _ in problems],
        "done": ok or out,
        "passed": not problems,
    }
    tx.run(
        queries.SAVE_SCREENING,
        session=session.id,
        screening=json.dumps(record),
        state="screened_out" if out else summary.state,
    )
    return Screened(problems, ok, retry=not ok and not out)

"""Joining a study, and where a person stands in it."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from random import Random
from typing import Any

from study_server.assignment.records import Study
from study_server.assignment.service import Desk, load_sitting, new_plan
from study_server.catalogue import load_catalogue
from study_server.db import Tx
from study_server.errors import BadRequest, Conflict, NotSignedIn
from study_server.participation import queries
from study_server.participation.screening import find_problems
from study_server.studies.design import StudyDesign
from study_server.voting.schemas import ScreeningBody

PROLIFIC_NAMES = ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")
MAX_EXTERNAL = 128
MAX_ANSWER = 500
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class PlatformVisit:
    """Who comes, as the platform names them."""

    platform: str
    external_id: str
    external_study: str | None
    external_session: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a session stands."""

    state: str
    answered: int
    started: bool
    screening: dict[str, Any] | None
    simulated: bool
    status: str
    external_session: str | None

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


def platform_visit(design: StudyDesign, fields: dict[str, str]) -> PlatformVisit | None:
    """The platform's names from the link; FormMisfit where the study needs them and they are missing."""
    pid = fields.get("PROLIFIC_PID", "")
    if not pid:
        if design.platform.name == "prolific" and not fields.get("simulated"):
            raise FormMisfit("consent.problem.prolific")
        return None
    for name in PROLIFIC_NAMES:
        if len(fields.get(name, "")) > MAX_EXTERNAL:
            raise FormMisfit("consent.problem.link", name=name, limit=str(MAX_EXTERNAL))
    return PlatformVisit("prolific", pid, fields.get("STUDY_ID") or None, fields.get("SESSION_ID") or None)


def read_demographics(design: StudyDesign, fields: dict[str, str]) -> dict[str, str]:
    """The answers about oneself; FormMisfit for a required one that is missing or a choice that is not offered."""
    answers = {}
    for question in design.demographics:
        value = fields.get(f"d_{question.id}", "").strip()[:MAX_ANSWER]
        if not value:
            if question.required:
                raise FormMisfit("consent.problem.required", question=question.id, label=question.label)
            continue
        if question.kind == "choice" and value not in question.choices:
            raise FormMisfit("consent.problem.choice", question=question.id, label=question.label, value=value)
        if question.kind == "number" and not NUMBER.fullmatch(value):
            raise FormMisfit("consent.problem.number", question=question.id, label=question.label, value=value)
        answers[question.id] = value
    return answers


def join(tx: Tx, desk: Desk, *, visit: PlatformVisit | None, simulated: bool, demographics: dict[str, str]) -> int:
    """A new session, or the one that this person and submission already have."""
    study: Study = desk.study
    annotator: int | None = None
    if visit is not None:
        annotator, known = _find_known(tx, study, visit)
        if known is not None:
            return known
    seen = 0
    if annotator is None:
        annotator = tx.scalar(
            queries.INSERT_ANNOTATOR, study=study.id, pseudonym=f"a-{secrets.token_hex(6)}", now=desk.now
        )
        if visit is not None:
            tx.run(
                queries.INSERT_IDENTITY,
                study=study.id, annotator=annotator, platform=visit.platform, external=visit.external_id,
            )  # fmt: skip
    else:
        seen = tx.scalar(queries.SEEN_PAIRS, annotator=annotator)
    session_id: int = tx.scalar(
        queries.INSERT_SESSION,
        study=study.id, annotator=annotator, pseudonym=f"s-{secrets.token_hex(6)}", simulated=simulated,
        consent_version=study.design.consent.version, now=desk.now, plan=new_plan(study, desk.rng, seen=seen),
        demographics=json.dumps(demographics, ensure_ascii=False) if demographics else None,
    )  # fmt: skip
    if visit is not None:
        tx.run(
            queries.INSERT_PLATFORM_SESSION,
            session=session_id, annotator=annotator, platform=visit.platform,
            external_study=visit.external_study, external_session=visit.external_session,
        )  # fmt: skip
    return session_id


def find_sitting(tx: Tx, study: Study, visit: PlatformVisit) -> int | None:
    """The session that this person and submission already have."""
    return _find_known(tx, study, visit)[1]


def _find_known(tx: Tx, study: Study, visit: PlatformVisit) -> tuple[int | None, int | None]:
    person = tx.one(queries.KNOWN_PERSON, study=study.id, platform=visit.platform, external=visit.external_id)
    if person is None:
        return None, None
    sitting = tx.one(queries.KNOWN_SITTING, annotator=person[0], external=visit.external_session)
    return int(person[0]), None if sitting is None else int(sitting[0])


def planned_trials(study: Study) -> int:
    """Trials of a newcomer's sitting, all kinds together: chance decides about their order only."""
    return len(new_plan(study, Random(0)))


def read_standing(tx: Tx, *, session_id: int, slug: str) -> Standing | None:
    """Where the session stands, None where it does not exist."""
    row = tx.one(queries.STANDING, session=session_id, slug=slug)
    if row is None:
        return None
    state, done, practice_done, screening, simulated, status, external_session = row
    return Standing(
        state, done, done + practice_done > 0, None if screening is None else json.loads(screening),
        bool(simulated), status, external_session,
    )  # fmt: skip


def record_screening(tx: Tx, desk: Desk, *, session_id: int, body: ScreeningBody) -> Screened:
    """Store what the device is; screened out after the allowed attempts where the study requires a pass.

    The first outcome stands: Conflict for another report after the check is done or a pair was handed out. The same
    report again, whose answer was lost, is answered again.
    """
    design = desk.study.design
    sitting = load_sitting(tx, session_id=session_id, slug=desk.study.slug)
    standing = read_standing(tx, session_id=session_id, slug=desk.study.slug)
    if standing is None:
        raise NotSignedIn("this session is unknown or over; open the study's link again")
    if standing.state == "screened_out":
        raise Conflict("this device was found not to fit the study", code="screened_out")
    problems = find_problems(design.screening, body, simulated=standing.simulated)
    told, before = body.model_dump(mode="json"), standing.screening or {}
    if standing.passed_screening and told.items() <= before.items():
        return Screened(problems, ok=True, retry=False)
    if standing.passed_screening or sitting.position > 0:
        raise Conflict("the check of this device is over; go on with the study", code="screening_over")
    attempts = before.get("attempts", 0) + 1
    ok = not problems or not design.screening.required
    out = not ok and attempts >= design.screening.attempts
    record = told | {
        "attempts": attempts, "problems": [code for code, _ in problems], "done": ok or out, "passed": not problems,
    }  # fmt: skip
    tx.run(
        queries.SAVE_SCREENING,
        session=session_id, screening=json.dumps(record), state="screened_out" if out else standing.state,
    )  # fmt: skip
    return Screened(problems, ok, retry=not ok and not out)

"""The annotators of a study with how they work, one page of them at a time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from qsched.records import Kind
from study_server.db import Statement, Tx
from study_server.db.statements import Row
from study_server.quality.figures import CountedAnswer, WorkFigures, collect_preferences, work_figures

PAGE_PEOPLE = 25
PEOPLE_AT_ONCE = 200

# A page of people, newest first: everything else on it is asked by their range of numbers.
PAGE = Statement("""
    SELECT a.id, a.pseudonym, a.excluded_ms, a.excluded_reason FROM annotators a
    WHERE a.study_id = :study AND a.id < :before AND (:only_excluded = 0 OR a.excluded_ms IS NOT NULL)
      AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.annotator_id = a.id AND s.preview)
    ORDER BY a.id DESC LIMIT :limit
""")
ONE = Statement("""
    SELECT a.id, a.pseudonym, a.excluded_ms, a.excluded_reason FROM annotators a
    WHERE a.study_id = :study AND a.pseudonym = :pseudonym
""")
SESSIONS = Statement("""
    SELECT annotator_id, pseudonym, state, started_ms, finished_ms, judged_ms, done, simulated, consent_version
    FROM sessions WHERE study_id = :study AND annotator_id BETWEEN :low AND :high ORDER BY id
""")
ANSWERS = Statement("""
    SELECT s.annotator_id, a.id, a.pair_id, a.kind, a.first_on_left, a.expected, v.question, v.choice, v.response_ms,
           v.display, a.counted
    FROM sessions s
    JOIN assignments a ON a.session_id = s.id
    JOIN votes v ON v.assignment_id = a.id
    WHERE s.study_id = :study AND s.annotator_id BETWEEN :low AND :high
      AND NOT EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id)
    ORDER BY v.id
""")
# Some pairs, whose numbers are a parameter that Tx.listed makes.
_LISTED = "[[sqlite: IN (SELECT value FROM json_each(:pairs)) | postgresql: = ANY (CAST(:pairs AS bigint[]))]]"
LOADS = Statement(f"SELECT p.id, p.load FROM pairs p WHERE p.id {_LISTED} ORDER BY p.id")
# What everybody prefers of them.
PREFERENCES = Statement(f"""
    SELECT a.pair_id, v.question,
           CASE WHEN (v.choice = 'left' AND a.first_on_left) OR (v.choice = 'right' AND NOT a.first_on_left)
                THEN 'first' ELSE 'second' END,
           COUNT(*)
    FROM assignments a [[sqlite: CROSS | postgresql: ]] JOIN votes v ON v.assignment_id = a.id
    WHERE a.pair_id {_LISTED}
      AND a.kind = 'task' AND a.counted AND a.state = 'voted' AND v.choice IN ('left', 'right')
      AND NOT EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id)
    GROUP BY 1, 2, 3
""")


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One participation; times in milliseconds since 1970 UTC."""

    pseudonym: str
    state: str
    started_ms: int
    finished_ms: int | None
    judged_ms: int | None
    done: int
    simulated: bool
    consent_version: str

    @property
    def minutes(self) -> float | None:
        """From consent to the end, or to the last answer of somebody who has not finished."""
        last = self.finished_ms or self.judged_ms
        return None if last is None else (last - self.started_ms) / 60_000


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One annotator."""

    id: int
    pseudonym: str
    excluded_ms: int | None
    excluded_reason: str | None
    sessions: tuple[SessionRow, ...]
    work: WorkFigures

    @property
    def state(self) -> str:
        """Of the latest session."""
        return "excluded" if self.excluded_ms is not None else self.sessions[-1].state if self.sessions else "–"


def read_people(
    tx: Tx,
    *,
    study_id: int,
    before: int = 2**62,
    only_excluded: bool = False,
    limit: int = PAGE_PEOPLE,
    agreement: bool = True,
) -> list[PersonRow]:
    """The annotators with a number below `before`, newest first. Owners' previews are left out.

    `agreement` looks at everybody's votes on the pairs that they judged: of a million votes at nearly all. Without it
    that figure is empty.
    """
    rows = tx.all(PAGE, study=study_id, before=before, only_excluded=int(only_excluded), limit=limit)
    return _with_work(tx, study_id, rows, agreement=agreement)


def every_person(tx: Tx, *, study_id: int) -> Iterator[PersonRow]:
    """Every annotator, newest first; memory holds one page of them at a time."""
    before = 2**62
    while people := read_people(tx, study_id=study_id, before=before, limit=PEOPLE_AT_ONCE):
        yield from people
        before = people[-1].id


def read_person(tx: Tx, *, study_id: int, pseudonym: str, agreement: bool = True) -> PersonRow | None:
    """One annotator; None for nobody of that name."""
    rows = tx.all(ONE, study=study_id, pseudonym=pseudonym)
    return next(iter(_with_work(tx, study_id, rows, agreement=agreement)), None)


#: Answers by the number of the annotator.
AnswersOf: TypeAlias = Mapping[int, list[CountedAnswer]]


def answers_of_page(tx: Tx, *, study_id: int, before: int, only_excluded: bool) -> AnswersOf:
    """The answers of the annotators that `read_people` finds."""
    rows = tx.all(PAGE, study=study_id, before=before, only_excluded=int(only_excluded), limit=PAGE_PEOPLE)
    return _answers(tx, study_id, rows)


def answers_of_person(tx: Tx, *, study_id: int, pseudonym: str) -> AnswersOf:
    """The answers of one annotator; nothing for nobody of that name."""
    return _answers(tx, study_id, tx.all(ONE, study=study_id, pseudonym=pseudonym))


def read_preferences(tx: Tx, pairs: Sequence[int]) -> Mapping[tuple[int, str], Counter[str]]:
    """What everybody prefers of some pairs."""
    return collect_preferences(tx.all(PREFERENCES, pairs=tx.listed(pairs)))


def _answers(tx: Tx, study_id: int, rows: Sequence[Row]) -> dict[int, list[CountedAnswer]]:
    found: dict[int, list[CountedAnswer]] = {row[0]: [] for row in rows}
    if rows:
        for annotator, *values in tx.all(ANSWERS, study=study_id, low=rows[-1][0], high=rows[0][0]):
            # With `only_excluded` others have numbers between those of the page.
            if annotator in found:
                found[annotator].append(CountedAnswer(*values))
    return found


def _with_work(
    tx: Tx, study_id: int, rows: Sequence[tuple[int, str, int | None, str | None]], *, agreement: bool
) -> list[PersonRow]:
    if not rows:
        return []
    between = {"study": study_id, "low": rows[-1][0], "high": rows[0][0]}
    sessions: dict[int, list[SessionRow]] = defaultdict(list)
    for annotator, *values in tx.all(SESSIONS, **between):
        sessions[annotator].append(SessionRow(*values))
    answers = _answers(tx, study_id, rows)
    judged = {answer.pair_id for found in answers.values() for answer in found if answer.kind == Kind.TASK}
    everybody = read_preferences(tx, sorted(judged)) if agreement else {}
    return [PersonRow(*row, tuple(sessions[row[0]]), work_figures(answers[row[0]], everybody)) for row in rows]

"""The pairs of a study with their answers, a page of them at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from study_server.admin import queries
from study_server.admin.counting import PairsCount, count_at_once
from study_server.db import Tx

PAGE_PAIRS = 24
ANSWERS_SHOWN = 500


@dataclass(frozen=True, slots=True)
class PairRow:
    """One pair. `filled` counts valid votes and live leases.

    A triplet has a reference and is shown plain or boosted; its answers say which picture differs more.
    """

    id: int
    pair_key: str
    prompt_key: str
    prompt: str
    sample_index: int
    pool: str
    first_arm: str
    second_arm: str
    first_image: int
    second_image: int
    filled: int
    disabled: bool
    problems: int
    reference_image: int | None
    presentation: str | None


@dataclass(frozen=True, slots=True)
class PairAnswer:
    """One answer about a pair; `why_not` says why it does not count."""

    at_ms: int
    annotator: str
    kind: str
    question: str
    choice: str
    first_on_left: bool
    seconds: float
    why_not: str | None

    @property
    def preferred(self) -> str:
        """first, second, tie or skip."""
        if self.choice not in ("left", "right"):
            return self.choice
        return "first" if (self.choice == "left") == self.first_on_left else "second"


@dataclass(frozen=True, slots=True)
class ReportRow:
    """What an annotator reported of a pair."""

    id: int
    at_ms: int
    pair_key: str
    prompt_key: str
    annotator: str
    problem: str
    detail: str | None
    disabled: bool


@dataclass(frozen=True, slots=True)
class DisabledPair:
    """A pair that is not handed out; `problems` counts the people who could not see it."""

    pair_key: str
    prompt_key: str
    problems: int


def read_pairs(
    tx: Tx, *, study: int, after: int = 0, prompt: str = "", only_disabled: bool = False
) -> tuple[PairRow, ...]:
    """The pairs with a number above `after`, of one prompt or all."""
    rows = tx.all(
        queries.PAIRS_PAGE,
        study=study,
        after=after,
        prompt=prompt,
        only_disabled=int(only_disabled),
        limit=PAGE_PAIRS,
    )
    return tuple(PairRow(*row) for row in rows)


def read_pair(tx: Tx, *, study: int, pair_key: str) -> tuple[PairRow, Mapping[str, int], tuple[PairAnswer, ...]] | None:
    """One pair with what was preferred and its latest answers; None if the study has no such pair."""
    row = tx.one(queries.PAIR, study=study, pair_key=pair_key)
    if row is None:
        return None
    pair = PairRow(*row)
    preferred = count_at_once(tx, PairsCount([pair.id])).of[pair.id]
    answers = tx.all(queries.PAIR_ANSWERS, pair=pair.id, limit=ANSWERS_SHOWN)
    return pair, preferred, tuple(_answer(*values) for values in answers)


def read_reports(tx: Tx, *, study: int, before: int = 2**62, limit: int = 200) -> tuple[ReportRow, ...]:
    """The reports with a number below `before`, the newest first."""
    return tuple(ReportRow(*row) for row in tx.all(queries.REPORTS, study=study, before=before, limit=limit))


def read_disabled(tx: Tx, *, study: int) -> tuple[DisabledPair, ...]:
    """The pairs that are not handed out."""
    return tuple(DisabledPair(*row) for row in tx.all(queries.DISABLED, study=study))


def _answer(
    at_ms: int,
    annotator: str,
    kind: str,
    question: str,
    choice: str,
    first_on_left: bool,
    response_ms: int,
    counted: bool,
    state: str,
    surplus: str | None,
) -> PairAnswer:
    why_not = None
    if state == "excluded":
        why_not = "annotator excluded"
    elif surplus is not None:
        why_not = f"surplus: {surplus}"
    elif kind != "task":
        why_not = kind
    elif not counted:
        why_not = "skipped"
    return PairAnswer(at_ms, annotator, kind, question, choice, bool(first_on_left), response_ms / 1000, why_not)

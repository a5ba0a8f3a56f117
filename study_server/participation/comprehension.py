"""Questions about the instructions: in which order their answers stand, who passes, and how often one may try."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from study_server.assignment.records import AssignmentContext
from study_server.assignment.session import load_session
from study_server.db import Tx
from study_server.errors import Conflict
from study_server.participation import queries
from study_server.studies.people import Comprehension, ComprehensionItem
from study_server.studies.texts import OwnText
from study_server.web.security import Keyring


@dataclass(frozen=True, slots=True)
class Understanding:
    """The state of a session: tries so far, right answers of the last one, and whether it was a pass."""

    attempts: int = 0
    right: int = 0
    passed: bool = False

    @classmethod
    def of(cls, stored: str | None) -> Understanding:
        """From the session's column."""
        return cls() if stored is None else cls(**json.loads(stored))

    def write(self) -> str:
        """As the session's column stores it."""
        return json.dumps({"attempts": self.attempts, "right": self.right, "passed": self.passed})


def shuffled_answers(item: ComprehensionItem, *, seed: str) -> list[OwnText]:
    """The answers in the order of one showing: the same for the same seed, which only the server knows."""
    answers: list[OwnText] = [item.right, *item.wrong]
    random.Random(seed).shuffle(answers)
    return answers


def count_right(rules: Comprehension, places: Sequence[int], *, seed: str) -> int:
    """How many of the chosen places hold the right answer; `seed` is that of the showing."""
    return sum(
        shuffled_answers(item, seed=seed_of(seed, number))[place] == item.right
        for number, (item, place) in enumerate(zip(rules.items, places, strict=True))
    )


def seed_of(showing: str, number: int) -> str:
    """The seed of one question of a showing."""
    return f"{showing}/{number}"


def showing_of(keys: Keyring, session_key: str, attempt: int) -> str:
    """The seed of the order at one try of a session: signed, because a browser could compute an unsigned one."""
    return keys.sign(f"comprehension:{session_key}:{attempt}")


def answer_comprehension(
    tx: Tx, context: AssignmentContext, *, session_key: str, attempt: int, places: Sequence[int], showing: str
) -> Understanding:
    """Count one try at a `showing`; the session ends as `not_understood` if the last try fails.

    The same try sent twice counts once. Conflict for a session that has ended.
    """
    rules = context.study.design.comprehension
    session = load_session(tx, key=session_key, study=context.study.id)
    before = Understanding.of(tx.scalar(queries.COMPREHENSION, session=session.id))
    if rules is None or before.passed or attempt != before.attempts + 1:
        return before
    if session.state != "active":
        raise Conflict("your part in this study is over", code="ended")
    right = count_right(rules, places, seed=showing)
    after = Understanding(attempt, right, right >= rules.needed)
    over = not after.passed and attempt >= rules.attempts
    tx.run(
        queries.SAVE_COMPREHENSION,
        session=session.id,
        comprehension=after.write(),
        state="not_understood" if over else session.state,
    )
    return after

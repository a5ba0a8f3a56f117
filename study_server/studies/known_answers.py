"""The known answer of a gold or practice pair, for all questions together or for each one.

Stored as text: the same word for every question ("first", "left"), or a JSON object by question, in which a question
without a known answer is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping


def write_known(by_question: str | Mapping[str, str]) -> str:
    """As it is stored."""
    return by_question if isinstance(by_question, str) else json.dumps(dict(by_question), separators=(",", ":"))


def known_answer(stored: str | None, question: str) -> str | None:
    """The known answer to a question; None where there is none."""
    if stored is None or not stored.startswith("{"):
        return stored
    answer: str | None = json.loads(stored).get(question)
    return answer


def on_screen(better: str, *, first_on_left: bool) -> str:
    """Which side is better ("left", "right"), from which image is ("first", "second"); in the same form."""
    if better.startswith("{"):
        return write_known({q: on_screen(one, first_on_left=first_on_left) for q, one in json.loads(better).items()})
    return "left" if (better == "first") == first_on_left else "right"


def first_known(stored: str) -> str:
    """The known answer to the first question that has one: what {better} in a practice item's `why` means."""
    return next(iter(json.loads(stored).values())) if stored.startswith("{") else stored

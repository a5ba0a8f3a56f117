"""The known answer of a gold or practice pair, for all questions together or for each one.

Stored as text: the same word for every question ("first", "left", "tie"), or a JSON object by question, in which a
question without a known answer is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from qsched.records.rankings import LAST

TIE = "tie"


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
    """Which side is better ("left", "right"), from which image is ("first", "second"); a tie is one on every side."""
    if better.startswith(LAST):  # a ranking names pictures, not places
        return better
    if better.startswith("{"):
        return write_known({q: on_screen(one, first_on_left=first_on_left) for q, one in json.loads(better).items()})
    if better == TIE:
        return TIE
    return "left" if (better == "first") == first_on_left else "right"


def first_known(stored: str) -> str:
    """The known answer to the first question that has one: what {better} in a practice item's `why` means.

    Of several answers the first that is not a tie.
    """
    answers = list(json.loads(stored).values()) if stored.startswith("{") else [stored]
    return next((answer for answer in answers if answer != TIE), TIE)


def is_tie(stored: str | None) -> bool:
    """Whether the known answer to every question that has one is a tie: true of two identical pictures."""
    return stored is not None and first_known(stored) == TIE

"""The owner's words, in one language or in several: `text: ...` or `text: {en: ..., de: ...}`.

A text in one language is in the study's first. Whoever reads in a language that a text lacks gets the first one, marked
as such for the browser and counted by `qsched study check`: no page mixes languages unnoticed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import StringConstraints, TypeAdapter, WrapValidator

from study_server.studies.section import Word

Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
Paragraphs = Annotated[str, StringConstraints(min_length=1, max_length=20_000, strip_whitespace=True)]


def _either(form: Any) -> WrapValidator:
    """A text of `form`, or one for each language: the mistake of the form that was meant, not of both."""
    one, several = TypeAdapter[Any](form), TypeAdapter[Any](dict[Language, form])

    def check(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            return one.validate_python(value)
        if not value:
            raise ValueError("the text names no language; write it, or {en: ..., de: ...}")
        return several.validate_python(value)

    return WrapValidator(check)


OwnWord = Annotated[Word | dict[Language, Word], _either(Word)]
OwnParagraphs = Annotated[Paragraphs | dict[Language, Paragraphs], _either(Paragraphs)]
OwnReason = Annotated[
    str | dict[Language, str], _either(Annotated[str, StringConstraints(min_length=1, max_length=500)])
]
OwnText = str | Mapping[str, str]


class Words(NamedTuple):
    """Words, and the language that they are in."""

    text: str
    language: str


def in_language(text: OwnText, language: str, *, first: str) -> Words:
    """A text in `language`, or in the study's `first` one if it has none in that."""
    if isinstance(text, str):
        return Words(text, first)
    return Words(text[language], language) if language in text else Words(text[first], first)


def first_words(text: OwnText) -> str:
    """A text in the first language that it names: what is stored as a choice, and what an owner's table shows."""
    return text if isinstance(text, str) else next(iter(text.values()))


def write_text(text: OwnText | None) -> str | None:
    """As a column of the database stores it."""
    return text if text is None or isinstance(text, str) else json.dumps(dict(text), ensure_ascii=False)


def read_text(stored: str) -> OwnText:
    """A text out of the database; one that merely begins with a brace ("{better} ...") is no JSON."""
    if not stored.startswith('{"'):
        return stored
    try:
        known = json.loads(stored)
    except ValueError:
        return stored
    return known if isinstance(known, dict) and all(isinstance(one, str) for one in known.values()) else stored

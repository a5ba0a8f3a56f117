"""All words of the annotator's pages, one JSON catalogue per language; the browser reads the same files.

A catalogue is a flat object `key -> text` with `{name}` placeholders in
`static/i18n/<language>.json`. `_language` is the language's own name, `_direction` is `ltr` or `rtl`.
English is complete; a key that another language lacks is an error when the catalogue is loaded, so a page
never mixes languages by accident.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from qsched.errors import QschedError
from study_server.resources import CATALOGUES, DEFAULT_LANGUAGE, languages

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class CatalogueError(QschedError):
    """A catalogue is missing, incomplete, or was asked for a key it does not have."""


@dataclass(frozen=True)
class Catalogue:
    """The words of one language."""

    language: str
    direction: str
    texts: MappingProxyType[str, str]

    def text(self, key: str, /, **values: object) -> str:
        """The text of `key` with its placeholders filled; a missing key or value is an error."""
        try:
            text = self.texts[key]
        except KeyError as error:
            raise CatalogueError(f"no text for {key!r} in {self.language}; add it to {CATALOGUES.name}/") from error
        try:
            return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), text)
        except KeyError as error:
            raise CatalogueError(f"text {key!r} needs a value for {error.args[0]!r}") from error


@cache
def load_catalogue(language: str = DEFAULT_LANGUAGE) -> Catalogue:
    """Read and check the catalogue of `language`; raises CatalogueError when it is absent or incomplete."""
    if language not in languages():
        raise CatalogueError(f"no catalogue for language {language!r}; there are {', '.join(languages())}")
    texts: dict[str, str] = json.loads((CATALOGUES / f"{language}.json").read_text(encoding="utf-8"))
    if language != DEFAULT_LANGUAGE:
        missing = load_catalogue().texts.keys() - texts.keys()
        if missing:
            raise CatalogueError(f"the {language} catalogue lacks {', '.join(sorted(missing))}")
    direction = texts["_direction"]
    if direction not in ("ltr", "rtl"):
        raise CatalogueError(f"_direction of the {language} catalogue is {direction!r}; it is ltr or rtl")
    return Catalogue(language=language, direction=direction, texts=MappingProxyType(texts))


def choose_language(
    accept_language: str, *, requested: tuple[str | None, ...] = (), offered: tuple[str, ...] | None = None
) -> str:
    """The language to show: the first one asked for that is offered, else the best of the Accept-Language header,
    else the first offered. `offered` is by default every language there is."""
    offered = languages() if offered is None else offered
    for code in requested:
        if code in offered:
            return str(code)
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate(accept_language.split(",")):
        code, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:  # a malformed weight is the browser's slip; the language after it still counts least
            quality = 0.0
        ranked.append((-quality, place, code.split("-")[0].lower()))
    for negative_quality, _, code in sorted(ranked):
        if code in offered and negative_quality < 0:
            return code
    return offered[0]

"""Which fonts the figures need for the names in them, and which characters no installed font has.

Names in Latin, Greek and Cyrillic are drawn with the font of this folder, a part of matplotlib's own (which embeds into
a PDF in a fifth of the time; tools/slim_font.py). The whole one and then other fonts are tried only for characters that
it lacks, so that the usual report does not depend on what is installed.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from analysis.report.kit.escape import visible_text

BASE = "Report Sans"
WHOLE = "DejaVu Sans"
font_manager.fontManager.addfont(Path(__file__).with_name("report-sans.ttf"))
#: Tried in this order: scripts of East Asia, then symbols, then other scripts. Colour emoji fonts have no outlines.
FALLBACKS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Noto Sans JP",
    "Noto Sans KR",
    "Source Han Sans",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "IPAexGothic",
    "NanumGothic",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Noto Emoji",
    "Noto Sans Symbols 2",
    "Segoe UI Symbol",
    "Symbola",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Arial Unicode MS",
    "Unifont",
)


@dataclass(frozen=True)
class Fonts:
    """Font families for the figures, and the characters that none of them has."""

    families: tuple[str, ...] = (BASE,)
    missing: frozenset[str] = frozenset()

    def lacking(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of `names` that have a missing character."""
        return tuple(name for name in names if not self.missing.isdisjoint(name))


def fonts_for(names: Iterable[str]) -> Fonts:
    """The base font, and as many installed fallbacks as `names` need."""
    missing = {character for name in names for character in visible_text(name) if not character.isspace()}
    families: list[str] = []
    with quiet_fonts():
        for family in _tried(missing):
            found = missing & characters_of(family)
            if found or family == BASE:
                families.append(family)
                missing = missing - found
    return Fonts(tuple(families), frozenset(missing))


def _tried(missing: set[str]) -> Iterator[str]:
    """The families to look in, as far as they are needed: listing what is installed takes time."""
    yield BASE
    if missing - characters_of(BASE):
        yield WHOLE
    if missing - characters_of(BASE) - characters_of(WHOLE):
        yield from installed_fallbacks()


@contextmanager
def quiet_fonts() -> Iterator[None]:
    """The report names missing characters in a warning of its own (report.caveats), once and with a remedy."""
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)  # it complains each time that a fallback has no normal weight
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
            yield
    finally:
        log.setLevel(level)


@cache
def characters_of(family: str) -> frozenset[str]:
    return frozenset(map(chr, FT2Font(font_manager.findfont(family)).get_charmap()))


@cache
def installed_fallbacks() -> tuple[str, ...]:
    """The installed fallbacks. matplotlib remembers the fonts of its first run; newer files are added here."""
    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in sorted(set(font_manager.findSystemFonts()) - known):
        try:
            font_manager.fontManager.addfont(path)
        except (OSError, RuntimeError):
            continue  # FreeType cannot scale this file, so it cannot be a fallback either
    names = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(family for family in FALLBACKS if family in names)

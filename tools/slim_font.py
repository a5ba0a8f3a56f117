"""Make the font of the report's figures: `python tools/slim_font.py` writes analysis/report/kit/report-sans.ttf.

It is matplotlib's DejaVu Sans with the letters of the languages of Europe (Latin, Greek, Cyrillic), punctuation, arrows
and signs, and without hints and the tables for joined and stacked letters. Every outline and its width stay the same.
A PDF embeds a font by subsetting it, which takes the longer, the more characters it has: eight times as long with the
whole one (benchmarks/analysis_speed.py). Names in other letters are drawn with that.
"""

from __future__ import annotations

from pathlib import Path

from fontTools import subset  # type: ignore[import-untyped]
from matplotlib import font_manager

TARGET = Path(__file__).parents[1] / "analysis" / "report" / "kit" / "report-sans.ttf"
NAME = "Report Sans"
#: Latin with its supplements, Greek, Cyrillic, punctuation, raised and lowered digits, currencies, arrows, mathematics.
RANGES = (
    (0x20, 0x7F),
    (0xA0, 0x180),
    (0x218, 0x21C),
    (0x386, 0x3CF),
    (0x400, 0x460),
    (0x2010, 0x2028),
    (0x2030, 0x203B),
    (0x2070, 0x2095),
    (0x20A0, 0x20B6),
    (0x2190, 0x219A),
    (0x2200, 0x2270),
    (0xFFFD, 0xFFFE),
)
LAYOUT = ["GSUB", "GPOS", "GDEF", "kern", "FFTM"]


def main() -> None:
    """Write the font."""
    options = subset.Options(layout_features=[], hinting=False, name_IDs=[*range(7), 13, 14], notdef_outline=True)
    options.drop_tables += LAYOUT
    font = subset.load_font(str(font_manager.findfont("DejaVu Sans")), options)
    subsetter = subset.Subsetter(options=options)
    subsetter.populate(unicodes=[code for first, end in RANGES for code in range(first, end)])
    subsetter.subset(font)
    for record in font["name"].names:
        if record.nameID in (1, 3, 4):
            record.string = NAME
        elif record.nameID == 6:
            record.string = NAME.replace(" ", "")
    font["head"].modified = font["head"].created  # the same bytes whenever it is made
    font.recalcTimestamp = False
    font.save(TARGET)


if __name__ == "__main__":
    main()

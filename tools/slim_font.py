"""Make the font of the report's figures: `python tools/slim_font.py` writes analysis/report/kit/report-sans.ttf.

It is matplotlib's DejaVu Sans with the letters of Latin, Greek and Cyrillic, punctuation, arrows and signs, and without
hints and the tables for joined and stacked letters. Every outline and its width stay as they are.
A PDF embeds a font by subsetting it, which takes five times as long with the whole one (benchmarks/analysis_speed.py).
"""

from __future__ import annotations

from pathlib import Path

from fontTools import subset  # type: ignore[import-untyped]
from matplotlib import font_manager

TARGET = Path(__file__).parents[1] / "analysis" / "report" / "kit" / "report-sans.ttf"
NAME = "Report Sans"
#: Latin with its supplements, Greek, Cyrillic, both extended, punctuation and signs, arrows, mathematics, shapes.
RANGES = ((0x20, 0x7F), (0xA0, 0x530), (0x1E00, 0x2000), (0x2000, 0x2400), (0x25A0, 0x2600), (0xFFFD, 0xFFFE))
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

"""Where the numbers in README and docs come from, and whether they are still those of their source.

    python tools/quoted_numbers.py            lists numbers without a source, and changed numbers and sources
    python tools/quoted_numbers.py --stamp    the same, after renewing the stamps: for text that somebody has compared

A paragraph, list or table with a measured number (a decimal, a percentage, a time, a size) has a comment directly above
it, which a rendered page does not show:

    <!-- numbers: server.json; 3f2a91c0 -->

Sources, separated by commas: a file of benchmarks/results; a page of docs that a benchmark writes (docs/coverage.md);
`run:ID`, an entry of benchmarks/results/quoted.json with the command of a measurement that no benchmark repeats;
`fixed`, settings, definitions and arithmetic. The stamp is a digest of the block's digits and of the sources: a changed
digit on the page or a new run of the benchmark makes it stale. A decimal number or percentage of a block must occur in
one of its sources, rounded as it is shown, unless `fixed` is among them. The log and the decisions are dated and stay
as they were written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
QUOTED = RESULTS / "quoted.json"
DATED = ("docs/log.md",)
FIXED = "fixed"
UNSEEN = re.compile(r"^<!-- numbers:.*-->\n", re.MULTILINE)
MARK = re.compile(r"^<!-- numbers: (?P<sources>[^;]+?)(?:; (?P<stamp>[0-9a-f]{8}))? -->$")
#: Shown to a reader, so code, addresses and links' targets do not count.
HIDDEN = re.compile(r"`[^`]*`|\]\([^)\s]*\)|<[^>]+>|https?://\S+")
DIGITS = re.compile(r"[-+−]?[\d.,]*\d")
NUMBER = re.compile(r"(?<![\w.,/#-])[-+−]?(?:\d[\d,]*)?\.?\d+(?![\w/]|\.\d)")
UNITS = (
    "%|[uµ]?s|ms|min|h|seconds?|minutes?|hours?|[kMG]B|[KMG]iB|dB|votes/s|votes per second|points|"
    "times(?= (?:as|the|ours))"
)
#: Versions, identifiers of papers and success criteria are no measurements.
NAMED = re.compile(
    r"\b(?:Python|OpenAPI|WCAG|nginx|PostgreSQL|SQLite|Docker|Chromium|Firefox|Safari|WebKitGTK|torch|transformers|timm|"
    r"deepspeed|diffusers|arXiv|Formats|version|section|Section|FLUX\.?|equation)\s+v?\d[\d.]*|\b\d{4}\.\d{4,5}\b"
)
MEASURED = re.compile(rf"(?<![\w/#.-])[-+−]?\d*\.\d+(?!\.?\d)|(?<![\w.])\d[\d,]*\s?(?:{UNITS})(?!\w)")
SCALES = (1.0, 100.0, 1e-3, 1e3, 1e-6, 1e6, 1 / 3600, 1 / 1024, 1 / 1024**2)


@dataclass(frozen=True)
class Block:
    """A run of lines without a blank one; `mark` is the line number of its comment, None without."""

    page: Path
    line: int
    text: str
    sources: tuple[str, ...]
    stamp: str | None
    mark: int | None

    @property
    def shown(self) -> str:
        """The text without code, addresses and versions."""
        return NAMED.sub(" ", HIDDEN.sub(" ", self.text))

    @property
    def numbers(self) -> list[str]:
        """Every number with its sign, those in code and versions too: what the stamp covers."""
        return DIGITS.findall(self.text)

    @property
    def is_measured(self) -> bool:
        return MEASURED.search(self.shown) is not None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """README and the pages of docs that say what is so now."""
    return [ROOT / "README.md", *(p for p in sorted((ROOT / "docs").glob("*.md")) if f"docs/{p.name}" not in DATED)]


def blocks(page: Path, text: str) -> Iterator[Block]:
    """The blocks of a Markdown page outside code fences and headings."""
    lines, fenced, start = text.splitlines(), False, None
    for at, line in enumerate([*lines, ""]):
        fence = line.lstrip().startswith("```")
        code = start is None and line.startswith("    ")
        inside = bool(line.strip()) and not (fence or fenced or code or line.startswith("#"))
        if inside and start is not None and line.startswith("<!-- numbers:"):
            yield _block(page, lines[start:at], start)
            start = at
        if inside and start is None:
            start = at
        elif not inside and start is not None:
            yield _block(page, lines[start:at], start)
            start = None
        fenced ^= fence


def _block(page: Path, lines: list[str], start: int) -> Block:
    found = MARK.match(lines[0])
    shown = [line for line in lines if not line.startswith("<!--")]
    if found is None:
        return Block(page, start + 1, "\n".join(shown), (), None, None)
    sources = tuple(part.strip() for part in found["sources"].split(","))
    return Block(page, start + 2, "\n".join(shown), sources, found["stamp"], start)


def source_text(source: str) -> str:
    """What a stamp covers of a source; KeyError or OSError if there is none."""
    if source == FIXED:
        return ""
    if source.startswith("run:"):
        return json.dumps(json.loads(QUOTED.read_text("utf-8"))[source.removeprefix("run:")], sort_keys=True)
    if source.startswith("docs/"):
        return UNSEEN.sub("", (ROOT / source).read_text("utf-8"))
    return (RESULTS / source).read_text("utf-8")


def stamp_of(block: Block) -> str:
    """Eight hexadecimal digits of the block's numbers and its sources."""
    parts = [*block.numbers, *(source_text(source) for source in block.sources)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


def _leaves(value: object) -> Iterator[float]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, (int, float)):
        yield float(value)
    elif isinstance(value, str):
        yield from (_value(each) for each in NUMBER.findall(value))
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(key)
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)


def _value(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


def unknown(block: Block) -> list[str]:
    """The decimal numbers and percentages of a block that none of its sources has."""
    if FIXED in block.sources:
        return []
    known = []
    for source in block.sources:
        text = source_text(source)
        known += list(_leaves(json.loads(text) if source.startswith("run:") or source.endswith(".json") else text))
    found = []
    for text in dict.fromkeys(part.strip() for part in MEASURED.findall(block.shown)):
        (number,) = NUMBER.findall(f" {text} ")[:1] or (None,)
        if number is None:
            continue
        digits = len(number.partition(".")[2])
        if not any(_shows(number, digits, value) for value in known):
            found.append(text)
    return found


def _shows(number: str, digits: int, value: float) -> bool:
    """Whether `number` is `value`, whatever its sign, rounded to `digits` on one of the usual scales."""
    shown, half = abs(_value(number)), 0.5000001 * 10.0**-digits
    return math.isfinite(value) and any(abs(abs(value) * scale - shown) <= half for scale in SCALES)


def faults(text_of: dict[Path, str] | None = None) -> list[str]:
    """One line for each block that lacks a source or a fresh stamp."""
    found = []
    for page in pages():
        text = page.read_text("utf-8") if text_of is None else text_of[page]
        for block in blocks(page, text):
            found += _faults_of(block)
    return found


def _faults_of(block: Block) -> list[str]:
    if not block.sources:
        return [f"{block.place}: measured numbers without a source"] if block.is_measured else []
    try:
        fresh = stamp_of(block)
    except (OSError, KeyError) as error:
        return [f"{block.place}: its source cannot be read ({error})"]
    if lost := unknown(block):
        return [f"{block.place}: {', '.join(lost)}: not in {', '.join(block.sources)}"]
    return [] if block.stamp == fresh else [f"{block.place}: a number or its source has changed since it was stamped"]


def stamp_all() -> None:
    """Renew the stamps of all marked blocks whose sources can be read."""
    for page in pages():
        text = page.read_text("utf-8")
        lines = text.splitlines()
        for block in blocks(page, text):
            if block.mark is not None:
                lines[block.mark] = f"<!-- numbers: {', '.join(block.sources)}; {stamp_of(block)} -->"
        page.write_text("\n".join(lines) + "\n", "utf-8")


def main() -> int:
    """Print the faults; 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamp", action="store_true", help="renew the stamps of marked blocks first")
    if parser.parse_args().stamp:
        stamp_all()
    found = faults()
    print("\n".join(found) or "Every measured number has its source.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

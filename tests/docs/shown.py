"""The commands that README and docs show in their code blocks, one by one and in the order of the page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Dated pages stay as they were written; the reference is made from the code.
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "log.md")]
PROGRAMS = "qsched python torchrun nice make pip uvx curl docker pg_dump pg_restore cp cat cd export printf chmod mkdir"
BEGINS = re.compile(rf"(?:\$ |- run: )?((?:{'|'.join(PROGRAMS.split())}) .+)$")
#: What a page says beside a command: two blanks or more, unless an option follows, and words in brackets.
REMARK = re.compile(r"  +(?!--).*| \(docs/.*")


@dataclass(frozen=True)
class Shown:
    """A command as a page shows it, without its remark."""

    page: str
    line: str


def code_blocks(text: str) -> list[str]:
    """Fenced blocks and blocks that are indented by four blanks, but those that hold Python, TOML, SQL or YAML keys."""
    fences = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
    found = [(at.start(), at[2]) for at in fences.finditer(text) if at[1] in ("", "sh", "text", "yaml")]
    bare = fences.sub(lambda at: "\n" * at[0].count("\n") + " " * (len(at[0]) - at[0].count("\n")), text)
    found += [(at.start(), at[0]) for at in re.finditer(r"(?:^ {4}.*\n)+", bare, re.MULTILINE)]
    return [block for _, block in sorted(found)]


def commands_of(page: Path) -> list[Shown]:
    """Every command of a page. A synopsis with alternatives (`a | b`, `<name>`) is none, and is left out."""
    found = []
    for block in code_blocks(page.read_text(encoding="utf-8")):
        for line in re.sub(r" *\\\n\s*", " ", block).splitlines():
            at = BEGINS.match(line.strip())
            if at is not None and " | " not in line and "<slug>" not in line:
                found.append(Shown(page.name, REMARK.sub("", at[1]).strip()))
    return found


COMMANDS = [command for page in PAGES for command in commands_of(page)]

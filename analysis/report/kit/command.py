"""The command line that made a page, as the page shows it."""

from __future__ import annotations

import re
import shlex


def shown_command(argv: list[str], *, script: str) -> str:
    """The command line without the output folder, and without a password in a database URL."""
    words = ["python", script]
    rest = iter(argv[1:])
    for word in rest:
        if word == "--out":
            next(rest, None)
        elif not word.startswith("--out="):
            words.append(re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", word))
    return shlex.join(words)

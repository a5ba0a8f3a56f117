"""The token of the owner's API: from the environment or from a private file, never from the command line.

An argument would stay in the shell's history, and every user of the machine could read it in the list of processes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from qsched.errors import InputError

TOKEN_VARIABLE = "QSCHED_TOKEN"
TOKEN_FILE_VARIABLE = "QSCHED_TOKEN_FILE"


def read_token(environment: Mapping[str, str] = os.environ) -> str:
    """The token; InputError if there is none, or if others can read its file."""
    if token := environment.get(TOKEN_VARIABLE, "").strip():
        return token
    name = environment.get(TOKEN_FILE_VARIABLE)
    if not name:
        raise InputError(
            f"--server needs a token: put it into {TOKEN_VARIABLE}, or name a file of mode 0600 that holds it in "
            f"{TOKEN_FILE_VARIABLE}; where the server runs, `qsched admin token create NAME` makes one"
        )
    path = Path(name)
    try:
        mode = path.stat().st_mode
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{TOKEN_FILE_VARIABLE} names {path}, which cannot be read: {error}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError(f"others can read the token in {path} (mode {stat.S_IMODE(mode):04o}); chmod 600 {path}")
    if not token:
        raise InputError(f"{path} is empty; `qsched admin token create NAME` prints a token to put there")
    return token

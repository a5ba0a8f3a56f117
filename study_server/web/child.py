"""Run one of our commands in a process of its own, so that no vote waits for it."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress

from study_server.db import Database
from study_server.errors import StudyError
from study_server.settings import DATABASE_VARIABLE


class CommandFailed(StudyError):
    """The command ended with an error, whose message this is."""

    status = 500
    code = "command"


#: Votes and pages go first on a busy machine.
NICE = 10


async def run_command(database: Database, *words: str) -> str:
    """What `qsched WORDS --gently` prints on the server's database, at a low priority; the address goes through the
    environment, which no list shows. Raises CommandFailed; the process ends with the task.
    """
    url = database.url.render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "qsched",
        *words,
        "--gently",
        env={**os.environ, DATABASE_VARIABLE: url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
    try:
        said, problem = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise CommandFailed(problem.decode(errors="replace").strip()[-500:] or "the command ended without a word")
    return said.decode(errors="replace")

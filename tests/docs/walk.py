"""Runs the commands of a page in this process, in a folder that has what the page takes for granted."""

from __future__ import annotations

import gc
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from urllib.request import urlopen

import typer
from typer.testing import CliRunner

from qsched.cli.bench_runner import run_here
from qsched.cli.main import app
from qsched.command_line import EXIT_BAD_INPUT
from qsched.errors import QschedError
from tests.docs.shown import ROOT

#: What somebody would type where a command asks.
PASSWORD = "correct horse battery staple\n"
SECONDS = 300


@dataclass
class Walk:
    """A folder in which commands run, and what they leave behind for the commands after them."""

    folder: Path
    #: Words of the page that stand for something that only a run knows: `{"K7QF-29XM": that person's code}`.
    values: dict[str, Callable[[], str]] = field(default_factory=dict)
    #: What follows a command: somebody votes.
    after: dict[str, Callable[[Walk], None]] = field(default_factory=dict)
    printed: str = ""
    address: str = ""

    def run(self, commands: list[tuple[str, int]]) -> None:
        """Run commands that end with these exit codes; those after `qsched serve` while it serves."""
        serves = [at for at, (line, _) in enumerate(commands) if line.startswith("qsched serve")]
        first = serves[0] if serves else len(commands)
        self._run_all(commands[:first])
        for at, end in pairwise([*serves, len(commands)]):
            self._serve(commands[at][0], lambda at=at, end=end: self._run_all(commands[at + 1 : end]))

    def _run_all(self, commands: list[tuple[str, int]]) -> None:
        for shown, code in commands:
            line = self._filled(shown)
            ended = self._run_one(line)
            assert ended == code, f"{line}\nended with {ended} and not {code}:\n{self.printed}"
            self._act(shown)

    def _filled(self, line: str) -> str:
        for shown, value in self.values.items():
            if shown in line:
                line = line.replace(shown, value())
        return line.replace("http://127.0.0.1:8000", self.address).replace("https://study.example", self.address)

    def _act(self, line: str) -> None:
        for begin, act in self.after.items():
            if line.startswith(begin):
                act(self)

    def _run_one(self, line: str) -> int:
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            os.environ[name] = str(Path(value).expanduser())
            return 0
        match = re.match(r"cd (\S+) && (.+)", line)
        if match:
            os.chdir(self.folder / match[1])
            try:
                return self._run_one(match[2])
            finally:
                os.chdir(self.folder)
        script = re.match(r"python analysis/(\w+)(?:\.py)?(.*)", line)
        if script:
            assert (ROOT / "analysis" / f"{script[1]}.py").is_file() or (ROOT / "analysis" / script[1]).is_dir(), line
            return self._run_one(f"qsched {script[1]}{script[2]}")
        if not line.startswith("qsched "):
            done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
            self.printed = done.stdout + done.stderr
            return done.returncode
        return self.call(*_words(line))

    def call(self, *words: str) -> int:
        """Run `qsched WORDS` here and keep what it prints."""
        typed = PASSWORD if words[:1] == ("admin",) else "y\n" * 3
        done = CliRunner().invoke(app, list(words), input=typed, prog_name="qsched")
        self.printed = done.output + (f"{done.exception}" if done.exception else "")
        return EXIT_BAD_INPUT if isinstance(done.exception, QschedError) else done.exit_code

    def _serve(self, line: str, then: Callable[[], None]) -> None:
        """Serve, do `then` while the server answers, and stop it as a person would, with Ctrl-C.

        uvicorn takes signals in the main thread only, so the server has that one and `then` runs in another.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        ended, faults = threading.Event(), []

        def meanwhile() -> None:
            try:
                self._wait(ended)
                self._act("qsched serve")
                then()
            except BaseException as fault:  # noqa: BLE001 - raised in the main thread
                faults.append(fault)
            if not ended.is_set():
                os.kill(os.getpid(), signal.SIGINT)

        beside = threading.Thread(target=meanwhile)
        beside.start()
        threshold, interval = gc.get_threshold(), sys.getswitchinterval()
        try:
            run_here((*_words(self._filled(line)), "--port", str(port)))
        except (KeyboardInterrupt, typer.Abort):
            pass
        finally:
            ended.set()
            beside.join()
            gc.set_threshold(*threshold)
            sys.setswitchinterval(interval)
        if faults:
            raise faults[0]

    def _wait(self, ended: threading.Event) -> None:
        """Until the server answers; an error if it ended before."""
        until = time.monotonic() + SECONDS
        while not ended.is_set() and time.monotonic() < until:
            try:
                with urlopen(f"{self.address}/healthz", timeout=SECONDS):
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server does not answer")


def _words(line: str) -> list[str]:
    """The words of a command as a shell would give them, with its file names filled in."""
    found: list[str] = []
    for word in shlex.split(line, comments=True)[1:]:
        names = sorted(str(path) for path in Path().glob(word)) if "*" in word and "=" not in word else []
        found += names or [word]
    return found

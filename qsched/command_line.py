"""What our command lines have in common: help that fits the terminal, and one message instead of a traceback."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand

from qsched.errors import QschedError
from qsched.extras import missing_extra
from qsched.locations import is_url

EXIT_BAD_INPUT = 2

#: The end of a line inside a paragraph. A line that is indented, or the item of a list, keeps its own line.
_LINE_END = re.compile(r"(?<=\S)\n(?=[^\s*-])")


class Command(TyperCommand):
    """A command whose help flows: typer would keep the line ends of a docstring, which wrap badly at 80 columns."""

    def __init__(self, *args: Any, help: str | None = None, **settings: Any) -> None:
        super().__init__(*args, help=help and _LINE_END.sub(" ", help), **settings)


class CommandLine(typer.Typer):
    """`typer.Typer` with markup in help and commands of the class above."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(rich_markup_mode="rich", **settings)

    def command(self, *args: Any, **settings: Any) -> Callable[[Any], Any]:
        """As in typer."""
        return super().command(*args, **{"cls": Command, **settings})


def run_app(app: Callable[[], object]) -> None:
    """Run a command line. An error of ours or of an object store, or a missing extra, is one message on stderr and exit
    code 2."""
    try:
        app()
    except QschedError as error:
        _refuse(error)
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        _refuse(missing)
    except OSError as error:
        if not isinstance(error.filename, str) or not is_url(error.filename):
            raise
        _refuse(QschedError(f"{error.filename}: {error.strerror}; then run the same command again"))


def _refuse(error: QschedError) -> None:
    typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
    sys.exit(EXIT_BAD_INPUT)

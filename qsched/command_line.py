"""What our command lines have in common: help that fits the terminal, one message for an error, JSON, quiet, colour."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, TextIO

import typer
from typer.core import TyperCommand, TyperGroup

from qsched.errors import QschedError
from qsched.extras import missing_extra
from qsched.locations import is_url

EXIT_BAD_INPUT = 2
#: Of a command that a person interrupted; the shell's own number for Ctrl-C.
EXIT_INTERRUPTED = 130
#: Set by --quiet, for the processes that a command starts.
QUIET = "QSCHED_QUIET"
QUIET_HELP = "Print errors and warnings only."
JSON_HELP = "Write the result as JSON to this file; - prints it instead of the text."
#: `--json FILE` of a command, for `gave_json`.
JSON_OPTION: Any = typer.Option(None, "--json", metavar="FILE", help=JSON_HELP)

#: The end of a line inside a paragraph. A line that is indented, or the item of a list, keeps its own line.
_LINE_END = re.compile(r"(?<=\S)\n(?=[^\s*-]|--)")


#: How typer names types in help, and how we do: <bool>, <list[Path]>, <int range>. A choice shows its values.
_TYPES = {"bool": "", "str": "text", "Path": "path", "int": "number", "float": "number"}
_TYPE = re.compile(r"<(?:list\[)?(bool|str|Path|path|int|float)(?: range)?\]?>")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 vote`, `2,000 votes`; a plural that is more than an s is given."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _plain_type(shown: Callable[[Any], Any], context: Any) -> str:
    """The type of a parameter in plain words: typer's name, translated."""
    return _TYPE.sub(lambda found: _TYPES.get(found[1], found[1]).upper(), str(shown(context)))


def _with_plain_type(param: Any) -> Any:
    """The parameter; versions of typer without `display_type` have plain words of their own."""
    shown = getattr(param, "display_type", None)
    if shown is not None and not isinstance(shown, partial):
        param.display_type = partial(_plain_type, shown)
    return param


def _colour(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a context; NO_COLOR is heeded, as rich does by itself."""
    return {"color": False, **settings} if os.environ.get("NO_COLOR") else settings


def _hush_if(quiet: bool) -> None:
    if quiet:
        hush()


@cache
def _quiet_option() -> Any:
    """`--quiet` of a command that sees nothing of it; typer makes it, whose class of options changes with versions."""
    only = typer.Typer()

    @only.command()
    def _(
        quiet: bool = typer.Option(False, "--quiet", "-q", callback=_hush_if, expose_value=False, help=QUIET_HELP),
    ) -> None:
        del quiet

    (option,) = typer.main.get_command(only).params[:1]
    return _with_plain_type(option)


class Group(TyperGroup):
    """A group of commands, with the help of `Command`."""

    def make_context(self, *args: Any, **settings: Any) -> Any:
        """As in typer, without colour if NO_COLOR is set."""
        return super().make_context(*args, **_colour(settings))

    def get_params(self, ctx: Any) -> list[Any]:
        """As in typer."""
        return [_with_plain_type(param) for param in super().get_params(ctx)]


class Command(TyperCommand):
    """A command whose help flows: typer would keep the line ends of a docstring, which wrap badly at 80 columns,
    and name the types of Python."""

    def __init__(self, *args: Any, help: str | None = None, **settings: Any) -> None:
        super().__init__(*args, help=help and _LINE_END.sub(" ", help), **settings)

    def make_context(self, *args: Any, **settings: Any) -> Any:
        """As in typer, without colour if NO_COLOR is set."""
        return super().make_context(*args, **_colour(settings))

    def get_params(self, ctx: Any) -> list[Any]:
        """As in typer, with --quiet before --help."""
        params = [_with_plain_type(param) for param in super().get_params(ctx)]
        last = [param for param in params if "--help" in param.opts]
        return [*params[: len(params) - len(last)], _quiet_option(), *last]


class CommandLine(typer.Typer):
    """`typer.Typer` with markup in help and commands of the class above."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"rich_markup_mode": "rich", "cls": Group, **settings})

    def command(self, *args: Any, **settings: Any) -> Callable[[Any], Any]:
        """As in typer."""
        return super().command(*args, **{"cls": Command, **settings})


#: The standard output that `hush` took away.
_spoken: list[TextIO] = []


def hush() -> None:
    """Print nothing from now on but errors, warnings, what `--json -` asks for, and what is shown once only."""
    if _spoken:
        return
    _spoken.append(sys.stdout)
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    os.environ[QUIET] = "1"


def is_quiet() -> bool:
    """Whether --quiet was given: no progress either."""
    return bool(os.environ.get(QUIET))


def echo_always(text: str) -> None:
    """Print the text even if --quiet was given: it is shown once only, or is all that was asked for."""
    typer.echo(text, file=_spoken[-1] if _spoken else None)


def gave_json(value: object, file: Path | None, *, private: bool = False) -> bool:
    """Write records, dataclasses or plain data as JSON, if a file is asked for; True if no text is wanted beside it.

    private    the file is readable by its owner only: it holds a secret, or leads to people
    """
    if file is None:
        return False
    from pydantic_core import to_jsonable_python

    from qsched.files import atomic_file

    text = json.dumps(to_jsonable_python(value, fallback=str), indent=1, ensure_ascii=False)
    if str(file) == "-":
        echo_always(text)
        return True
    with atomic_file(file, parents=True, mode=0o600 if private else 0o666) as draft:
        draft.write_text(text + "\n", encoding="utf-8")
    return False


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
    typer.secho(f"error: {error}", fg=typer.colors.RED, err=True, color=False if os.environ.get("NO_COLOR") else None)
    sys.exit(EXIT_BAD_INPUT)

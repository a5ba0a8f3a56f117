"""Runs commands of a benchmark or the demo in this process: torch is imported once, each command has its own code."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsched.bench.steps import Command


#: Commands that load no model: looking through all of torch's objects for garbage would take half a second after each.
_WITHOUT_MODEL = frozenset({"audit", "certify", "merge", "simulate", "study", "verify", "votes", "winrates"})


def run_here(command: Command) -> int:
    """Run `qsched COMMAND` and return its exit code; an error of ours is raised."""
    import typer

    from qsched.cli.main import app
    from qsched.process import share_process

    share_process()
    typed = sys.argv
    try:
        found = typer.main.get_command(app).main(list(command), prog_name="qsched", standalone_mode=False)
    except SystemExit as end:  # the analysis ends by itself
        found = end.code
    except _shown_errors() as error:
        error.show()
        return int(error.exit_code)
    finally:
        sys.argv = typed
        if command[0] not in _WITHOUT_MODEL:
            _let_go()
    return found if isinstance(found, int) else 0


def _shown_errors() -> Any:
    """The class of errors that show themselves: click's, or that of the copy which newer versions of typer have."""
    import typer

    return next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _let_go() -> None:
    """Give the memory of a command's model back before the next one loads its own."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()

"""Runs the commands of a benchmark in this process: torch is imported once, and each command ends with its own code."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qsched.bench.steps import Command


def run_here(command: Command) -> int:
    """Run `qsched COMMAND` and return its exit code; an error of ours is raised."""
    import click
    import typer

    from qsched.cli.main import app
    from qsched.process import share_process

    share_process()
    typed = sys.argv
    try:
        found = typer.main.get_command(app).main(list(command), prog_name="qsched", standalone_mode=False)
    except SystemExit as end:  # the analysis ends by itself
        found = end.code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    finally:
        sys.argv = typed
        _let_go()
    return found if isinstance(found, int) else 0


def _let_go() -> None:
    """Give the memory of a command's model back before the next one loads its own."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()

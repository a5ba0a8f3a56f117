"""`qsched winrates`, `review`, `certify` and others: the analysis, with the options of the scripts in analysis/."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

import typer

#: Name and what `qsched --help` says; each command's own help comes from its module in `analysis`.
COMMANDS = {
    "winrates": "Turn votes into win rates with intervals, and a report.",
    "review": "Which ranks of a leaderboard its votes support.",
    "metrics": "Automatic metrics judged by people's votes.",
    "certify": "What a fidelity study shows, clause by clause.",
    "jnd": "Pictures on a JND scale from triplet votes.",
    "price": "What a fidelity certificate costs, before a study.",
    "plan": "The least human time for a wanted precision.",
    "power": "What a planned study can detect.",
    "audit": "Check a study that was opened, vote by vote.",
}


def register(app: typer.Typer) -> None:
    """Add the commands to `qsched`. Their modules are imported when one is run, so that `--help` stays fast."""
    for name, words in COMMANDS.items():
        settings = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
        app.command(name, help=words, context_settings=settings, add_help_option=False)(_forward(name))


def _forward(name: str) -> Callable[[typer.Context], None]:
    def command(context: typer.Context) -> None:
        from analysis import __name__ as package

        # The report quotes the command line, so the module must see its own part of it only.
        sys.argv = [f"qsched {name}", *context.args]
        import_module(f"{package}.{name}").app(args=context.args, prog_name=f"qsched {name}")

    return command

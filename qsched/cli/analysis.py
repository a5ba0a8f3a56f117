"""`qsched winrates`, `review`, `certify` and others: the analysis, with the options of the scripts in analysis/."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer

from qsched.command_line import Command

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


class Forwarded(Command):
    """A command whose options are those of a module of the analysis, which is imported when it runs or a shell asks."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own, which are none, unless a shell completes a line: then those of the module."""
        if not ctx.resilient_parsing:
            return super().get_params(ctx)
        params: list[Any] = self.source().get_params(ctx)
        return params

    def source(self) -> Any:
        """The command of the analysis that this one hands its arguments to."""
        return typer.main.get_command(_module(self.name or "").app)


def register(app: typer.Typer) -> None:
    """Add the commands to `qsched`. Their modules are imported when one is run, so that `--help` stays fast."""
    for name, words in COMMANDS.items():
        settings = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
        app.command(name, cls=Forwarded, help=words, context_settings=settings, add_help_option=False)(_forward(name))


def _forward(name: str) -> Callable[[typer.Context], None]:
    def command(context: typer.Context) -> None:
        # The report quotes the command line, so the module must see its own part of it only.
        sys.argv = [f"qsched {name}", *context.args]
        _module(name).app(args=context.args, prog_name=f"qsched {name}")

    return command


def _module(name: str) -> Any:
    from analysis import __name__ as package

    return import_module(f"{package}.{name}")

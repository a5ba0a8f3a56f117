"""Entry point of `qsched`: finds the subcommands and turns our errors into exit code 2."""

from __future__ import annotations

from importlib import import_module

import typer

from qsched import __version__
from qsched.command_line import QUIET_HELP, CommandLine, hush, is_quiet, run_app
from qsched.process import claim_process

app = CommandLine(
    name="qsched",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Is a quantized few-step image model, repaired with Q-Sched, as good as full precision?\n\n"
        "[bold]1.[/] generate-pairs makes paired image sets   "
        "[bold]2.[/] serve asks people   "
        "[bold]3.[/] winrates turns votes into win rates."
    ),
)

# Headings of the help, with the modules of their commands. A module is imported for its signature only; it imports
# torch, uvicorn or polars inside its body.
COMMANDS: dict[str, tuple[str, ...]] = {
    "Begin": ("demo", "doctor", "info"),
    "Make pictures": ("generate_pairs", "merge", "convert", "import_pictures", "verify", "diff"),
    "Repair and measure": ("calibrate", "score", "gate", "pairs"),
    "Ask people": ("study", "serve", "simulate", "admin", "votes"),
    "Conclude": ("analysis",),
    "All of it": ("bench",),
}


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"qsched {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help=QUIET_HELP),
) -> None:
    del version  # its callback has acted
    if quiet or is_quiet():
        hush()


def _register() -> None:
    """Add every command, under its heading."""
    for heading, modules in COMMANDS.items():
        for module in modules:
            commands, groups = len(app.registered_commands), len(app.registered_groups)
            import_module(f"qsched.cli.{module}").register(app)
            for command in app.registered_commands[commands:]:
                command.rich_help_panel = heading
            for group in app.registered_groups[groups:]:
                group.rich_help_panel = heading


_register()


def main() -> None:
    """Run the command line; an error of ours is one message on stderr and exit code 2."""
    claim_process()
    run_app(app)

"""`qsched info`: what a file or folder is, in plain words."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("info")(info)


def info(
    path: Path = typer.Argument(..., help="A file or folder that qsched made, reads, or may have made."),
) -> None:
    """Say what a file or folder is and what is in it.

    Known are: image sets and their files, shards, model folders, coefficients, calibration statistics, scores, prompts,
    study.yaml, study databases (SQLite), votes and triplets tables, reports. Nothing is
    changed, and no picture is opened: `qsched verify` checks them.

    Example: qsched info runs/demo
    """
    from qsched.cli.describe import describe
    from qsched.locations import read_location

    for label, text in describe(read_location(path)):
        typer.echo(f"{label:<12}{text}")

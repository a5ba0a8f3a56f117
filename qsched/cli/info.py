"""`qsched info`: what a file or folder is, in plain words."""

from __future__ import annotations

from pathlib import Path

import typer

from qsched.command_line import JSON_OPTION, gave_json


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("info")(info)


def info(
    path: Path = typer.Argument(..., help="A file or folder that qsched made, reads, or may have made."),
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Say what a file or folder is and what is in it.

    Known are: image sets and their files, shards, model folders, coefficients, calibration statistics, scores, prompts,
    study.yaml, study databases (SQLite), votes and triplets tables, reports. Nothing is
    changed, and no picture is opened: `qsched verify` checks them.

    Example: qsched info runs/demo
    """
    from qsched.cli.describe import describe
    from qsched.locations import read_location

    lines = describe(read_location(path))
    if not gave_json([{"name": label, "text": text} for label, text in lines], json_file):
        for label, text in lines:
            typer.echo(f"{label:<12}{text}")

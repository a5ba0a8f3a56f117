"""`qsched verify`: is an image set what it says it is?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.command_line import EXIT_BAD_INPUT, JSON_OPTION, counted, gave_json

if TYPE_CHECKING:
    from qsched.generation.verify import VerifyReport

SHOWN = 40


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("verify")(verify)


def verify(
    folder: Path = typer.Argument(..., help="Folder of an image set."),
    decode: bool = typer.Option(
        False, "--decode", help="Decode every picture, also those that our own encoder wrote, byte for byte."
    ),
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Check every row, file, hash and pair of an image set; exit code 2 when something is wrong.

    Looked at: rows and their contract, missing and surplus files, every byte of every picture (hashes), sizes, PNG
    metadata, duplicate rows, arms and their recipes, and that the images of a pair share seed, prompt and batch.
    Pictures of other tools are decoded too; of generate-pairs, only those that seem broken, unless --decode is given.

    Example: qsched verify runs/demo
    """
    from qsched.generation.verify import verify_set
    from qsched.locations import read_location

    report = verify_set(read_location(folder), decode=decode)
    if not gave_json({"ok": report.ok, **asdict(report)}, json_file):
        _print_report(report)
    if not report.ok:
        raise typer.Exit(EXIT_BAD_INPUT)


def _print_report(report: VerifyReport) -> None:
    from collections import Counter

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    counts = Counter(finding.check for finding in report.findings)
    summary = Table(box=None, pad_edge=False)
    summary.add_column("check")
    summary.add_column("problems", justify="right")
    for check in report.checks:
        summary.add_row(check, f"[red]{counts[check]}[/]" if counts[check] else "[green]0[/]")
    console.print(summary)
    if report.findings:
        table = Table(title="problems", title_justify="left")
        for column in ("check", "where", "what"):
            table.add_column(column, overflow="fold")
        for finding in report.findings[:SHOWN]:
            table.add_row(finding.check, escape(finding.where), escape(finding.problem))
        console.print(table)
        if len(report.findings) > SHOWN:
            console.print(f"... and {len(report.findings) - SHOWN} more")
    for note in report.notes:
        console.print(f"note: {escape(note)}", highlight=False, soft_wrap=True)
    colour, word = ("green", "ok") if report.ok else ("red", "NOT OK")
    console.print(
        f"[{colour}]{word}[/]: {report.n_rows} of {report.n_expected} images in {escape(str(report.folder))}, "
        f"{counted(len(report.findings), 'problem')}; {counted(report.decoded, 'picture')} decoded",
        highlight=False,
        soft_wrap=True,
    )

"""Pages of the documentation that come from the code: commands, Python packages, JSON schema. Used by docs/conf.py."""

from __future__ import annotations

import importlib
import inspect
import os
from pathlib import Path
from typing import Any

import click

#: Packages whose exports users call, with what they are for.
PACKAGES = (
    ("qsched.records", "the contracts: image set, rows, manifest"),
    ("qsched.planning", "the power formula and the inverse planner"),
    ("qsched.scheduling", "coefficients, and the adapter for a diffusers scheduler"),
    ("analysis.votes", "reading votes, exclusions"),
    ("analysis.stats", "fits, intervals, contrasts"),
)
SCHEMA = Path(__file__).parents[1] / "analysis" / "report" / "winrates.schema.json"


def write_reference(folder: Path) -> None:
    """Write commands.md, python.md and winrates-schema.md into `folder`."""
    folder.mkdir(exist_ok=True)
    os.environ["COLUMNS"] = "100"
    pages = {"commands.md": commands_page(), "python.md": python_page(), "winrates-schema.md": schema_page()}
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")


def commands_page() -> str:
    """Every command with its help, as a terminal shows it."""
    import typer.main

    from analysis import audit, certify, jnd, metrics, plan, power, price, review, winrates
    from qsched.cli.main import app

    lines = ["# Commands", "", "What `--help` says, made from the program.", ""]
    lines += _command(typer.main.get_command(app), "qsched", 2)
    for module in (winrates, review, metrics, plan, power, price, certify, jnd, audit):
        name = module.__name__.rpartition(".")[2]
        lines += _command(typer.main.get_command(module.app), f"python analysis/{name}.py", 2)
    return "\n".join(lines) + "\n"


def _command(command: Any, name: str, level: int) -> list[str]:
    context = click.Context(command, info_name=name)
    lines = [f"{'#' * min(level, 4)} {name}", "", "```text", _help(command, context), "```", ""]
    for each in command.list_commands(context) if hasattr(command, "list_commands") else ():
        below = command.get_command(context, each)
        if below is not None and not below.hidden:
            lines += _command(below, f"{name} {each}", level + 1)
    return lines


def _help(command: Any, context: click.Context) -> str:
    import io
    from contextlib import redirect_stdout

    printed = io.StringIO()
    with redirect_stdout(printed):
        text = command.get_help(context)
    return "\n".join(line.rstrip() for line in (printed.getvalue() or text).strip().splitlines())


def python_page() -> str:
    """Exports of the public packages, with signature and docstring."""
    lines = ["# Python", "", "What programs may import; everything else may change without a word.", ""]
    for name, purpose in PACKAGES:
        package = importlib.import_module(name)
        lines += [f"## {name}", "", f"{purpose[0].upper()}{purpose[1:]}.", ""]
        for export in package.__all__:
            value = getattr(package, export)
            lines += [f"### {name}.{export}", "", "```text", *_shown(export, value), "```", ""]
    return "\n".join(lines) + "\n"


def _shown(name: str, value: Any) -> list[str]:
    if not callable(value):
        return [f"{name}: {type(value).__name__}"]
    try:
        head = f"{name}{inspect.signature(value)}"
    except (TypeError, ValueError):
        head = name
    return [head, "", *(inspect.getdoc(value) or "").splitlines()]


def schema_page() -> str:
    """The JSON schema of winrates.json, whole."""
    text = SCHEMA.read_text(encoding="utf-8").rstrip()
    return f"# JSON schema of winrates.json\n\n[In words](../winrates-json.md).\n\n```json\n{text}\n```\n"

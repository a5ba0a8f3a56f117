"""`qsched admin token`: tokens of the owner's API."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import typer

from qsched.cli.options import DB_HELP
from qsched.command_line import JSON_OPTION, CommandLine, echo_always, gave_json

DEFAULT_DAYS = 90


def add_to(group: typer.Typer) -> None:
    """Add the commands to `qsched admin`."""
    tokens = CommandLine(no_args_is_help=True, help="Tokens of the owner's API (qsched study ... --server URL).")
    tokens.command()(create)
    tokens.command("list")(list_tokens)
    tokens.command()(revoke)
    group.add_typer(tokens, name="token")


def create(
    name: str = typer.Argument(help="What the log calls it: one name for each script or person."),
    scope: list[str] = typer.Option(
        ["read"], "--scope", help="read, manage (change studies, exclude) or people (annotators, payments). Repeatable."
    ),
    days: int = typer.Option(DEFAULT_DAYS, "--days", help="How long it is valid."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Make a token and print it: the only time that it is shown. The server may be running.

    Example: qsched admin token create laptop --scope read --scope manage --db sqlite:///runs/study.db
    """
    from study_server.api.tokens import create_token
    from study_server.owner import existing_database

    database = existing_database(db)
    try:
        text, token = create_token(database, name, scopes=scope, days=days)
    finally:
        database.close()
    if gave_json({**asdict(token), "token": text}, json_file, private=True):
        return
    echo_always(text)
    typer.echo(
        f"{name} may {', '.join(token.scopes)} until {_day(token.expires_ms)}. The line above is shown once: keep it "
        "in a file of mode 0600 (QSCHED_TOKEN_FILE names it) or in QSCHED_TOKEN",
        err=True,
    )


def list_tokens(
    db: str | None = typer.Option(None, "--db", help=DB_HELP), json_file: Path | None = JSON_OPTION
) -> None:
    """List the tokens with their scopes, state and last use; not the tokens themselves, which nobody can read."""
    from rich.console import Console
    from rich.table import Table

    from study_server.api.tokens import list_tokens as read_tokens
    from study_server.clock import now_ms
    from study_server.owner import existing_database

    database = existing_database(db)
    try:
        tokens = read_tokens(database)
    finally:
        database.close()
    if gave_json([{**asdict(token), "state": token.state(now_ms())} for token in tokens], json_file):
        return
    table = Table("token", "scopes", "state", "until", "last used", box=None)
    for token in tokens:
        used = "never" if token.used_ms is None else _day(token.used_ms)
        table.add_row(token.name, ", ".join(token.scopes), token.state(now_ms()), _day(token.expires_ms), used)
    Console().print(table if tokens else "there are no tokens; make one with: qsched admin token create NAME")


def revoke(
    name: str = typer.Argument(help="The token's name."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
) -> None:
    """End a token at once; it stays in the list, since the log names it.

    Example: qsched admin token revoke laptop --db sqlite:///runs/study.db
    """
    from study_server.api.tokens import revoke_token
    from study_server.owner import existing_database

    database = existing_database(db)
    try:
        revoke_token(database, name)
    finally:
        database.close()
    typer.echo(f"the token {name} is revoked")


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")

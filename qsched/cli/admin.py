"""`qsched admin`: accounts for the owner's pages of the study server, tokens of its API, and backups."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from qsched.cli import admin_token, admin_webhook
from qsched.cli.options import DB_HELP
from qsched.command_line import JSON_OPTION, CommandLine, gave_json
from qsched.errors import InputError

STDIN_HELP = "Read the password from the first line of standard input instead of asking."


def register(app: typer.Typer) -> None:
    """Add the group to `qsched`."""
    group = CommandLine(
        no_args_is_help=True,
        help="Accounts for the owner's pages (/admin of the server), API tokens, webhooks, and backups.",
    )
    group.command()(create)
    group.command("list")(list_accounts)
    group.command()(password)
    group.command()(remove)
    group.command()(backup)
    admin_token.add_to(group)
    admin_webhook.add_to(group)
    app.add_typer(group, name="admin")


def create(
    name: str = typer.Argument(help="The name to sign in with."),
    role: str = typer.Option("owner", "--role", help="owner (may act) or viewer (may look)."),
    password_stdin: bool = typer.Option(False, "--password-stdin", help=STDIN_HELP),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
) -> None:
    """Make an account; the password is asked for. The server may be running.

    Example: qsched admin create jane --db sqlite:///runs/study.db
    """
    from study_server.admin.accounts import create_account
    from study_server.owner import existing_database

    database = existing_database(db)
    try:
        create_account(database, name, role=role, password=_read_password(password_stdin))
    finally:
        database.close()
    typer.echo(f"{name} can sign in at /admin of the server, as {role}")


def list_accounts(
    db: str | None = typer.Option(None, "--db", help=DB_HELP), json_file: Path | None = JSON_OPTION
) -> None:
    """List the accounts with their roles."""
    from study_server.admin.accounts import list_accounts as read_accounts
    from study_server.owner import existing_database

    database = existing_database(db)
    try:
        accounts = read_accounts(database)
    finally:
        database.close()
    if gave_json([{"name": account.name, "role": account.role} for account in accounts], json_file):
        return
    for account in accounts:
        typer.echo(f"{account.name}  {account.role}")
    if not accounts:
        typer.echo("nobody has an account yet; make one with: qsched admin create NAME")


def password(
    name: str = typer.Argument(help="The account."),
    password_stdin: bool = typer.Option(False, "--password-stdin", help=STDIN_HELP),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
) -> None:
    """Set a new password; whoever is signed in with the old one is signed out."""
    from study_server.admin.accounts import set_password
    from study_server.owner import existing_database

    database = existing_database(db)
    try:
        set_password(database, name, _read_password(password_stdin))
    finally:
        database.close()
    typer.echo(f"{name} has a new password")


def remove(
    name: str = typer.Argument(help="The account."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
) -> None:
    """Remove an account; whoever is signed in with it is signed out."""
    from study_server.admin.accounts import remove_account
    from study_server.owner import existing_database

    database = existing_database(db)
    try:
        remove_account(database, name)
    finally:
        database.close()
    typer.echo(f"the account {name} is removed")


def backup(
    folder: Path = typer.Argument(help="New folder for the copy."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    data: Path | None = typer.Option(None, "--data", help="Folder of picture copies, if it was named at creation."),
) -> None:
    """Copy an SQLite database as it is now, with its pictures and key; the server may be running.

    docs/deployment.md tells how the copy is restored, and how PostgreSQL is backed up.

    Example: qsched admin backup backups/monday --db sqlite:///runs/study.db
    """
    from qsched.locations import read_location
    from study_server.backup import back_up
    from study_server.owner import existing_database

    database = existing_database(db)
    try:
        done = back_up(database, folder, data_folder=None if data is None else read_location(data))
    finally:
        database.close()
    typer.echo(f"copied {done.database.name} and {done.pictures} pictures to {folder}")
    for place in done.elsewhere:
        typer.secho(f"the pictures in {place} stay there and are not in the copy", fg=typer.colors.YELLOW, err=True)
    if not done.has_key:
        typer.secho("there is no key file: keep QSCHED_SECRET_KEY with the copy", fg=typer.colors.YELLOW, err=True)


def _read_password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask for the password; pipe it in with --password-stdin")
    typed: str = typer.prompt("Password (12 characters or more)", hide_input=True, confirmation_prompt=True)
    return typed

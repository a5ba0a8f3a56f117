"""`qsched admin webhook`: addresses that get an event when a study is finished or paused, or when work needs a look."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import typer

from qsched.cli.options import DB_HELP
from qsched.command_line import JSON_OPTION, CommandLine, echo_always, gave_json
from qsched.errors import InputError

T = TypeVar("T")
ALL_EVENTS = ["study.finished", "study.paused", "study.quality_alarm"]
NUMBER = typer.Argument(help="The webhook's number, as `list` shows it.")
DB = typer.Option(None, "--db", help=DB_HELP)


def add_to(group: typer.Typer) -> None:
    """Add the commands to `qsched admin`."""
    webhooks = CommandLine(no_args_is_help=True, help="Addresses that receive signed events, with retries.")
    webhooks.command()(create)
    webhooks.command("list")(list_webhooks)
    webhooks.command("test")(test)
    webhooks.command("log")(show_log)
    webhooks.command()(remove)
    group.add_typer(webhooks, name="webhook")


def create(
    url: str = typer.Argument(help="https://...; events are sent there."),
    event: list[str] = typer.Option(ALL_EVENTS, "--event", help="Event to send; may be repeated. Default: all."),
    study: str | None = typer.Option(None, "--study", help="Only of this study; without it, of every one."),
    allow_private: bool = typer.Option(
        False, "--allow-private", help="The address may be of this machine or a private network."
    ),
    db: str | None = DB,
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Make a webhook and print the secret that signs its events. It is not shown again.

    Example: qsched admin webhook create https://hooks.example/qsched --study demo --db sqlite:///runs/study.db
    """
    from study_server.webhooks.endpoints import create_webhook

    number, secret = _act(
        db, create_webhook, url=url, events=event, study=study, allow_private=allow_private, by=_actor()
    )
    made = {"number": number, "url": url, "events": event, "study": study, "secret": secret}
    if gave_json(made, json_file, private=True):
        return
    echo_always(secret)
    typer.echo(
        f"webhook {number}: {url} receives {', '.join(event)}. The line above is its secret, shown once; "
        "docs/webhooks.md says how a receiver checks the signature",
        err=True,
    )


def list_webhooks(db: str | None = DB, json_file: Path | None = JSON_OPTION) -> None:
    """List the webhooks; not their secrets, which nobody can read here."""
    from study_server.webhooks.endpoints import list_webhooks as read_webhooks

    found = _act(db, read_webhooks)
    if gave_json(found, json_file):
        return
    for one in found:
        where = f"study {one.study}" if one.study else "every study"
        off = "" if one.disabled_ms is None else f"; switched off by its receiver {_minute(one.disabled_ms)}"
        private = "; may be private" if one.allow_private else ""
        typer.echo(f"{one.id}  {one.url}  {where}: {', '.join(one.events)}{private}{off}")
    if not found:
        typer.echo("there are no webhooks; make one with: qsched admin webhook create https://...")


def test(number: int = NUMBER, db: str | None = DB) -> None:
    """Send a test event; the running server delivers it within seconds, and `log` says what came of it.

    Example: qsched admin webhook test 1 --db sqlite:///runs/study.db
    """
    from study_server.webhooks.endpoints import send_test

    message = _act(db, send_test, number=number, by=_actor())
    typer.echo(f"{message} is on its way to webhook {number}; qsched admin webhook log shows what came of it")


def show_log(
    count: int = typer.Option(50, "--count", min=1, help="How many deliveries, the newest first."),
    db: str | None = DB,
    json_file: Path | None = JSON_OPTION,
) -> None:
    """What was sent, what waits and what was given up, the newest first."""
    from study_server.webhooks.endpoints import latest_deliveries

    deliveries = _act(db, latest_deliveries, limit=count)
    if gave_json(deliveries, json_file):
        return
    for one in deliveries:
        state = one.state if one.state != "waiting" else f"waiting, next attempt {_minute(one.due_ms)}"
        words = f"{one.attempts} attempt{'s' * (one.attempts != 1)}" + (f"; {one.problem}" if one.problem else "")
        study = one.study or "-"
        typer.echo(f"{_minute(one.created_ms)}  {one.message_id}  {one.event}  {study}  {one.url}  {state}; {words}")


def remove(number: int = NUMBER, db: str | None = DB) -> None:
    """Remove a webhook; what still waits for it is not sent any more.

    Example: qsched admin webhook remove 1 --db sqlite:///runs/study.db
    """
    from study_server.webhooks.endpoints import remove_webhook

    _act(db, remove_webhook, number=number, by=_actor())
    typer.echo(f"webhook {number} is removed")


def _actor() -> str:
    from study_server.studies.actions import COMMAND_LINE

    return COMMAND_LINE


def _act(db: str | None, job: Callable[..., T], **values: object) -> T:
    """The result of a job, committed."""
    from study_server.db.database import DRIVER_ERRORS
    from study_server.owner import existing_database

    database = existing_database(db)
    try:
        with database.transaction() as tx:
            return job(tx, **values)
    except DRIVER_ERRORS as error:
        raise InputError(f"the database did not take the change: {error}; nothing was done, try again") from error
    finally:
        database.close()


def _minute(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

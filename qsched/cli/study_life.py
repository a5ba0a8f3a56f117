"""The life of a study: `qsched study list`, `show`, `progress`, `update`, `pause`, `resume`, `close`, `log` ..."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.cli.options import DB_HELP, SLUG_HELP
from qsched.cli.owner_at import SERVER_HELP, owner_at
from qsched.command_line import JSON_OPTION, counted, gave_json
from qsched.errors import InputError

if TYPE_CHECKING:
    from qsched.records.owner_api import Status

SLUG = typer.Argument(help=SLUG_HELP)
DB = typer.Option(None, "--db", help=DB_HELP)
SERVER = typer.Option(None, "--server", help=SERVER_HELP)
JSON = JSON_OPTION


def add_to(group: typer.Typer) -> None:
    """Add the commands to `qsched study`."""
    group.command("list")(list_studies)
    commands: tuple[Callable[..., None], ...] = (show, progress, update, history, pause, resume, close, log, delete)
    for command in commands:
        group.command()(command)


def list_studies(db: str | None = DB, server: str | None = SERVER, json_file: Path | None = JSON) -> None:
    """List every study with its status and progress.

    Example: qsched study list --db sqlite:///runs/study.db
    """
    from rich.console import Console
    from rich.table import Table

    with owner_at(db, server) as owner:
        rows = list(owner.studies())
    if gave_json(rows, json_file):
        return
    table = Table("study", "status", "pairs", "taken out", "valid votes", "of", "sessions", "title", box=None)
    for row in rows:
        table.add_row(
            row.slug,
            row.status,
            str(row.pairs),
            str(row.taken_out),
            str(row.valid_votes),
            "?" if row.target_votes is None else str(row.target_votes),
            str(row.sessions),
            row.title,
        )
    Console().print(table if rows else "no studies yet; make one with: qsched study create study.yaml")
    for row in rows:
        if row.problem is not None:
            typer.secho(
                f"warning: the design of {row.slug} cannot be read: {row.problem}; its votes can still be exported; "
                f"delete it with: qsched study delete {row.slug}",
                fg=typer.colors.YELLOW,
                err=True,
            )


def show(slug: str = SLUG, db: str | None = DB, server: str | None = SERVER, json_file: Path | None = JSON) -> None:
    """Print one study's design as it is now, without the keys that have their default.

    Example: qsched study show demo --server https://study.example
    """
    import yaml

    with owner_at(db, server) as owner:
        study = owner.study(slug)
    if gave_json(study, json_file):
        return
    typer.echo(f"# study {slug} is {study.summary.status}; image set {study.set_id}, {len(study.versions)} versions")
    typer.echo(yaml.safe_dump(study.design, sort_keys=False, allow_unicode=True), nl=False)


def progress(slug: str = SLUG, db: str | None = DB, server: str | None = SERVER, json_file: Path | None = JSON) -> None:
    """Print how far a study is: votes, pace, time left, and the people on their way.

    Example: qsched study progress demo --server https://study.example
    """
    with owner_at(db, server) as owner:
        found = owner.progress(slug)
    if gave_json(found, json_file):
        return
    row = found.summary
    lines = [
        ("status", row.status + (f"; {row.problem}" if row.problem else "")),
        ("valid votes", f"{row.valid_votes} of {'?' if row.target_votes is None else row.target_votes}"),
        ("last hour", f"{found.votes_last_hour} votes"),
        ("time left", "unknown" if found.hours_left is None else f"about {found.hours_left:.1f} h at this pace"),
        ("out with annotators", f"{row.leased} pairs"),
        ("taken out", f"{row.taken_out} pairs"),
        *((step.step, f"{step.people} people") for step in found.funnel),
        ("screened out", f"{found.screened_out} people"),
        ("excluded", f"{found.excluded} people"),
        ("here now", f"{found.here} people; {found.dropped} left in the middle"),
    ]
    for name, text in lines:
        typer.echo(f"  {name:<20} {text}")


def update(
    file: Path = typer.Argument(help="The changed study.yaml."), db: str | None = DB, server: str | None = SERVER
) -> None:
    """Apply a changed study.yaml to a study that exists; the server may be running.

    Texts, contact, codes, pay, time limits and more votes can change; a new consent text needs a new consent.version.
    What would alter the meaning of votes (arms, questions, order, checks) is refused, with the reason.

    Example: qsched study update study.yaml --db sqlite:///runs/study.db
    """
    from qsched.records import read_manifest
    from study_server.owner import read_design

    if not file.is_file():
        raise InputError(f"{file} does not exist; `qsched study init FOLDER --out {file}` writes one")
    design, folder = read_design(file)
    set_id = read_manifest(folder).set_id
    with owner_at(db, server) as owner:
        changes = owner.update(design.slug, design.model_dump(mode="json"), set_id=set_id).changes
    for change in changes:
        typer.echo(f"  {change.key}: {change.before} -> {change.after}")
    typer.echo(f"study {design.slug}: " + (f"{counted(len(changes), 'key')} changed" if changes else "nothing differs"))


def history(slug: str = SLUG, db: str | None = DB, server: str | None = SERVER, json_file: Path | None = JSON) -> None:
    """Every version of a study's design: when it began, what it changed, and how many sessions began under it."""
    with owner_at(db, server) as owner:
        versions = owner.study(slug).versions
    if gave_json(versions, json_file):
        return
    for version in versions:
        changed = f"changed {', '.join(version.keys)}" if version.keys else "as created"
        typer.echo(
            f"version {version.version} since {_minute(version.changed_ms)}: {changed}; consent version "
            f"{version.consent_version}; {version.sessions} sessions began"
        )


def pause(slug: str = SLUG, db: str | None = DB, server: str | None = SERVER) -> None:
    """Stop handing out pairs; answers to pairs already shown are still accepted."""
    _set_status(slug, "paused", db, server)


def resume(slug: str = SLUG, db: str | None = DB, server: str | None = SERVER) -> None:
    """Open a paused or closed study again."""
    _set_status(slug, "open", db, server)


def close(slug: str = SLUG, db: str | None = DB, server: str | None = SERVER) -> None:
    """End a study; its votes stay and can be exported."""
    _set_status(slug, "closed", db, server)


def log(
    slug: str = typer.Argument("", help="The study; without one, what was done to any of them.", show_default=False),
    count: int = typer.Option(50, "--count", min=1, help="How many actions, the newest first."),
    db: str | None = DB,
    server: str | None = SERVER,
    json_file: Path | None = JSON,
) -> None:
    """What owners did, at the pages, at the command line and by API tokens: time, who, study, what.

    Example: qsched study log demo --server https://study.example
    """
    with owner_at(db, server) as owner:
        actions = list(islice(owner.log(slug or None), count))
    if not gave_json(actions, json_file):
        for action in actions:
            words = (_minute(action.at_ms), action.actor, action.study or "-", action.action, action.detail or "")
            typer.echo("  ".join(words).rstrip())


def delete(
    slug: str = SLUG,
    db: str | None = DB,
    data: Path | None = typer.Option(None, "--data", help="Folder of picture copies, if it was named at creation."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask for confirmation."),
) -> None:
    """Delete a study, its votes and its picture copies permanently."""
    from qsched.locations import read_location
    from study_server.owner import default_data_folder, default_database, existing_database
    from study_server.studies.ownership import delete_study, vote_rows

    folder = default_data_folder(db or default_database()) if data is None else read_location(data)
    database = existing_database(db)
    try:
        count = vote_rows(database, slug)
        if not yes:
            typer.confirm(f"Delete study {slug} with {count} votes permanently?", abort=True)
        delete_study(database, slug, data_folder=folder)
    finally:
        database.close()
    typer.echo(f"study {slug} with {count} votes is deleted")


def _set_status(slug: str, status: Status, db: str | None, server: str | None) -> None:
    with owner_at(db, server) as owner:
        owner.set_status(slug, status)
    typer.echo(f"study {slug} is {status}")


def _minute(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
